"""Mirrors: to sign for bytes that were just hashed, and to demand that others have.

A countersignature says that a mirror found every byte of a release as signed. It never stands in for the
publisher's signature, which is proven first, with or without mirrors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from weightshare.api.documents import read_document
from weightshare.api.drafting import hash_bytes
from weightshare.api.offering import Located
from weightshare.api.results import MirrorVouch
from weightshare.api.signers import open_signer
from weightshare.content.home import Home
from weightshare.content.store import Record, Store
from weightshare.content.verifier import FileReport
from weightshare.errors import CheckpointError, DiskError, FileInTheWayError, StoreError, UsageError
from weightshare.files import write_atomically
from weightshare.manifest.metainfo import Info, parse_info, parse_torrent
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.trust import gate
from weightshare.trust.countersign import MAX_COUNTERSIGNATURE, Countersignature, countersign
from weightshare.trust.gate import VerifiedManifest
from weightshare.trust.keys import Signer
from weightshare.trust.mirrors import Attestation, count, publisher_keys
from weightshare.trust.publishers import KnownPublishers
from weightshare.version import __version__

SUFFIX = ".countersig.json"


@dataclass(frozen=True, slots=True)
class Heard:
    """The mirrors that vouch for a release's bytes, and what the user should know of the others."""

    mirrors: tuple[MirrorVouch, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Demand:
    """Countersignatures at hand, and how many mirrors are demanded. `read` makes one from files."""

    attestations: tuple[Attestation, ...] = ()
    required: int = 0

    @classmethod
    def read(cls, files: Sequence[str | Path], required: int) -> Demand:
        """Take in the files; nothing in them is believed yet.

        Raises:
            UsageError: a file cannot be read, or fewer than no mirrors are demanded.
        """
        if required < 0:
            raise UsageError(f"{required} mirrors cannot be demanded.")
        return cls(tuple(_attestation(Path(file).expanduser()) for file in files), required)

    def hear(self, verified: VerifiedManifest, info_hash_v2: bytes, known: KnownPublishers) -> Heard:
        """Hold the countersignatures against a release that is verified.

        Raises:
            TooFewMirrorsError: fewer distinct mirrors vouch for it than are demanded.
        """
        tally = count(self.attestations, verified, info_hash_v2, known, datetime.now(UTC))
        tally.require(self.required)
        ignored = tuple(f"{label} does not count: {reason}" for label, reason in tally.refused)
        return Heard(tuple(_vouch(entry) for entry in tally.counted), (*tally.warnings, *ignored))


class Attester:
    """Signs for one release once its bytes are proven. Whatever could stop it is found before they are read.

    Args:
        located: the release.
        info_hash_v2: of its torrent (32 bytes).
        signer: the mirror's key.
        out: the file to write; None names it after the torrent, in the working folder.
        force: replace the file if it is there.

    Raises:
        CheckpointError: the release is here only in part.
        FileInTheWayError: the file is there, and `force` was not said.
        DiskError: its folder is not there.
    """

    def __init__(
        self, located: Located, info_hash_v2: bytes, signer: Signer, *, out: Path | None, force: bool
    ) -> None:
        self._verified = located.verified
        self._info_hash_v2 = info_hash_v2
        self._signer = signer
        name = located.verified.manifest.torrent.name
        self._out = (out or Path(f"{name}{SUFFIX}")).expanduser().absolute()
        self._force = force
        if located.record is not None and not located.record.complete:
            raise _partial(located.verified, [])
        self._check_place()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a careful mirror wants to know."""
        fingerprint = self._signer.public_key.fingerprint
        if fingerprint in publisher_keys(self._verified):
            return (f"{fingerprint} is the publisher's own key: as a mirror's it counts for nobody.",)
        return ()

    def attest(self, reports: Sequence[FileReport]) -> Path:
        """Write the countersignature, if every file of the manifest was just hashed and found sound.

        Args:
            reports: of a whole check of the folder, made now.

        Raises:
            CheckpointError: files are missing, so there is nothing to vouch for.
            FileInTheWayError: meanwhile the file is there.
            DiskError: it cannot be written.
        """
        sound = {report.path for report in reports if report.ok}
        missing = [entry.path for entry in self._verified.manifest.files if entry.path not in sound]
        if missing or not all(report.ok for report in reports):
            raise _partial(self._verified, missing)
        data = countersign(
            self._verified,
            self._info_hash_v2,
            datetime.now(UTC),
            f"weightshare {__version__}",
            self._signer,
        )
        self._check_place()
        try:
            write_atomically(self._out, data)
        except OSError as error:
            raise DiskError(
                f"{self._out} cannot be written: {error.strerror or error}.", path=str(self._out)
            ) from error
        return self._out

    def _check_place(self) -> None:
        if not self._out.parent.is_dir():
            raise DiskError(
                f"There is no folder {self._out.parent} to write {self._out.name} to.",
                hint="Make it, or name another file with --out.",
                path=str(self._out),
            )
        if self._out.is_dir() or (not self._force and (self._out.exists() or self._out.is_symlink())):
            raise FileInTheWayError(
                f"{self._out} is there already.",
                hint="Name another file with --out, or replace this one with --force.",
                path=str(self._out),
            )


def load_signer(
    key: str | Path,
    home: Home,
    passphrase: Callable[[], str] | None,
    waiting: Callable[[str], None] | None = None,
) -> Signer:
    """The mirror's key.

    Raises:
        KeyFileError, AgentError: there is none, or it cannot be used.
    """
    return open_signer(key, home, passphrase, waiting)


def torrent_of(store: Store, located: Located) -> Info:
    """The torrent that holds this very release: its files by their roots, and its manifest byte for byte.

    Raises:
        StoreError: the store knows of no such torrent.
        TreeMismatchError: its torrent holds other files than were signed.
    """
    verified = located.verified
    info = _info(store, located.record)
    if info is None:
        raise StoreError(
            f"The torrent of {verified.release} in {located.folder} is not known, and mirrors vouch for both: "
            "the manifest and the torrent.",
            hint="Verify the release by its name in the store. `weightshare seed` takes a folder in, `weightshare "
            "fetch` completes a release.",
            path=str(located.folder),
        )
    gate.match(info, verified)
    held = next((file for file in info.files if file.path == MANIFEST_NAME), None)
    ours = hash_bytes(MANIFEST_NAME, verified.envelope, info.piece_length)
    if held is None or (held.size, held.pieces_root) != (ours.size, ours.pieces_root):
        raise StoreError(
            f"The manifest of {verified.release} in {located.folder} is not the one in its torrent.",
            hint="Verify the release by its name in the store.",
            path=str(located.folder),
        )
    return info


def _info(store: Store, record: Record | None) -> Info | None:
    if record is None:
        return None
    torrent, begun = store.torrent(record), store.folder(record) / "info"
    if torrent is not None:
        return parse_torrent(torrent).info
    return parse_info(begun.read_bytes()) if begun.exists() else None


def _attestation(path: Path) -> Attestation:
    hint = "A countersignature is a file that a mirror made with `weightshare verify --sign-as`."
    return Attestation(str(path), read_document(path, MAX_COUNTERSIGNATURE, hint=hint))


def _partial(verified: VerifiedManifest, missing: list[str]) -> CheckpointError:
    return CheckpointError(
        f"Not every file of {verified.release} is here and sound, so nothing is signed.",
        hint="A mirror vouches for a whole release: fetch the rest, then verify again.",
        paths=missing,
    )


def _vouch(entry: Countersignature) -> MirrorVouch:
    return MirrorVouch(entry.mirror_name, entry.fingerprint, entry.verified_at)
