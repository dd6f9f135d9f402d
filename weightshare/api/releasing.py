"""A signed draft becomes a release: through the gate that every fetch will put it through, and onto the disk.

The source folder may be read-only: then the signed manifest lives in the store and is served from there.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from weightshare.api import oms
from weightshare.api.asking import Intent
from weightshare.api.drafting import Draft, HashedCheckpoint
from weightshare.api.launching.embargo import quiet_magnet
from weightshare.api.records import new_record
from weightshare.api.results import Published
from weightshare.content.embargoes import Embargo, impose
from weightshare.content.home import Home
from weightshare.content.receipts import Receipt, save_receipts
from weightshare.content.store import Record, Store
from weightshare.errors import DiskError
from weightshare.files import write_atomically
from weightshare.manifest.magnet import parse as parse_magnet
from weightshare.manifest.metainfo import Info, lone_hash
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.text import quoted
from weightshare.trust import gate, publishers, sshsig
from weightshare.trust.gate import VerifiedManifest
from weightshare.trust.keys import Signer
from weightshare.trust.publishers import KnownPublishers, Pin
from weightshare.units import format_size


def release(
    made: Draft,
    hashed: HashedCheckpoint,
    intent: Intent,
    home: Home,
    *,
    own: Pin | None,
    out: Path | None,
    began: float,
    allow_pickle: bool,
    detached: Signer | None = None,
    embargo: Embargo | None = None,
) -> Published:
    """Put a signed draft through the gate and write it down.

    Args:
        made: the draft.
        hashed: its files and their digests.
        intent: what the publisher asked for.
        home: where the store and the known publishers are.
        own: the maintainer's own key, to be known from now on; None for a team, which is known already.
        out: where to write the torrent, the detached manifest and the magnet; None keeps them in the store.
        began: when the work began, by the monotonic clock.
        allow_pickle: publish files that run code when loaded.
        detached: who also makes a detached SSH signature over the manifest; None makes none.
        embargo: who alone may have it until it is announced; None announces it as soon as it is served.

    Raises:
        TrustError, IntegrityError, RefusedContentError: what every fetch would refuse.
        DiskError: it cannot be written.
    """
    checkpoint = hashed.checkpoint
    verified, warnings = _gate(made, own, home, allow_pickle=allow_pickle)
    record = _record(made, checkpoint.root, intent, verified.fingerprint)
    signature = sshsig.make(made.envelope, detached) if detached is not None else None
    if embargo is not None:
        impose(Store(home), record, embargo)
    written = _write(Store(home), record, made, hashed, signature, out)
    publishers.update(home.known_publishers, lambda known: remember_own(known, own, verified))
    return Published(
        release=record.release,
        publisher=record.publisher,
        publisher_name=verified.publisher_name,
        magnet=str(quiet_magnet(parse_magnet(made.magnet), embargo)) if embargo else made.magnet,
        torrent=written.torrent,
        manifest=written.manifest,
        v1_twin=written.v1_twin,
        sshsig=written.sshsig,
        oms=record.path / oms.SIGNATURE_NAME if oms.SIGNATURE_NAME in hashed.late else None,
        info_hash_v2=record.info_hash_v2,
        info_hash_v1=record.info_hash_v1,
        path=record.path,
        files=len(made.manifest.files),
        bytes=made.manifest.size,
        seconds=time.monotonic() - began,
        warnings=(*checkpoint.warnings, *warnings, *_hard_to_fetch(made.info)),
        embargo=embargo,
    )


def _gate(
    made: Draft, own: Pin | None, home: Home, *, allow_pickle: bool
) -> tuple[VerifiedManifest, tuple[str, ...]]:
    """Put the draft through the gate that every fetch will put it through; returns its warnings too."""
    known = with_own(KnownPublishers.load(home.known_publishers), own)
    verified = gate.verify(made.envelope, known, expect_publisher=parse_magnet(made.magnet).publisher)
    gate.match(gate.check_info(made.info.raw, made.info.v2_hash), verified)
    return verified, gate.judge(verified, known, gate.Policy(allow_pickle=allow_pickle))


def _hard_to_fetch(info: Info) -> tuple[str, ...]:
    lone = [file.path for file in info.files if lone_hash(file.size, info.piece_length)]
    if not lone:
        return ()
    return (
        f"with pieces of {format_size(info.piece_length)}, {quoted(lone[0])} has one piece hash more than a multiple "
        "of 512, which libtorrent gets wrong for those who begin with the magnet link; choose another "
        "--piece-length, or give them the .torrent with --torrent-url",
    )


def with_own(known: KnownPublishers, own: Pin | None) -> KnownPublishers:
    """The known publishers, the maintainer's own key among them."""
    if own is None or known.find(own.fingerprint) is not None or known.named(own.name):
        return known
    return known.add(own)


def remember_own(known: KnownPublishers, own: Pin | None, verified: VerifiedManifest) -> KnownPublishers:
    """The own key pinned, and the release's sequence noted as seen."""
    known = with_own(known, own)
    pin, model = known.find(verified.fingerprint), verified.manifest.model
    return known.with_highest(pin.name, model.id, model.sequence) if pin else known


def _record(made: Draft, root: Path, intent: Intent, publisher: str) -> Record:
    return new_record(
        made.manifest,
        publisher,
        root,
        made.info,
        "published",
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
    folder, name = store.folder(record), made.manifest.model.id.partition("/")[2]
    torrent, manifest = folder / "release.torrent", folder / MANIFEST_NAME
    twin = folder / "twin.torrent" if made.v1_twin is not None else None
    detached = folder / f"{MANIFEST_NAME}.sig" if signature is not None else None
    magnet = f"{made.magnet}\n".encode()
    try:
        hashed = oms.write_late(hashed)
        save_receipts(
            folder / "receipts.json",
            {file.path: Receipt.of(file.location, found.pieces_root) for file, found in hashed.files},
        )
        write_atomically(folder / "magnet", magnet)
        if twin is not None and made.v1_twin is not None:
            write_atomically(twin, made.v1_twin)
        if detached is not None and signature is not None:
            write_atomically(detached, signature)
        # A snapshot in the Hub's cache is others' too, and holds what the Hub has.
        if made.manifest.source is None and is_writable(record.path):
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
