"""Takes a release out of the Hub's cache again: what we put there, and of that nothing which anybody else uses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from weightshare.api.cache_notes import Notes
from weightshare.content.store import Record, Store
from weightshare.errors import DiskError
from weightshare.hub.cache_layout import Cached
from weightshare.hub.cache_locks import blob_lock
from weightshare.manifest.model import MANIFEST_NAME


def take_out(
    store: Store, record: Record, paths: Sequence[str], others: Collection[Path]
) -> tuple[int, int, int]:
    """Delete the files of a snapshot that we made, and those of their blobs that no snapshot leads to any more.

    What huggingface_hub made stays, and what it uses. A blob of ours is its as well once another snapshot leads there,
    and a file of ours becomes that of another release of this store which lies in the same snapshot.

    Args:
        store: has the notes on what is ours.
        record: the release.
        paths: its files.
        others: files of other releases of this store.

    Returns:
        Files deleted, files kept, bytes freed.

    Raises:
        DiskError: a file cannot be deleted.
        StoreLockedError: another program works on a blob.
    """
    notes = _notes(store, record)
    deleted = kept = freed = 0
    sizes: dict[str, list[str]] = {}
    for path in paths:
        target = record.path / path
        if path == MANIFEST_NAME or not (target.is_symlink() or target.exists()):
            continue
        blob = notes.cached.blob_of(target)
        ours = path in notes.paths and notes.paths[path] == blob
        if not ours or target in others:
            kept += 1
            if ours:
                _hand_over(store, record, notes, path, blob)
            continue
        size = target.stat().st_size if blob is None else 0
        _delete(target)
        deleted, freed = deleted + 1, freed + size
        if blob in notes.blobs and blob is not None:
            sizes.setdefault(blob, []).append(path)
    in_use = _InUse(notes.cached)
    for blob, links in sizes.items():
        place = notes.cached.blobs / blob
        with blob_lock(notes.cached.cache, notes.cached.name, blob):
            if in_use.has(blob):
                deleted, kept = deleted - len(links), kept + len(links)
                continue
            with suppress(FileNotFoundError):
                size = place.stat().st_size if place.stat().st_nlink == 1 else 0
                _delete(place)
                freed += size
    return deleted, kept, freed


def prune_cache(store: Store, record: Record) -> None:
    """Bring back where `main` led before us, unless somebody has moved it since, and remove folders that are empty.

    Raises:
        DiskError: the disk refused.
    """
    notes = _notes(store, record)
    cached = notes.cached
    whole = any(one.id != record.id and one.complete for one in store.at(record.path))
    try:
        if notes.moved and cached.ref() == cached.commit and not whole:
            there = notes.before is not None and (cached.snapshot.parent / notes.before).is_dir()
            cached.point(notes.before if there else None)
    except OSError as error:
        raise _refused(cached.folder / "refs" / "main", error) from error
    cached.prune()


class _InUse:
    """The blobs that snapshots of a repository lead to; looked up again when a folder of them has changed."""

    def __init__(self, cached: Cached) -> None:
        self._cached = cached
        self._stamp: object = None
        self._blobs: frozenset[str] = frozenset()

    def has(self, blob: str) -> bool:
        stamp = self._cached.stamp()
        if stamp != self._stamp:
            self._stamp, self._blobs = stamp, self._cached.blobs_in_use()
        return blob in self._blobs


def _notes(store: Store, record: Record) -> Notes:
    place = store.cached(record)
    if place is None:
        raise AssertionError("only of a release that is in a cache")
    return Notes.read(place)


def _hand_over(store: Store, record: Record, notes: Notes, path: str, blob: str | None) -> None:
    for other in store.at(record.path):
        place = store.cached(other)
        if other.id != record.id and place is not None:
            theirs = Notes.read(place)
            if blob is not None and blob in notes.blobs:
                theirs.will_make(blob)
            theirs.will_link(path, blob)
            return


def _delete(place: Path) -> None:
    try:
        place.unlink()
    except OSError as error:
        raise _refused(place, error) from error


def _refused(place: Path, error: OSError) -> DiskError:
    return DiskError(
        f"{place} cannot be deleted: {error.strerror or error}.",
        hint="Check the folder's permissions, then run the same command again.",
        path=str(place),
    )
