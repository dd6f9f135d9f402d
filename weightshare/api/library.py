"""`ls` and `rm`: what the store holds, and taking something out of it."""

from __future__ import annotations

import time
from pathlib import Path

from weightshare.api.cache_removing import prune_cache, take_out
from weightshare.api.own_files import clear_links, delete, prune
from weightshare.api.results import ListedRelease, Removed
from weightshare.content.embargoes import embargo_of
from weightshare.content.home import Home
from weightshare.content.staging import clear_staging
from weightshare.content.store import Record, Store
from weightshare.errors import StoreLockedError
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.statement import parse
from weightshare.trust.publishers import KnownPublishers


def ls(*, home: Home | None = None) -> tuple[ListedRelease, ...]:
    """All releases of the store, oldest first."""
    home = home or Home.default()
    store = Store(home)
    known = KnownPublishers.load(home.known_publishers)
    listed = []
    for record in store.records():
        pin = known.find(record.publisher)
        listed.append(
            ListedRelease(
                release=record.release,
                publisher=record.publisher,
                publisher_name=pin.name if pin else None,
                path=record.path,
                bytes=record.bytes,
                complete=record.complete,
                seeding=_is_locked(store, record),
                kind=record.kind,
                info_hash_v2=record.info_hash_v2,
                embargo=embargo_of(store, record.info_hash, time.time()),
                info_hash_v1=record.info_hash_v1,
            )
        )
    return tuple(listed)


def rm(release: str, *, home: Home | None = None) -> Removed:
    """Forget a release, and delete the files that `fetch` brought unless another release uses them.

    Files that were published from a folder of the user's are never deleted. In a Hub cache only that goes which `fetch`
    put there, and of it no blob that another snapshot leads to.

    Raises:
        ReleaseNotFoundError, AmbiguousReleaseError: not here, or not the only one.
        StoreLockedError: another process works on it.
        DiskError: a file cannot be deleted.
    """
    home = home or Home.default()
    store = Store(home)
    record = store.find(release)
    deleted = kept = freed = 0
    with store.lock(record), store.seeding_lock(record):
        paths = _paths(store, record)
        if record.kind == "published":
            kept = len(paths)
            if home.found in record.path.parents:  # links to other programs' files; the links are ours
                clear_links(record, paths)
                prune(record.path, paths, home.found)
        elif store.cached(record) is not None:
            deleted, kept, freed = take_out(store, record, paths, _others(store, record))
            clear_staging(record.staging)
            prune_cache(store, record)
        else:
            others = _others(store, record)
            for path in paths:
                place = record.path / path
                if not place.is_file():
                    continue
                if place in others:
                    kept += 1
                    continue
                deleted, freed = deleted + 1, freed + delete(place)
            clear_staging(record.staging)
            prune(record.path, paths, home.models)
        store.forget(record)
    return Removed(record.release, record.path, deleted, kept, freed)


def _others(store: Store, record: Record) -> set[Path]:
    """The files of all other releases."""
    others = (other for other in store.records() if other.id != record.id)
    return {other.path / path for other in others for path in _paths(store, other)}


def _paths(store: Store, record: Record) -> list[str]:
    """The release's paths, its manifest's own included. The manifest was verified when the record was made."""
    manifest = parse(Envelope.parse(store.envelope(record)).payload)
    return [*(entry.path for entry in manifest.files), MANIFEST_NAME]


def _is_locked(store: Store, record: Record) -> bool:
    try:
        with store.seeding_lock(record):
            return False
    except StoreLockedError:
        return True
