"""`ls`, `rm` and `verify` of torrents that nobody signed, and serving them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from weightshare.api.own_files import delete, prune
from weightshare.api.results import Removed
from weightshare.api.results.old import ListedUnsigned, UnsignedVerdict
from weightshare.content.hashing import hash_each
from weightshare.content.home import Home
from weightshare.content.staging import clear_staging
from weightshare.content.store import Store
from weightshare.content.unsigned_store import UnsignedRecord, UnsignedStore
from weightshare.errors import (
    CheckpointError,
    CorruptError,
    StoreError,
)
from weightshare.manifest.plain import read_plain_torrent
from weightshare.progress import Observer, Phase, ignore
from weightshare.swarm.offer import Offer
from weightshare.units import MIB

_ANY = MIB  # a piece length; only whole-file digests are looked at


def ls_unsigned(*, home: Home | None = None) -> tuple[ListedUnsigned, ...]:
    """All torrents here that nobody signed, oldest first."""
    records = UnsignedStore(home or Home.default()).records()
    return tuple(ListedUnsigned(r.name, r.info_hash, r.path, r.bytes, r.complete) for r in records)


def rm_unsigned(record: UnsignedRecord, *, home: Home | None = None) -> Removed:
    """Forget an unsigned torrent and delete its files; those stay that lie where a release does by now.

    Raises:
        StoreLockedError: another process works on it.
        DiskError: a file cannot be deleted.
    """
    home = home or Home.default()
    store = UnsignedStore(home)
    deleted = freed = 0
    proven = bool(Store(home).at(record.path))
    with store.lock(record.info_hash):
        for file in () if proven else record.files:
            place = record.path / file.path
            if not place.is_file():
                continue
            deleted, freed = deleted + 1, freed + delete(place)
        clear_staging(record.staging)
        if not proven:
            prune(record.path, [file.path for file in record.files])
        store.forget(record)
    return Removed(record.name, record.path, deleted, len(record.files) if proven else 0, freed)


def verify_unsigned(
    record: UnsignedRecord, *, home: Home | None = None, observe: Observer = ignore
) -> UnsignedVerdict:
    """Hash the files again and hold them against what was recorded when they arrived. It proves nobody's word.

    Raises:
        StoreError: it never arrived whole.
    """
    began = time.monotonic()
    _torrent_of(UnsignedStore(home or Home.default()), record)
    return UnsignedVerdict(
        name=record.name,
        info_hash=record.info_hash,
        path=record.path,
        bytes=record.bytes,
        files=len(record.files),
        bad=_differences(record, observe),
        seconds=time.monotonic() - began,
    )


def offer_unsigned(record: UnsignedRecord, *, home: Home, observe: Observer = ignore) -> Offer:
    """What can be served of an unsigned torrent, after its files were hashed again.

    Raises:
        CorruptError: a file is not as it arrived.
        StoreError: it never arrived whole.
    """
    torrent = _torrent_of(UnsignedStore(home), record)
    bad = _differences(record, observe)
    if bad:
        path = next(iter(bad))
        raise CorruptError(
            f"{record.name} in {record.path} is not as it arrived: {path} ({bad[path]}). It is not served.",
            hint=f"Take it away and fetch it again: weightshare rm {record.info_hash[:12]}",
            path=path,
            pieces=[],
            paths=list(bad),
        )
    places = [record.path / file.path for file in read_plain_torrent(torrent).plain.files]
    return Offer(
        f"{record.name} (unsigned)",
        torrent,
        dict(enumerate(places)),
        record.trackers,
        record.web_seeds,
        release=record.info_hash,
    )


def _torrent_of(store: UnsignedStore, record: UnsignedRecord) -> bytes:
    torrent = store.torrent(record)
    if torrent is None or not record.complete:
        raise StoreError(
            f"{record.name} is not complete.",
            hint="Run the same `fetch --unsigned` again to complete it.",
            path=str(record.path),
        )
    return torrent


def _differences(record: UnsignedRecord, observe: Observer) -> Mapping[str, str]:
    bad: dict[str, str] = {}
    sound = []
    for file in record.files:
        place = record.path / file.path
        if place.is_symlink() or not place.is_file():
            bad[file.path] = "missing" if not place.exists() else "not a regular file"
        elif place.stat().st_size != file.size:
            bad[file.path] = f"{place.stat().st_size:,} bytes where {file.size:,} arrived"
        else:
            sound.append(file)
    places = [(record.path / file.path, file.size) for file in sound]
    found = hash_each(places, _ANY, hybrid=False, observe=observe, phase=Phase.VERIFYING)
    for file, one in zip(sound, found, strict=True):
        if isinstance(one, CheckpointError):
            bad[file.path] = one.message
        elif isinstance(one, OSError):
            bad[file.path] = one.strerror or "unreadable"
        elif one.sha256.hex() != file.sha256:
            bad[file.path] = f"SHA-256 {one.sha256.hex()}, {file.sha256} arrived"
    return bad
