"""A fetch that ends in the cache of huggingface_hub, where every library looks: one copy, proven, and ours to seed.

The release's folder is the snapshot itself. Its files are links to blobs, as huggingface_hub makes them; a blob gets
its name under that program's own lock, by a rename, once its bytes are proven. Until then they lie in a staging folder
of the repository, so also on the cache's disk. What is there already is hashed, and used if it is what was signed.
`main` follows last, and only when the whole snapshot stands.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from weightshare.api.cache_notes import NAME, Notes
from weightshare.api.hub_cache import ELSEWHERE
from weightshare.api.results import InHubCache
from weightshare.content.hashing import hash_files
from weightshare.content.receipts import Receipt
from weightshare.content.store import Record, Store
from weightshare.errors import CheckpointError, DiskError, FileInTheWayError
from weightshare.files import sync_folder
from weightshare.hub.cache_layout import Cached, etag_of, wants_no_links
from weightshare.hub.cache_locks import blob_lock
from weightshare.hub.etags import ATTRIBUTES, MOST_IN_GIT, Etags
from weightshare.manifest.metainfo import TreeFile
from weightshare.manifest.pieces import Span
from weightshare.progress import Observer
from weightshare.trust.gate import VerifiedManifest
from weightshare.units import MIB

if TYPE_CHECKING:
    from weightshare.api.gating import Passed

_PIECE = 4 * MIB


class CachePlace:
    """Puts one release into the cache; a `Placer`.

    Args:
        cached: where.
        record: the release, whose folder is the snapshot.
        store: has the notes on what is ours there.
        verified: what was signed.
        staged: the folder in which its files lie while they are incomplete.
        force: replace what stands in the way.
    """

    def __init__(
        self,
        cached: Cached,
        record: Record,
        store: Store,
        verified: VerifiedManifest,
        staged: Path,
        *,
        force: bool,
    ) -> None:
        self._cached = cached
        self._record = record
        self._store = store
        self._verified = verified
        self._entries = {entry.path: entry for entry in verified.manifest.files}
        self._staged = staged
        self._force = force
        self._listing = cached.listing()
        self._etags: Etags | None = None
        noted = store.cached(record)
        self._notes = Notes.read(noted) if noted is not None else Notes(store.folder(record) / NAME, cached)
        self._linking = True

    @classmethod
    def of(
        cls, record: Record, store: Store, chosen: Cached | None, passed: Passed, *, force: bool
    ) -> Self | None:
        """For a release that is in the cache already, or for which a place there was `chosen`; else None.

        Raises:
            StoreError: the notes on it are damaged.
        """
        notes = store.cached(record)
        cached = Notes.read(notes).cached if notes is not None else chosen
        if cached is None:
            return None
        staged = record.staging / passed.info.name
        return cls(cached, record, store, passed.decision.verified, staged, force=force)

    def _begin(self) -> None:
        """Make the folders, the record and its notes."""
        self._store.keep(self._record, envelope=self._verified.envelope)
        self._notes = Notes.begin(self._store.folder(self._record), self._cached)
        try:
            self._cached.make()
            self._linking = self._cached.links_work(wants_no_links())
        except OSError as error:
            raise DiskError(
                f"The Hub's cache at {self._cached.cache} cannot be written: {error.strerror or error}.",
                hint=f"Check the folder's permissions, or name another with HF_HUB_CACHE. {ELSEWHERE}",
                path=str(self._cached.folder),
            ) from error

    # ---- what is there

    def candidates(self, path: str) -> list[Path]:
        """Where the bytes of a file seem to be in the cache, the likeliest first."""
        entry = self._entries[path]
        names = [entry.sha256.hex()]
        if path in self._listing:
            names.append(etag_of(self._listing[path]))
        places = [self._target(path), *(self._cached.blobs / name for name in names)]
        # A small file is often the same at another commit, and its blob's name cannot be told without its bytes.
        others = (commit / path for commit in self._cached.other_commits())
        places += [place for place in others if self._cached.blob_of(place)]
        found: dict[Path, Path] = {}
        for place in places:
            with suppress(OSError, RuntimeError):  # RuntimeError: a loop, before Python 3.13
                if place.is_file() and place.stat().st_size == entry.size:
                    found.setdefault(place.resolve(), place)
        return list(found.values())

    def adopt(
        self, spans: Sequence[Span], piece_length: int, observe: Observer
    ) -> tuple[dict[str, Receipt], dict[str, bytes]]:
        """Hash what seems to be here of some files, and make those that are as signed files of the snapshot.

        Raises:
            FileInTheWayError: something else has the name of one of them, or of its blob, and is not ours.
        """
        proven: dict[str, tuple[Span, Path, bytes]] = {}
        waiting = {span.file.path: (span, self.candidates(span.file.path)) for span in spans}
        while tried := [(span, places.pop(0)) for span, places in waiting.values() if places]:
            try:
                hashes = hash_files(
                    [(place, span.file.size) for span, place in tried],
                    piece_length,
                    hybrid=False,
                    observe=observe,
                )
            except CheckpointError:  # one of them changes under our hands
                break
            for (span, place), found in zip(tried, hashes, strict=True):
                if found.pieces_root == span.file.pieces_root:
                    proven[span.file.path] = span, place, found.piece_layer
                    del waiting[span.file.path]
        bad = [path for path in waiting if self._in_the_way(path)]
        moved = [path for path, (_, place, _) in proven.items() if place != self._target(path)]
        self._refuse([*bad, *(path for path in moved if self._taken(path))])
        self._begin()
        receipts: dict[str, Receipt] = {}
        layers: dict[str, bytes] = {}
        for path, (span, place, layer) in proven.items():
            if self._adopt(path, place):
                receipts[path] = Receipt.of(self._target(path), span.file.pieces_root)
                layers[path] = layer
        return receipts, layers

    def _adopt(self, path: str, place: Path) -> bool:
        """Make a proven file the snapshot's; false where that takes a link, and none can be made."""
        target = self._target(path)
        if place == target:
            return True
        blob = place.name if place.parent == self._cached.blobs else self._cached.blob_of(place)
        if blob is None or not self._linking:
            return False
        try:
            with blob_lock(self._cached.cache, self._cached.name, blob):
                self._link(path, blob)
        except OSError as error:
            raise _refused(target, error) from error
        return True

    def _target(self, path: str) -> Path:
        return self._cached.snapshot / path

    def _in_the_way(self, path: str) -> bool:
        blob = self._entries[path].sha256.hex()
        return self._taken(path) or ((self._cached.blobs / blob).exists() and not self._may_replace(blob))

    def _taken(self, path: str) -> bool:
        """Whether a file stands under a name that we did not make and may not replace. A link to nowhere is none."""
        return self._target(path).exists() and path not in self._notes.paths and not self._force

    def _may_replace(self, blob: str) -> bool:
        return self._force or blob in self._notes.blobs

    # ---- what comes

    def give(self, file: TreeFile, source: Path, target: Path) -> None:
        """Make a proven file a blob, and its final name a link to it.

        Raises:
            OSError: the disk refused.
            FileInTheWayError: a blob of that name is there, is something else, and is not ours.
            StoreLockedError: another program works on that blob.
        """
        if not self._linking:
            self._notes.will_link(file.path, None)
            source.replace(target)
            return
        entry = self._entries[file.path]
        name = self._names().of(file.path, file.size, entry.sha256, source).name
        blob = self._cached.blobs / name
        with blob_lock(self._cached.cache, self._cached.name, name):
            if blob.exists() and (blob.samefile(source) or self._holds(blob, entry.sha256, file.size)):
                source.unlink()
            else:
                if blob.exists() and not self._may_replace(name):
                    self._refuse([file.path])
                self._notes.will_make(name)
                source.replace(blob)
            self._link(file.path, name)

    def finish(self, record: Record, *, move_main: bool) -> None:
        """All names are given: make them last, and let `main` lead to the commit where that is right.

        Args:
            record: the release, as it stands now.
            move_main: even if it leads elsewhere.

        Raises:
            DiskError: the disk refused.
        """
        with suppress(FileNotFoundError):
            sync_folder(self._cached.blobs)
        if record.complete:
            point_main(self._store, record, move=move_main)

    # ---- inside

    def _link(self, path: str, blob: str) -> None:
        if self._cached.blob_of(self._target(path)) != blob:
            self._notes.will_link(path, blob)
            self._cached.link(path, blob)

    def _names(self) -> Etags:
        """What names the blobs: by the commit's `.gitattributes`, once that is here."""
        if self._etags is None:
            places = (self._cached.snapshot / ATTRIBUTES, self._staged / ATTRIBUTES)
            attributes = None
            if ATTRIBUTES in self._entries:
                attributes = next((_read(place) for place in places if place.is_file()), None)
            etags = Etags(attributes, self._listing)
            if attributes is None and ATTRIBUTES in self._entries:
                return etags  # it is still to come
            self._etags = etags
        return self._etags

    def _holds(self, blob: Path, sha256: bytes, size: int) -> bool:
        """Whether a blob that another program has made meanwhile is what we have."""
        if blob.stat().st_size != size:
            return False
        try:
            return hash_files([(blob.resolve(), size)], _PIECE, hybrid=False)[0].sha256 == sha256
        except CheckpointError:
            return False

    def _refuse(self, paths: Sequence[str]) -> None:
        if paths:
            raise FileInTheWayError(
                f"The Hub's cache has other bytes for {', '.join(paths[:10])} of {self._cached.repo} at "
                f"{self._cached.commit[:12]} than were signed, in {self._cached.folder}.",
                hint="`hf cache verify` asks the Hub about them; --force replaces them, --no-hf-cache leaves them.",
                path=str(self._cached.snapshot),
                paths=list(paths),
            )


def point_main(store: Store, record: Record, *, move: bool) -> None:
    """Let `main` lead to the commit of a release that is in the cache, if it leads nowhere or `move` says so.

    A branch that leads elsewhere is the state of the Hub when somebody asked, and we have not asked.

    Args:
        store: has the notes on what is ours there.
        record: a release that is complete; nothing is done about one that is not in the cache.
        move: even if it leads elsewhere.

    Raises:
        DiskError: the disk refused.
        StoreError: the notes on it are damaged.
    """
    place = store.cached(record)
    if place is None:
        return
    notes = Notes.read(place)
    before, commit = notes.cached.ref(), notes.cached.commit
    if before == commit or (before is not None and not move):
        return
    if not (move or os.access(notes.cached.folder, os.W_OK)):
        return  # a cache that has become read-only is as good as before
    try:
        notes.will_point(before)
        notes.cached.point(commit)
    except OSError as error:
        raise _refused(notes.cached.folder / "refs" / "main", error) from error


def described(store: Store, record: Record) -> InHubCache | None:
    """What to say of a release that lies in the Hub's cache; None for any other.

    Raises:
        StoreError: the notes on it are damaged.
    """
    place = store.cached(record)
    if place is None:
        return None
    cached = Notes.read(place).cached
    return InHubCache(cached.cache, cached.repo, cached.commit, cached.ref())


def _read(place: Path) -> bytes:
    with place.open("rb") as file:
        return file.read(MOST_IN_GIT)


def _refused(target: Path, error: OSError) -> DiskError:
    return DiskError(
        f"{target} could not be made: {error.strerror or error}.",
        hint="Everything is kept; mend the disk or the folder's permissions and run the same command.",
        path=str(target),
    )
