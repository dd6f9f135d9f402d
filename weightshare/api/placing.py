"""Where the files of a fetch go, which of them are there already, and whether there is room for the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from weightshare.api.piece_reuse import NOTHING, Found, PieceReuse
from weightshare.api.reusing import reuse
from weightshare.api.twins import Names, names_of
from weightshare.content.hashing import hash_files
from weightshare.content.journal import Journal
from weightshare.content.naming import rename
from weightshare.content.piece_copying import shares_blocks
from weightshare.content.receipts import Receipt, load_receipts
from weightshare.content.staging import clear_staging
from weightshare.content.store import Record, Store
from weightshare.errors import FileInTheWayError, NoSpaceError, UsageError
from weightshare.files import existing, free_space
from weightshare.manifest.metainfo import Info, TreeFile
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.pieces import PieceMap, Span
from weightshare.progress import Observer
from weightshare.trust.gate import VerifiedManifest
from weightshare.units import BLOCK, MIB, format_size

_RESERVE = 16 * MIB  # resume data, the torrent, the file system's own needs


class Placer(Protocol):
    """A place where a file's final name is not all there is to do."""

    def adopt(
        self, spans: Sequence[Span], piece_length: int, observe: Observer
    ) -> tuple[dict[str, Receipt], dict[str, bytes]]:
        """Prove what is there of some files, and give it their names; receipts and piece layers by path.

        Raises:
            FileInTheWayError: something else stands there that is not to be replaced.
        """

    def give(self, file: TreeFile, source: Path, target: Path) -> None:
        """Give a proven file its name; see `content.naming.GiveName`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be fetched.

    Attributes:
        spans: the files to bring.
        names: by their positions, as which files each lands: more than one, or another, where files are equal.
        staging: where they lie until proven; on the same file system as the destination.
        has_staged: an earlier run left something there.
        receipts: of the files that are in place already, proven just now or before.
        layers: their piece layers, by path.
        reused: their bytes.
        found: pieces of the files to bring that other releases on this machine seem to have.
        parts: the positions of those files to bring of which perhaps not all is wanted.
    """

    spans: tuple[Span, ...]
    names: Names
    staging: Path
    has_staged: bool
    receipts: dict[str, Receipt] = field(default_factory=dict)
    layers: dict[str, bytes] = field(default_factory=dict)
    reused: int = 0
    found: Found = NOTHING
    parts: frozenset[int] = frozenset()

    @property
    def size(self) -> int:
        """Bytes of the files to bring whole."""
        return sum(span.file.size for span in self.spans if span.position not in self.parts)

    @property
    def landing(self) -> tuple[Span, ...]:
        """The files that will be here by it, and are not yet."""
        return tuple(span for names in self.names.values() for span in names)


def plan_landing(
    info: Info,
    verified: VerifiedManifest,
    record: Record,
    store: Store,
    *,
    include: Sequence[str],
    exclude: Sequence[str],
    force: bool,
    pieces: PieceReuse,
    observe: Observer,
    reusing: Callable[[], None] = lambda: None,
    chosen: Sequence[Span] | None = None,
    in_part: Callable[[str], bool] = lambda _: False,
    placer: Placer | None = None,
) -> Plan:
    """Decide what to fetch into `record.path`.

    Args:
        info: the torrent.
        verified: the manifest that it matches.
        record: the release at its place.
        store: what is known of it, and of the other releases on this machine.
        include: globs; none means all files.
        exclude: globs, applied after `include`.
        force: replace files that stand in the way.
        pieces: looks for single pieces of what is missing.
        observe: told how the look at existing files goes.
        reusing: called before anything is taken from other releases.
        chosen: the files that are wanted, where the globs do not say so.
        in_part: tells of a path whether perhaps not all of that file is wanted.
        placer: how files get their names, where that is not by a plain rename.

    Raises:
        UsageError: the globs leave nothing.
        FileInTheWayError: a file that is not this release's stands where one must land.
        NoSpaceError: the disk is too small for what is missing.
    """
    spans = chosen if chosen is not None else chosen_spans(info, verified.release, include, exclude)
    staging = staging_of(record)
    state, has_staged = store.folder(record), (staging / info.name).exists()
    if placer is not None:
        receipts, layers = placer.adopt(spans, info.piece_length, observe)
    else:
        receipts, layers = _in_place(spans, info.piece_length, record, state, force=force, observe=observe)
    missing = tuple(span for span in spans if span.file.path not in receipts)
    # What an earlier run has begun is finished as it was begun.
    fresh = [span for span in missing if not (staging / info.name / span.file.path).exists()]
    reusing()
    own = {**still_in_place(record, state), **receipts}
    give = placer.give if placer is not None else rename
    reused = reuse(fresh, info.piece_length, record, store, staging, own=own, observe=observe, give=give)
    asked = {span.file.path for span in spans}
    receipts |= {path: receipt for path, receipt in reused.receipts.items() if path in asked}
    layers |= reused.layers
    names = names_of(info, [span for span in missing if span.file.path not in receipts])
    missing = tuple(span for span in PieceMap(info).spans if span.position in names)
    parts = frozenset(span.position for span in missing if in_part(span.file.path))
    plan = Plan(
        missing,
        names,
        staging,
        has_staged,
        receipts,
        layers,
        sum(span.file.size for span in spans if span.file.path in receipts),
        pieces.find(
            [s for s in missing if s.position not in parts],
            Journal(state / "pieces").known if has_staged else {},
        ),
        parts,
    )
    try:
        _check_space(plan, info.name, record.path, may_link=store.shares(record))
    except NoSpaceError:
        if not has_staged:
            clear_staging(staging)
        raise
    return plan


def staging_of(record: Record) -> Path:
    """Where a release's files lie until they are proven."""
    return record.staging


def chosen_spans(info: Info, release: str, include: Sequence[str], exclude: Sequence[str]) -> list[Span]:
    """The files that the user asked for.

    Args:
        info: the torrent.
        release: what it is called, for the message.
        include: globs; none means all files.
        exclude: globs, applied after `include`.

    Raises:
        UsageError: the globs leave nothing.
    """
    spans = [
        span
        for span in PieceMap(info).spans
        if span.file.path != MANIFEST_NAME and matches(span.file.path, include, exclude)
    ]
    if not spans:
        raise UsageError(
            f"No file of {release} is left by --include and --exclude.",
            hint="`weightshare inspect` lists the files; globs are matched against the whole path.",
        )
    return spans


def still_in_place(record: Record, state: Path) -> dict[str, Receipt]:
    """The files of a release that nobody seems to have touched since they were proven.

    Args:
        record: the release at its place.
        state: what is kept of it.
    """
    receipts = load_receipts(state / "receipts.json")
    return {path: one for path, one in receipts.items() if one.still_holds(record.path / path)}


def matches(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a path is left by the globs: `include`, where none means all, and then `exclude`."""
    wanted = not include or any(fnmatchcase(path, glob) for glob in include)
    return wanted and not any(fnmatchcase(path, glob) for glob in exclude)


def _in_place(
    spans: Sequence[Span],
    piece_length: int,
    record: Record,
    state: Path,
    *,
    force: bool,
    observe: Observer,
) -> tuple[dict[str, Receipt], dict[str, bytes]]:
    """The files that stand under their final names with the right bytes; hashed now, whatever a receipt says."""
    ours = load_receipts(state / "receipts.json")
    here = [span for span in spans if (record.path / span.file.path).is_file()]
    sized = [span for span in here if (record.path / span.file.path).stat().st_size == span.file.size]
    hashes = hash_files(
        [(record.path / span.file.path, span.file.size) for span in sized],
        piece_length,
        hybrid=False,
        observe=observe,
    )
    receipts, layers = {}, {}
    for span, found in zip(sized, hashes, strict=True):
        if found.pieces_root == span.file.pieces_root:
            path = record.path / span.file.path
            receipts[span.file.path] = Receipt.of(path, span.file.pieces_root)
            layers[span.file.path] = found.piece_layer
    in_the_way = [
        span.file.path for span in here if span.file.path not in receipts and span.file.path not in ours
    ]
    if in_the_way and not force:
        raise FileInTheWayError(
            f"Other files stand where the release must land, in {record.path}: {', '.join(in_the_way[:10])}.",
            hint="Choose another folder, move them away, or replace them with --force.",
            path=str(record.path),
            paths=in_the_way,
        )
    return receipts, layers


def _check_space(plan: Plan, name: str, destination: Path, *, may_link: bool) -> None:
    brought = [span for span in plan.spans if span.position not in plan.parts]
    staged = sum(_allocated(plan.staging / name / span.file.path) for span in brought)
    needed = max(0, plan.size - staged) + (_RESERVE if plan.spans else 0)
    names = [span for span in brought for _ in plan.names[span.position]]
    twins = 0 if may_link else sum(span.file.size for span in names) - plan.size
    folder = existing(destination)
    free = free_space(folder)
    if needed + twins > free and not (twins and _reflinks(folder)):
        needed += twins
    if needed > free:
        needed -= _shared(plan, folder)
    if needed > free:
        raise NoSpaceError(
            f"{destination} has {format_size(free)} free, and {format_size(needed)} are needed.",
            hint="Make space, name another folder, or take fewer files with --include.",
            path=str(destination),
            needed=needed,
            free=free,
        )


def _shared(plan: Plan, folder: Path) -> int:
    """Bytes that will need no room, because the file system lets the new files share them with those they come from."""
    size, able = 0, dict[int, bool]()
    for run in plan.found.runs:
        with suppress(OSError):
            device = run.source.path.stat().st_dev
            if device not in able and run.source.size >= BLOCK:
                able[device] = shares_blocks(run.source.path, folder, BLOCK)
            size += run.size if able.get(device) else 0
    return size


def _reflinks(folder: Path) -> bool:
    """Whether files of this file system can share their bytes."""
    trial = folder / f".whole-block-{os.getpid()}"
    try:
        trial.write_bytes(bytes(BLOCK))
        return shares_blocks(trial, folder, BLOCK)
    except OSError:
        return False
    finally:
        trial.unlink(missing_ok=True)


def _allocated(path: Path) -> int:
    """Bytes that a staged file takes on the disk already; sparse parts do not count."""
    try:
        found = path.stat()
    except OSError:
        return 0
    blocks = getattr(found, "st_blocks", None)
    return found.st_size if blocks is None else min(found.st_size, blocks * 512)
