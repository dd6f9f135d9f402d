"""`verify --oms`: hold a folder against an OpenSSF Model Signing signature instead of a `weightshare.json`.

Signatures by a key are checked here. Those by a certificate or through Sigstore are handed to model_signing, if it is
installed; if it is not, nothing was checked, and that is an error.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weightshare.api.oms_handover import Trusted, hand_over
from weightshare.api.results import FileVerdict, OmsFacts, Verified
from weightshare.content.oms_hashing import check_model
from weightshare.errors import DiskError, UsageError
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.progress import Observer, ignore
from weightshare.trust import oms
from weightshare.trust.oms import MAX_BUNDLE, Bundle, Method
from weightshare.trust.oms_keys import EcPublicKey
from weightshare.trust.oms_statement import Statement


def verify_oms(
    directory: str | Path,
    signature: str | Path = "model.sig",
    *,
    key: str | Path | None = None,
    certificate_chain: Sequence[str | Path] = (),
    identity: str | None = None,
    identity_provider: str | None = None,
    observe: Observer = ignore,
) -> Verified:
    """Hash every file of a folder and compare it with an OpenSSF Model Signing signature.

    Args:
        directory: the model; it needs no `weightshare.json`, and one that is there and not signed is left out.
        signature: the bundle; a relative path is looked up here, then in the folder.
        key: public key in PEM; for signatures by a key.
        certificate_chain: PEM files of the authorities to believe; for signatures by a certificate.
        identity: who must have signed; for signatures through Sigstore.
        identity_provider: who must have vouched for them; likewise.
        observe: told how it goes.

    Returns:
        A verdict for every file; bad bytes are a verdict, not an exception.

    Raises:
        UsageError: no such folder or signature, or not what its method is checked with.
        KeyFileError: no key that OpenSSF Model Signing knows.
        BadSignatureError: the signature does not hold.
        NotCheckedError: it is of a kind that cannot be checked here.
        ManifestError, UnsafePathError, UnsupportedError: what it says breaks the format, or is something else.
        CorruptError: model_signing found bad bytes; its message has the details.
    """
    began = time.monotonic()
    folder = Path(directory).expanduser().absolute()
    if not folder.is_dir():
        raise UsageError(
            f"{str(directory)!r} is not a folder.", hint="--oms checks a folder against a signature."
        )
    place, data = _read(Path(signature).expanduser(), folder)
    bundle = Bundle.parse(data)
    trusted = Trusted(
        tuple(Path(path).expanduser() for path in certificate_chain), identity, identity_provider
    )
    _check_call(bundle, key, trusted)
    if bundle.method is Method.KEY and key is not None:
        found = _check(folder, place, bundle, Path(key).expanduser(), observe)
    else:
        found = _handed_over(folder, place, data, bundle, trusted)
    warnings = found.warnings
    if _manifest_beside(folder, found.statement):
        warnings = (f"{MANIFEST_NAME} is no part of what the OMS signature signs.", *warnings)
    serialization = found.statement.serialization
    return Verified(
        ok=all(verdict.ok for verdict in found.files),
        release=None,
        publisher=found.publisher,
        publisher_name=None,
        path=folder,
        files=found.files,
        bytes=found.bytes,
        seconds=time.monotonic() - began,
        piece_length=serialization.shard_size or 0,
        warnings=warnings,
        oms=OmsFacts(bundle.method, serialization.method, serialization.hash_type, found.by),
    )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a check, by whichever program."""

    by: str
    publisher: str
    statement: Statement
    files: tuple[FileVerdict, ...]
    bytes: int
    warnings: tuple[str, ...] = ()


def _check(folder: Path, place: Path, bundle: Bundle, key: Path, observe: Observer) -> _Outcome:
    model = oms.verify(bundle, EcPublicKey.load(key))
    beside = {MANIFEST_NAME} if _manifest_beside(folder, model.statement) else set()
    inside = _inside(folder, place)
    if inside is not None:
        beside.add(inside)
    report = check_model(folder, model, beside=beside, observe=observe)
    verdicts = tuple(
        FileVerdict(
            file.path,
            file.ok,
            file.problem or None,
            file.bad_pieces,
            file.expected or None,
            file.found or None,
        )
        for file in report.files
    )
    warnings: tuple[str, ...] = ()
    if report.unlisted_empty:
        warnings = (
            "Empty files, which a signature of shards cannot list, so that it does not say whether they belong "
            f"there: {', '.join(report.unlisted_empty[:10])}.",
        )
    return _Outcome("weightshare", model.signer.hint, model.statement, verdicts, report.bytes, warnings)


def _handed_over(folder: Path, place: Path, data: bytes, bundle: Bundle, trusted: Trusted) -> _Outcome:
    statement = Statement.parse(bundle.payload)
    ignored = [folder / MANIFEST_NAME] if _manifest_beside(folder, statement) else []
    inside = _inside(folder, place)
    if inside is not None:
        ignored.append(folder / inside)
    hand_over(folder, data, bundle.method, statement.serialization, trusted, ignored)
    verdicts = tuple(FileVerdict(path, True) for path in statement.paths)
    places = [folder / path for path in statement.paths]
    size = sum(place.stat().st_size for place in places if place.exists())
    return _Outcome("model_signing", trusted.identity or bundle.hint, statement, verdicts, size)


def _check_call(bundle: Bundle, key: str | Path | None, trusted: Trusted) -> None:
    """Refuse a call that does not say what this signature is to be checked with."""
    needs = {
        Method.KEY: ("a key", "--oms-key with its public half", key is not None),
        Method.CERTIFICATE: (
            "a certificate",
            "--oms-certificate-chain with the authorities you trust",
            bool(trusted.certificate_chain),
        ),
        Method.SIGSTORE: (
            "an identity, through Sigstore",
            "--oms-identity and --oms-identity-provider",
            bool(trusted.identity and trusted.identity_provider),
        ),
    }
    what, how, given = needs[bundle.method]
    if not given:
        raise UsageError(f"The OMS signature is by {what}; say whom you trust.", hint=f"Add {how}.")
    others = (
        (Method.KEY, key is not None, "--oms-key"),
        (Method.CERTIFICATE, bool(trusted.certificate_chain), "--oms-certificate-chain"),
        (Method.SIGSTORE, bool(trusted.identity or trusted.identity_provider), "--oms-identity"),
    )
    for method, said, option in others:
        if said and method is not bundle.method:
            raise UsageError(
                f"The OMS signature is by {what}, which {option} cannot check.", hint=f"Use {how}."
            )


def _read(signature: Path, folder: Path) -> tuple[Path, bytes]:
    """Where the bundle is, and its bytes."""
    places = [signature] if signature.is_absolute() else [signature, folder / signature]
    try:
        place = next((place for place in places if place.exists()), None)
        if place is None:
            raise UsageError(
                f"There is no signature {str(signature)!r}, neither here nor in {folder}.",
                hint="Name the file that holds the OMS signature; it is often called model.sig.",
            )
        if not stat.S_ISREG(place.stat().st_mode):
            raise UsageError(f"{place} is no regular file.")
        with place.open("rb") as file:
            return place, file.read(MAX_BUNDLE + 1)
    except OSError as error:
        path = str(error.filename or signature)
        raise DiskError(f"{path} cannot be read: {error.strerror}.", path=path) from error


def _inside(folder: Path, place: Path) -> str | None:
    """The signature's path within the folder, None if it lies elsewhere."""
    real, within = folder.resolve(), place.parent.resolve() / place.name
    return within.relative_to(real).as_posix() if within.is_relative_to(real) else None


def _manifest_beside(folder: Path, statement: Statement) -> bool:
    """Whether a `weightshare.json` lies there of which the signature knows nothing: it came with publishing."""
    if MANIFEST_NAME in statement.paths or statement.serialization.ignores(MANIFEST_NAME):
        return False
    path = folder / MANIFEST_NAME
    return path.is_file() and not path.is_symlink()
