"""Before the swarm is asked: files of a new release that this machine has already.

In another release, in this one, or where another program keeps it and `scan` has found it. A file is the same if its
pieces root is, whatever it is called. The root comes from a receipt, which only says where to look: the bytes are
hashed again before the file gets its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.api.offering import links_of
from weightshare.content.bringing import Way, bring
from weightshare.content.found_roots import Memory
from weightshare.content.hashing import hash_files
from weightshare.content.naming import GiveName, rename
from weightshare.content.receipts import Receipt, load_receipts, save_receipts
from weightshare.content.store import Record, Store
from weightshare.content.walk import hub_blobs
from weightshare.errors import CheckpointError
from weightshare.files import free_space, sync_file, sync_folder
from weightshare.manifest.pieces import Span
from weightshare.progress import Observer
from weightshare.units import MIB

_FILE_MODE = 0o444
_RESERVE = 16 * MIB


@dataclass(frozen=True, slots=True)
class Reused:
    """Files that were taken from where they stood: proven, and under their final names.

    Attributes:
        receipts: by release path; those too of files of this release that others are now links to.
        layers: their piece layers, by release path.
    """

    receipts: dict[str, Receipt] = field(default_factory=dict)
    layers: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file's bytes seem to be.

    Attributes:
        place: the file.
        receipt: of it.
        record: the release that it belongs to, None for a file of another program.
        path: in that release.
    """

    place: Path
    receipt: Receipt
    record: Record | None = None
    path: str = ""

    @property
    def name(self) -> str:
        """The release, or where the file of another program lies."""
        return self.record.release if self.record is not None else str(self.place)

    def holds(self) -> bool:
        """Whether nobody seems to have touched it since it was proven."""
        return self.receipt.still_holds(self.place)


@dataclass(frozen=True, slots=True)
class _Brought:
    """A file in the staging folder, not yet proven."""

    span: Span
    source: Source
    staged: Path
    way: Way


def reuse(
    spans: Sequence[Span],
    piece_length: int,
    record: Record,
    store: Store,
    staging: Path,
    *,
    own: Mapping[str, Receipt],
    observe: Observer,
    give: GiveName = rename,
) -> Reused:
    """Take what is here already into `record.path`. What cannot be taken is left to the swarm.

    Args:
        spans: the files that are missing.
        piece_length: of the torrent, in bytes.
        record: the release that they are for.
        store: the releases on this machine.
        staging: a folder on the destination's file system.
        own: of files of this release that are in place.
        observe: told how the proof goes.
        give: how a file gets its name.
    """
    sources = sources_of(spans, record, store, own)
    wanted = [(span, sources[span.file.path]) for span in spans if span.file.path in sources]
    if not wanted:
        return Reused()
    brought = [one for span, source in wanted if (one := _bring(span, source, record, store, staging))]
    try:
        return _prove(brought, piece_length, record, store, observe, give)
    finally:
        for one in brought:
            one.staged.unlink(missing_ok=True)


def sources_of(
    spans: Sequence[Span], record: Record, store: Store, own: Mapping[str, Receipt]
) -> dict[str, Source]:
    """Where files of a release seem to be on this machine already, by release path.

    Args:
        spans: the files that are missing.
        record: the release that they are for.
        store: the releases on this machine.
        own: of files of this release that are in place; what else stands in its folder is not looked at.
    """
    known = _by_root(store, record, own)
    found: dict[str, Source] = {}
    for span in spans:
        root = span.file.pieces_root
        sources = [one for one in known.get(root.hex(), ()) if _may_serve(one, span, record)] if root else []
        if sources:
            found[span.file.path] = next((one for one in sources if one.holds()), sources[0])
    return found


def _may_serve(source: Source, span: Span, record: Record) -> bool:
    """Whether a file can be what a new one is made of."""
    place = record.path / span.file.path
    if source.place.is_symlink() or source.place == place:
        return False
    other = source.record is None or source.record.id != record.id
    if other and place.exists():
        return False
    return source.place.is_file() and source.place.stat().st_size == span.file.size


def _place(record: Record, path: str) -> Path:
    """Where a file of a release is; for one that is a link of a Hub cache's snapshot, the blob."""
    place = record.path / path
    blobs = hub_blobs(record.path)
    if blobs is None or not place.is_symlink():
        return place
    target = place.resolve()
    return target if target.parent == blobs.resolve() else place


def _by_root(store: Store, record: Record, own: Mapping[str, Receipt]) -> dict[str, list[Source]]:
    """Where the files of this release, of all others and of other programs are, by pieces root in hex."""
    found: dict[str, list[Source]] = {}

    def add(source: Source) -> None:
        if source.receipt.root is not None:
            found.setdefault(source.receipt.root, []).append(source)

    for path, receipt in own.items():
        add(Source(_place(record, path), receipt, record, path))
    for other in store.records():
        if other.id != record.id:
            links = links_of(store, other)
            for path, receipt in load_receipts(store.folder(other) / "receipts.json").items():
                add(Source(links.get(path) or _place(other, path), receipt, other, path))
    for place, receipt in Memory(store.home.findings).holding().items():
        add(Source(place, receipt))
    return found


def _bring(span: Span, source: Source, record: Record, store: Store, staging: Path) -> _Brought | None:
    staged = staging / f"reused-{span.position}"
    # A hard link is made only where no user is told to edit anything: a file of another program would change with ours,
    # and ours with it.
    may_link = source.record is not None and store.shares(record) and store.shares(source.record)
    with suppress(OSError):
        staging.mkdir(parents=True, exist_ok=True)
        staged.unlink(missing_ok=True)
        if free_space(staging) < span.file.size + _RESERVE and not may_link:
            return None
        return _Brought(span, source, staged, bring(source.place, staged, may_link=may_link))
    return None


def _prove(
    brought: Sequence[_Brought],
    piece_length: int,
    record: Record,
    store: Store,
    observe: Observer,
    give: GiveName,
) -> Reused:
    reused = Reused()
    try:
        hashes = hash_files(
            [(one.staged, one.span.file.size) for one in brought], piece_length, hybrid=False, observe=observe
        )
    except CheckpointError:  # one of them changes under our hands; the swarm has them all
        return reused
    for one, found in zip(brought, hashes, strict=True):
        root, path = one.span.file.pieces_root, one.span.file.path
        if found.pieces_root != root:
            continue
        target = record.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if one.way is not Way.LINK:
            one.staged.chmod(_FILE_MODE)
            sync_file(one.staged)
        give(one.span.file, one.staged, target)
        sync_folder(target.parent)
        reused.receipts[path] = Receipt.of(target, root)
        reused.layers[path] = found.piece_layer
    for one in brought:
        if one.way is Way.LINK and one.span.file.path in reused.receipts:
            # One that got its name since may be a link to the same file, which changed its status.
            path = one.span.file.path
            reused.receipts[path] = Receipt.of(record.path / path, one.span.file.pieces_root)
    for other, changed in list(_linked(brought, reused)):
        # A further link changes a file's status: what was just proven is still what the receipt is of.
        if other.id == record.id:
            reused.receipts.update(changed)
            continue
        place = store.folder(other) / "receipts.json"
        save_receipts(place, {**load_receipts(place), **changed})
    return reused


def _linked(brought: Sequence[_Brought], reused: Reused) -> Iterator[tuple[Record, dict[str, Receipt]]]:
    by_record: dict[str, tuple[Record, dict[str, Receipt]]] = {}
    for one in brought:
        if one.way is Way.LINK and one.source.record is not None and one.span.file.path in reused.receipts:
            changed = by_record.setdefault(one.source.record.id, (one.source.record, {}))[1]
            changed[one.source.path] = Receipt.of(one.source.place, one.span.file.pieces_root)
    yield from by_record.values()
