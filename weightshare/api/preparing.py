"""`publish --prepare` and `--finish`: a team's release, between the first hash and the last signature.

prepare: folder -> hashes -> manifest, unsigned     (one maintainer, who has the files)
sign:    manifest -> manifest with one more signature   (each maintainer, who needs the manifest alone)
finish:  manifest with enough signatures -> release     (the one who has the files)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal, Unpack

from weightshare.api import oms
from weightshare.api.asking import Asked, Intent, check_asked, intent_of
from weightshare.api.cosigning import read_manifest, tally
from weightshare.api.documents import check_free, write_document
from weightshare.api.drafting import HashedCheckpoint, assemble, state, team_publisher
from weightshare.api.origin import Origin
from weightshare.api.publishing import hash_checkpoint
from weightshare.api.releasing import is_writable, release
from weightshare.api.results import Prepared, Published
from weightshare.api.signers import open_signer
from weightshare.api.trusting import team_of
from weightshare.content.checkpoint import Checkpoint, scan
from weightshare.content.drafts import Kept, find_draft, forget_draft, keep_draft
from weightshare.content.embargoes import Embargo
from weightshare.content.home import Home
from weightshare.errors import DiskError, ThresholdError, UsageError
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.metainfo import tree_order
from weightshare.manifest.model import MANIFEST_NAME, Manifest
from weightshare.progress import Observer, ignore
from weightshare.trust.oms_keys import EcSigner
from weightshare.trust.signing import add_signature, unsigned
from weightshare.trust.teams import Team


def prepare(
    directory: str | Path,
    name: str,
    *,
    key: str | Path | None = None,
    oms_key: str | Path | None = None,
    passphrase: Callable[[], str] | None = None,
    waiting: Callable[[str], None] | None = None,
    allow_pickle: bool = False,
    out: Path | None = None,
    home: Home | None = None,
    observe: Observer = ignore,
    origin: Origin | None = None,
    **asked: Unpack[Asked],
) -> Prepared:
    """Hash a folder and write the manifest that the team's maintainers are to sign.

    Args:
        directory: the checkpoint; nothing is written to it, except for `model.sig` if asked for.
        name: `ORG/MODEL`, with `ORG` a team that this user knows.
        key: sign with this key at once; None leaves it unsigned.
        oms_key: path of a PEM key (P-256, P-384, P-521) that signs `model.sig`, for OpenSSF Model Signing.
        passphrase: asked when a key wants one.
        waiting: told what is waited for when an ssh-agent takes its time.
        allow_pickle: publish files that run code when loaded.
        out: where to put the manifest; None takes the current folder.
        home: where keys and the known publishers are.
        observe: told how the hashing goes.
        origin: where on the Hub the files come from, and what to hold them against; see `hub_publishing`.
        **asked: the facts of the release, as for `publish`.

    Raises:
        UsageError: no team of that name is known.
        FileInTheWayError: a manifest of that name is there already.
        RefusedContentError, IntegrityError: as for `publish`.
    """
    began = time.monotonic()
    check_asked(name, asked)
    home = home or Home.default()
    team = _team(home, name)
    path = (out or Path.cwd()).absolute() / f"{name.partition('/')[2]}.{MANIFEST_NAME}"
    check_free(path)
    signer = open_signer(key, home, passphrase, waiting) if key is not None else None
    checkpoint = scan(Path(directory).expanduser().absolute(), allow_pickle=allow_pickle)
    oms_signer = None
    if oms_key is not None:
        writable = is_writable(checkpoint.root)
        checkpoint, oms_signer = oms.prepare(checkpoint, oms_key, passphrase, writable=writable)
    source = origin.before(checkpoint.files) if origin is not None else None
    intent = intent_of(name, [file.size for file in checkpoint.files], asked, source)
    hashed = hash_checkpoint(checkpoint, intent, observe)
    if origin is not None:
        origin.after(hashed.files)
    if oms_signer is not None:
        hashed = _with_signature(hashed, intent, oms_signer)
    manifest = state(hashed, intent, team_publisher(team))
    envelope = unsigned(manifest, [root.raw for root in team.chain])
    if signer is not None:
        envelope = add_signature(envelope, manifest.publisher, signer)
    facts = asdict(intent) | {"late": list(hashed.late)}
    keep_draft(_place(home, envelope), checkpoint.root, facts, hashed.files)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(
            f"{path.parent} could not be made: {error.strerror}.", path=str(path.parent)
        ) from error
    write_document(path, envelope.to_bytes())
    return Prepared(
        release=manifest.release,
        publisher=team.fingerprint,
        publisher_name=team.name,
        manifest=path,
        payload_sha256=envelope.payload_sha256.hex(),
        tally=tally(envelope, manifest, home),
        files=len(manifest.files),
        bytes=manifest.size,
        seconds=time.monotonic() - began,
        warnings=(*(origin.notes if origin is not None else ()), *checkpoint.warnings),
        hub=origin.standing if origin is not None else None,
    )


def finish(
    manifest_file: str | Path,
    directory: str | Path | None = None,
    *,
    allow_pickle: bool = False,
    out: Path | None = None,
    home: Home | None = None,
    embargo: Embargo | None = None,
    observe: Observer = ignore,
    **asked: Unpack[Asked],
) -> Published:
    """Make the release of a manifest that enough maintainers have signed.

    Args:
        manifest_file: the signed manifest, as `prepare` began it.
        directory: the checkpoint; None takes the folder that was prepared here. Files that changed since, or
            that were prepared elsewhere, are hashed again.
        allow_pickle: publish files that run code when loaded.
        out: where to write the torrent, the detached manifest and the magnet; None keeps them in the store.
        home: where the store and the known publishers are.
        embargo: who alone may have it until it is announced; None for everybody.
        observe: told how the hashing goes, if there is any.
        **asked: trackers and addresses in place of those named to `prepare`; what is signed stays as it is.

    Raises:
        ThresholdError: too few have signed.
        TreeMismatchError: the folder is not what was signed.
        UsageError: no folder was named, and none was prepared here.
    """
    began = time.monotonic()
    home = home or Home.default()
    envelope, manifest = read_manifest(Path(manifest_file))
    team = _team(home, manifest.model.id)
    place = _place(home, envelope)
    kept = find_draft(place)
    if directory is None and kept is None:
        raise UsageError(
            f"{manifest_file} was not prepared on this machine, so its folder is not known.",
            hint=f"Name it: weightshare publish DIR --finish {manifest_file}",
        )
    root = (
        Path(directory).expanduser().absolute() if directory is not None else kept.folder if kept else Path()
    )
    checkpoint = scan(root, allow_pickle=allow_pickle)
    intent = _intent(manifest, kept.facts if kept else {}, asked)
    check_asked(intent.name, asked)
    # A v1 twin has hashes of its own; they are there only if it was asked for when the files were read.
    usable = kept if kept and (kept.facts.get("v1_twin") is True or not intent.v1_twin) else None
    hashed = _remembered(checkpoint, usable) or hash_checkpoint(checkpoint, intent, observe)
    made = assemble(hashed, intent, manifest, envelope.to_bytes(), team.fingerprint)
    try:
        published = release(
            made,
            hashed,
            intent,
            home,
            own=None,
            out=out,
            began=began,
            allow_pickle=allow_pickle,
            embargo=embargo,
        )
    except ThresholdError as error:
        error.hint = f"Let another member sign it: weightshare sign {manifest_file} --key …"
        raise
    forget_draft(place)
    return published


def _with_signature(hashed: HashedCheckpoint, intent: Intent, signer: EcSigner) -> HashedCheckpoint:
    """Sign for OpenSSF Model Signing, and write that down at once: the others sign a manifest that lists it."""
    try:
        return oms.write_late(oms.add_signature(hashed, intent, signer))
    except OSError as error:
        root = hashed.checkpoint.root
        raise DiskError(
            f"{oms.SIGNATURE_NAME} could not be written to {root}: {error.strerror}.", path=str(root)
        ) from error


def _team(home: Home, name: str) -> Team:
    team, org = team_of(home, name), name.partition("/")[0]
    if team is None:
        raise UsageError(
            f"{org} is no team that you know.",
            hint=f"A single key signs at once, without --prepare. A team is made known by its root: "
            f"weightshare trust add {org} {org}.1.root.json",
        )
    return team


def _place(home: Home, envelope: Envelope) -> Path:
    return home.path / "drafts" / envelope.payload_sha256.hex()[:40]


def _intent(manifest: Manifest, kept: Mapping[str, object], asked: Asked) -> Intent:
    """What was asked for: the signed facts from the manifest, the rest as said now or to `prepare`."""

    def addresses(name: Literal["trackers", "web_seeds", "torrent_urls"]) -> tuple[str, ...]:
        earlier = kept.get(name)
        known = [str(item) for item in earlier] if isinstance(earlier, list) else []
        return tuple(asked.get(name) or known)

    return Intent(
        name=manifest.model.id,
        version=manifest.model.version,
        license=manifest.license.spdx if manifest.license else None,
        summary=manifest.model.summary,
        sequence=manifest.model.sequence,
        piece_length=manifest.torrent.piece_length,
        hybrid=manifest.torrent.hybrid,
        v1_twin=asked.get("v1_twin", False) or kept.get("v1_twin") is True,
        trackers=addresses("trackers"),
        web_seeds=addresses("web_seeds"),
        torrent_urls=addresses("torrent_urls"),
        source=manifest.source,
    )


def _remembered(checkpoint: Checkpoint, kept: Kept | None) -> HashedCheckpoint | None:
    """The checkpoint with the digests that were kept of it; None if a file of it is new or was touched."""
    found = []
    for file in sorted(checkpoint.files, key=lambda file: tree_order(file.path)):
        hashes = kept.hashes_of(file) if kept is not None else None
        if hashes is None:
            return None
        found.append((file, hashes))
    names = kept.facts.get("late") if kept is not None else None
    made = frozenset(names) if isinstance(names, list) else frozenset()
    late = {file.path: file.location.read_bytes() for file, _ in found if file.path in made}
    return HashedCheckpoint(checkpoint, tuple(found), late)
