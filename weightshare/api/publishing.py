"""`publish`: check a folder, hash it once, sign what it holds, and write what makes it a release.

The source folder may be read-only: then the signed manifest lives in the store and is served from there. Before
anything is written the new release passes the same gate that every fetch will put it through.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from weightshare.api.drafting import Draft, HashedCheckpoint, Intent, draft
from weightshare.api.results import Published
from weightshare.api.signers import open_signer
from weightshare.api.trusting import new_pin
from weightshare.content.checkpoint import Checkpoint, scan
from weightshare.content.hashing import hash_files
from weightshare.content.receipts import Receipt, save_receipts
from weightshare.content.store import Home, Record, Store
from weightshare.errors import CheckpointError, DiskError, UsageError
from weightshare.files import write_atomically
from weightshare.manifest.metainfo import default_piece_length, tree_order
from weightshare.manifest.model import MANIFEST_NAME, Manifest
from weightshare.progress import Observer, ignore
from weightshare.trust import gate, publishers, sshsig
from weightshare.trust.gate import VerifiedManifest
from weightshare.trust.keys import PublicKey
from weightshare.trust.publishers import KnownPublishers
from weightshare.units import MAX_PART, format_size

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_SPDX = re.compile(
    r"\(?[A-Za-z0-9][A-Za-z0-9.+:-]*\)?(?: (?:AND|OR|WITH) \(?[A-Za-z0-9][A-Za-z0-9.+:-]*\)?)*"
)


def publish(
    directory: str | Path,
    name: str,
    *,
    version: str = "1",
    license: str | None = None,
    summary: str = "",
    key: str | Path | None = None,
    passphrase: Callable[[], str] | None = None,
    waiting: Callable[[str], None] | None = None,
    trackers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
    torrent_urls: Sequence[str] = (),
    piece_length: int | None = None,
    v2_only: bool = False,
    v1_twin: bool = False,
    allow_pickle: bool = False,
    sequence: int | None = None,
    detached: bool = False,
    out: Path | None = None,
    home: Home | None = None,
    observe: Observer = ignore,
) -> Published:
    """Publish a folder as a signed release.

    Args:
        directory: the checkpoint; never written to except for `weightshare.json`, and not even that if read-only.
        name: `ORG/MODEL`.
        version: the release's version.
        license: an SPDX expression.
        summary: one line for people.
        key: an Ed25519 key: a private or public key file, the name of one of `home`'s, `SHA256:…` or `agent` for
            one that the ssh-agent holds; None for the only one in `home`.
        passphrase: asked when the key wants one.
        waiting: told what is waited for when an ssh-agent takes its time.
        trackers: announce URLs.
        web_seeds: BEP 19 URLs.
        torrent_urls: where the `.torrent` will be found; they become the magnet's `xs=`.
        piece_length: bytes, a power of two from 16 KiB; None chooses by total size.
        v2_only: no v1 list beside the v2 tree.
        v1_twin: also write a plain v1 torrent of the same files.
        allow_pickle: publish files that run code when loaded.
        sequence: rises with every release of the model; None takes the time.
        detached: also make a detached SSH signature, for `ssh-keygen -Y verify`.
        out: where to write the torrent, the detached manifest and the magnet; None keeps them in the store.
        home: where keys and the store are.
        observe: told how the hashing goes.

    Raises:
        RefusedContentError: the folder holds what should not be published.
        IntegrityError: it is broken: a bad header, missing shards, files that change meanwhile.
        TrustError: no usable key, or the name is pinned with another one.
    """
    began = time.monotonic()
    _check_options(name, version, license, trackers, web_seeds, torrent_urls)
    home = home or Home.default()
    signer = open_signer(key, home, passphrase, waiting)
    checkpoint = scan(Path(directory).expanduser().absolute(), allow_pickle=allow_pickle)
    total = sum(file.size for file in checkpoint.files)
    intent = Intent(
        name=name,
        version=version,
        license=license,
        summary=summary,
        sequence=sequence,
        piece_length=piece_length or default_piece_length(total),
        hybrid=not v2_only,
        v1_twin=v1_twin,
        trackers=tuple(trackers),
        web_seeds=tuple(web_seeds),
        torrent_urls=tuple(torrent_urls),
    )
    hashed = _hash(checkpoint, intent, observe)
    made = draft(hashed, intent, signer)
    verified, warnings = _gate(made, signer.public_key, home, allow_pickle=allow_pickle)
    signature = sshsig.make(made.envelope, signer) if detached else None
    record = _record(made, checkpoint.root, intent, signer.public_key)
    written = _write(Store(home), record, made, hashed, signature, out)
    publishers.update(
        home.known_publishers, lambda known: _remember_own(known, made.manifest, signer.public_key)
    )
    return Published(
        release=record.release,
        publisher=record.publisher,
        publisher_name=verified.publisher_name,
        magnet=made.magnet,
        torrent=written.torrent,
        manifest=written.manifest,
        v1_twin=written.v1_twin,
        sshsig=written.sshsig,
        info_hash_v2=record.info_hash_v2,
        info_hash_v1=record.info_hash_v1,
        path=record.path,
        files=len(made.manifest.files),
        bytes=made.manifest.size,
        seconds=time.monotonic() - began,
        warnings=(*checkpoint.warnings, *warnings),
    )


def _check_options(
    name: str,
    version: str,
    spdx: str | None,
    trackers: Sequence[str],
    web_seeds: Sequence[str],
    torrent_urls: Sequence[str],
) -> None:
    if not _NAME.fullmatch(name) or max(map(len, name.split("/"))) > MAX_PART:
        raise UsageError(
            f"{name!r} is not a model's name.",
            hint="Names look like ORG/MODEL, with letters, digits, `.`, `_` and `-`: acme/m7b-instruct.",
        )
    if not _VERSION.fullmatch(version):
        raise UsageError(f"{version!r} is not a version.", hint="Versions look like 1, 1.0 or 2026-11-22.")
    if spdx is not None and not _SPDX.fullmatch(spdx):
        raise UsageError(
            f"{spdx!r} is not an SPDX licence expression.",
            hint="For example Apache-2.0, MIT, or LicenseRef-acme for one of your own.",
        )
    for url in trackers:
        _check_url(url, ("udp://", "http://", "https://", "ws://", "wss://"), "tracker")
    for url in (*web_seeds, *torrent_urls):
        _check_url(url, ("http://", "https://"), "web address")


def _check_url(url: str, schemes: tuple[str, ...], what: str) -> None:
    if not url.startswith(schemes) or any(ord(char) <= 32 for char in url):
        raise UsageError(f"{url!r} is not a {what}.", hint=f"It must begin with one of {', '.join(schemes)}.")
    if "@" in url.split("/")[2]:
        raise UsageError(f"The {what} {url!r} holds a name or password, which everybody would see.")


def _hash(checkpoint: Checkpoint, intent: Intent, observe: Observer) -> HashedCheckpoint:
    """Hash every file, in one pass and in the order of the file tree; none may change meanwhile."""
    sources = sorted(checkpoint.files, key=lambda file: tree_order(file.path))
    hashes = hash_files(
        [(file.location, file.size) for file in sources],
        intent.piece_length,
        hybrid=intent.hybrid,
        observe=observe,
        v1_twin=intent.v1_twin,
    )
    changed = [file.path for file in sources if not file.unchanged()]
    if changed:
        raise CheckpointError(
            f"Changed while it was being hashed: {', '.join(changed[:10])}.",
            hint="Publish again once nothing writes to the folder.",
            paths=changed,
        )
    return HashedCheckpoint(checkpoint, tuple(zip(sources, hashes, strict=True)))


def _gate(
    made: Draft, signer: PublicKey, home: Home, *, allow_pickle: bool
) -> tuple[VerifiedManifest, tuple[str, ...]]:
    """Put the draft through the gate that every fetch will put it through; returns its warnings too."""
    known = _pin_own(KnownPublishers.load(home.known_publishers), made.manifest, signer)
    verified = gate.verify(made.envelope, known, expect_publisher=signer.fingerprint_bytes)
    gate.match(gate.check_info(made.info.raw, made.info.v2_hash), verified)
    return verified, gate.judge(verified, known, gate.Policy(allow_pickle=allow_pickle))


def _pin_own(known: KnownPublishers, manifest: Manifest, signer: PublicKey) -> KnownPublishers:
    """The maintainer's own key is a known publisher, under the model's organisation."""
    if known.find(signer.fingerprint) is None and not known.named(manifest.publisher.name):
        known = known.add(new_pin(manifest.publisher.name, signer, "own key"))
    return known


def _remember_own(known: KnownPublishers, manifest: Manifest, signer: PublicKey) -> KnownPublishers:
    """The own key pinned, and the release's sequence noted as seen."""
    known = _pin_own(known, manifest, signer)
    pin = known.find(signer.fingerprint)
    return known.with_highest(pin.name, manifest.model.id, manifest.model.sequence) if pin else known


def _record(made: Draft, root: Path, intent: Intent, signer: PublicKey) -> Record:
    info = made.info
    return Record(
        info_hash_v2=info.v2_hash.hex(),
        info_hash_v1=info.v1_hash.hex() if info.v1_hash else None,
        release=made.manifest.release,
        publisher=signer.fingerprint,
        kind="published",
        path=root,
        bytes=made.manifest.size,
        complete=True,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        trackers=intent.trackers,
        web_seeds=intent.web_seeds,
    )


@dataclass(frozen=True, slots=True)
class _Written:
    """Where the release's files lie."""

    torrent: Path
    manifest: Path
    v1_twin: Path | None
    sshsig: Path | None


def _write(
    store: Store,
    record: Record,
    made: Draft,
    hashed: HashedCheckpoint,
    signature: bytes | None,
    out: Path | None,
) -> _Written:
    """Write the release down: in the store, in its folder if that may be written to, and in `out`.

    The detached signature never goes into the release's folder, where it would be a file that nobody signed.
    """
    store.keep(record, envelope=made.envelope, torrent=made.torrent)
    for older in store.at(record.path):
        # Published again from the same folder: the name means the newer one.
        if older.release == record.release and older.kind == "published" and older.id != record.id:
            store.forget(older)
    folder, name = store.folder(record), made.manifest.torrent.name
    torrent, manifest = folder / "release.torrent", folder / MANIFEST_NAME
    twin = folder / "twin.torrent" if made.v1_twin is not None else None
    detached = folder / f"{MANIFEST_NAME}.sig" if signature is not None else None
    magnet = f"{made.magnet}\n".encode()
    try:
        save_receipts(
            folder / "receipts.json",
            {file.path: Receipt.of(file.location, found.pieces_root) for file, found in hashed.files},
        )
        write_atomically(folder / "magnet", magnet)
        if twin is not None and made.v1_twin is not None:
            write_atomically(twin, made.v1_twin)
        if detached is not None and signature is not None:
            write_atomically(detached, signature)
        if is_writable(record.path):
            manifest = record.path / MANIFEST_NAME
            write_atomically(manifest, made.envelope)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            torrent, manifest = out / f"{name}.torrent", out / f"{name}.{MANIFEST_NAME}"
            write_atomically(torrent, made.torrent)
            write_atomically(manifest, made.envelope)
            write_atomically(out / f"{name}.magnet", magnet)
            if made.v1_twin is not None:
                twin = out / f"{name}.v1.torrent"
                write_atomically(twin, made.v1_twin)
            if signature is not None:
                detached = out / f"{name}.{MANIFEST_NAME}.sig"
                write_atomically(detached, signature)
    except OSError as error:
        raise DiskError(
            f"The release could not be written: {error.filename or out}: {error.strerror or error}.",
            hint=f"It needs {format_size(len(made.torrent) + len(made.envelope))} of space.",
            path=str(error.filename or out),
        ) from error
    return _Written(torrent, manifest, twin, detached)


def is_writable(folder: Path) -> bool:
    """Whether we should write into a folder: it has a write bit (root ignores it, we don't) and lets us."""
    return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)
