"""A fetch of some tensors, or of one rank's slices: small files whole, then headers, then only the pieces needed.

What is wanted grows while it comes: the index says which shards there are, a shard's first bytes how long its header
is, the header where its tensors lie. Each of these is proven before it is believed, piece by piece; a shard of which
not all is here stays in the staging folder, without its final name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from weightshare.api.gating import Passed, Wish
from weightshare.api.piece_reuse import PieceReuse, save_layers
from weightshare.api.placing import Plan, matches
from weightshare.content.landing import Landing
from weightshare.content.parts import Parts
from weightshare.content.safetensors_header import LENGTH_SIZE, Header, header_length, read_header
from weightshare.content.store import Record
from weightshare.errors import DiskError, NetworkError, NoSpaceError, UnsupportedModelError
from weightshare.files import existing, free_space
from weightshare.load.plan import INDEX, SUFFIX, make_plan, narrowed
from weightshare.load.reading_order import is_small
from weightshare.load.selection import Part, Selection, pieces_of
from weightshare.manifest.metainfo import Info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.pieces import PieceMap, Span
from weightshare.manifest.text import quoted
from weightshare.run.small_files import is_wanted
from weightshare.units import MIB, format_size

_PATIENCE = 20.0  # seconds without a further piece hash; without them nothing can be proven
_RESERVE = 16 * MIB


def spans_of(info: Info, wish: Wish, select: Selection) -> list[Span]:
    """The files of which a fetch of tensors wants something: the small ones that were not left out, and the shards.

    Raises:
        UnsupportedModelError: the release has no shards.
    """
    if not any(is_shard(file.path) for file in info.files):
        raise UnsupportedModelError(
            f"{quoted(info.name)} has no safetensors file at the top of its folder, so no tensor can be asked for.",
            hint="`weightshare inspect` lists its files; --include chooses among them.",
            architecture="",
        )
    asks_model = select.of > 1 and not select.dims  # how it is split among ranks
    return [
        span
        for span in PieceMap(info).spans
        if span.file.path != MANIFEST_NAME
        and (
            is_shard(span.file.path)
            or span.file.path == INDEX
            or (asks_model and is_wanted(span.file.path))
            or (
                is_small(span.file.path, span.file.size)
                and matches(span.file.path, wish.include, wish.exclude)
            )
        )
    ]


def is_shard(path: str) -> bool:
    """Whether a file may hold tensors that a loader would load."""
    return path.endswith(SUFFIX) and "/" not in path


class PartialFetch:
    """What is wanted of one fetch's shards.

    Args:
        passed: what came through the gate.
        plan: what is to be fetched; its `parts` are the shards that are not here.
        select: which tensors, and which part of each.
        record: the release at its place.
    """

    def __init__(self, passed: Passed, plan: Plan, select: Selection, record: Record) -> None:
        self._verified = passed.decision.verified
        self._info = passed.info
        self._plan = plan
        self._select = select
        self._record = record
        self._pieces = PieceMap(passed.info)
        self._spans = {span.position: span for span in plan.spans}
        staged = plan.staging / passed.info.name
        self._brought = {  # by path, the file as which it is brought
            each.file.path: self._spans[position] for position, names in plan.names.items() for each in names
        }
        self._locations = {path: staged / span.file.path for path, span in self._brought.items()}
        self._locations |= {path: record.path / path for path in plan.receipts}

    def know_layers(self, pieces: PieceReuse, state: Path) -> Parts:
        """Have the shards' piece hashes, without which no piece can be proven alone; they are kept for the next run.

        Raises:
            NetworkError: peers did not give them.
        """
        spans = {position: self._spans[position] for position in self._plan.parts}
        pieces.ask(list(spans.values()), alone=True, patience=_PATIENCE)
        if pieces.layers:
            save_layers(state, pieces.layers)
        for span in spans.values():
            if span.count > 1 and span.file.pieces_root not in pieces.layers:
                raise NetworkError(
                    f"The piece hashes of {quoted(span.file.path)} did not come, and without them a piece cannot be "
                    "proven alone.",
                    hint="Fetch by the .torrent, which brings them, or leave out --tensors and --rank.",
                    path=span.file.path,
                )
        return Parts(spans, pieces.layers)

    def phases(self, landing: Landing) -> Iterator[frozenset[int]]:
        """The pieces that are wanted, more each time; the next are told once all of these are proven.

        Raises:
            UsageError: the selection does not fit the release.
            SafetensorsError, CheckpointError: shards that are as signed, and none.
            NoSpaceError: what is needed does not fit. Facts: `needed`, `free`.
        """
        small = (span for span in self._plan.spans if span.position not in self._plan.parts)
        whole = frozenset(piece for span in small for piece in span.pieces)

        def wanted(more: Iterable[int] = ()) -> frozenset[int]:
            landing.want(list(more))
            return whole.union(*landing.held().values(), *self._whole(landing))

        yield wanted()
        plan = narrowed(
            make_plan(self._verified.manifest, self._plan.staging, self._locations),
            self._select,
            self._verified.release,
        )
        paths = [entry.path for entry in plan.shards]
        spans = {path: self._brought[path] for path in paths if path in self._brought}
        yield wanted(span.first for span in spans.values())
        lengths = {path: self._length(path) for path in spans}
        yield wanted(
            piece
            for path, span in spans.items()
            for piece in span.pieces[: -(-lengths[path] // self._info.piece_length)]
        )
        headers = {path: read_header(self._locations[path], path) for path in paths}
        needed = [
            span.first + piece
            for path, parts in self._parts(headers, bool(plan.index)).items()
            if (span := spans.get(path)) is not None
            for run in pieces_of(parts, self._info.piece_length)
            for piece in run
        ]
        before = wanted()
        after = wanted(needed)
        self._check_space(after - before)
        yield after

    def finish(self, landing: Landing) -> dict[str, int]:
        """Leave the shards that are not whole as the next run and the loader want them; bytes held, by path.

        Raises:
            DiskError: the disk refused.
        """
        held = {}
        for position, pieces in landing.held().items():
            span = self._spans[position]
            place = self._plan.staging / self._info.name / span.file.path
            if not pieces:
                continue
            try:
                if place.stat().st_size < span.file.size:
                    with place.open("r+b") as file:
                        file.truncate(span.file.size)  # a loader maps it; the rest is a hole
            except OSError as error:
                raise DiskError(
                    f"{place} cannot be extended: {error.strerror or error}.",
                    hint="Check the disk; the same command resumes.",
                    path=str(place),
                ) from error
            for each in self._plan.names[position]:
                held[each.file.path] = sum(self._pieces.byte_range(piece)[2] for piece in pieces)
        landing.underway((), {})
        landing.seal()
        return held

    # ---- inside

    def _whole(self, landing: Landing) -> Iterator[Sequence[int]]:
        """The pieces of shards that turned out to be wanted whole."""
        held = landing.held()
        return (self._spans[position].pieces for position in self._plan.parts if position not in held)

    def _length(self, path: str) -> int:
        size = next(span.file.size for span in self._pieces.spans if span.file.path == path)
        with self._locations[path].open("rb") as file:
            return header_length(file.read(LENGTH_SIZE), size, path)

    def _parts(self, headers: Mapping[str, Header], indexed: bool) -> dict[str, list[Part]]:
        select = self._select
        if select.of > 1 and not select.dims:
            from weightshare.run.parallel import plan_of

            select = replace(select, dims=plan_of(self._verified, self._plan.staging, self._locations))
        if not indexed:
            names = [info.name for header in headers.values() for info in header.tensors]
            select.require(frozenset(names), self._verified.release)
        return {path: select.parts(header.tensors) for path, header in headers.items()}

    def _check_space(self, more: frozenset[int]) -> None:
        folder = existing(self._plan.staging)
        needed = sum(self._pieces.byte_range(piece)[2] for piece in more) + _RESERVE
        free = free_space(folder)
        if more and needed > free:
            raise NoSpaceError(
                f"{folder} has {format_size(free)} free, and {format_size(needed)} are needed.",
                hint="Make space, name another folder, or ask for fewer tensors.",
                path=str(folder),
                needed=needed,
                free=free,
            )
