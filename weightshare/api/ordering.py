"""A fetch in the order of a loader: what is wanted first, and who is told when it is there.

The headers that tell where the tensors lie are in the files themselves, so the order grows while they arrive. What is
read here to find it is not proven yet. It decides nothing but the order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from weightshare.api.following import Follower
from weightshare.api.results import RangeReady
from weightshare.content.range_watch import RangeWatch, Standing
from weightshare.content.safetensors_header import LENGTH_SIZE, header_length, read_header
from weightshare.errors import SafetensorsError, WeightshareError
from weightshare.load.plan import INDEX, make_plan
from weightshare.load.reading_order import ReadingOrder
from weightshare.manifest.metainfo import Info
from weightshare.manifest.model import Manifest
from weightshare.manifest.pieces import PieceMap, Span
from weightshare.manifest.ranges import ByteRange, RangeMap

OnRange = Callable[[RangeReady], None]
"""Called from the thread that fetches, which waits for it. What it raises ends the fetch, which resumes."""


class FetchOrder(StrEnum):
    """In which order pieces are asked for."""

    MODEL = "model"
    """As a model is built: small files, headers, tensors by layer; all but the next few still rarest first."""

    RAREST = "rarest"
    """Rarest first: what is best for everybody who fetches."""


class Ordering:
    """The order of one fetch. The swarm's loop asks it what comes first and tells it what can be read.

    Args:
        manifest: the verified one.
        info: the torrent.
        order: in which order to ask.
        on_range: told of ranges, None if nobody is.
        layers: piece layers by pieces root that are known to be right.

    Attributes:
        watch: to be told what is proven.
    """

    def __init__(
        self,
        manifest: Manifest,
        info: Info,
        order: FetchOrder,
        on_range: OnRange | None,
        layers: Mapping[bytes, bytes],
    ) -> None:
        self._pieces = pieces = PieceMap(info)
        self.watch = RangeWatch(pieces, layers)
        self._spans = {span.file.path: span for span in pieces.spans}
        self._map = RangeMap(pieces)
        self._manifest = manifest
        self._in_order = order is FetchOrder.MODEL
        self._on_range = on_range
        self._locations: dict[str, Path] = {}
        self._fetched: dict[str, str] = {}  # by path, the one as which a file is fetched
        self._reading = ReadingOrder(())
        self._known = 0  # headers
        self._used = 0  # of them when the order was last made
        self._wanted: tuple[int, ...] = ()
        self._changed = False

    def begin(
        self,
        fetched: Collection[Span],
        staged: Path,
        placed: Mapping[str, Path],
        names: Mapping[int, Sequence[Span]] | None = None,
    ) -> None:
        """Say what is fetched, and tell of what is here.

        Args:
            fetched: the files to be fetched.
            staged: the folder where they lie until they are proven.
            placed: the proven files that are in place, by path.
            names: by position, the files that have the bytes of one that is fetched, where that is not it alone.
        """
        for span in fetched:
            equal = (names or {}).get(span.position, (span,))
            self._fetched |= {each.file.path: span.file.path for each in equal}
            self.watch.equal(span, [each for each in equal if each is not span])
        self._locations = {**placed, **{path: staged / place for path, place in self._fetched.items()}}
        sizes = [(entry.path, entry.size) for entry in self._manifest.files if entry.path in self._locations]
        self._reading = ReadingOrder(sizes)
        self._changed = True
        for path in placed:
            self.watch.proven(self._spans[path].pieces)
        self._choose()
        shards = frozenset(self._reading.shards)
        for path, size in sizes:
            if path in shards:
                self.watch.add(ByteRange(path, 0, min(LENGTH_SIZE, size)), self._begun)
            else:
                self._report(path)

    @property
    def locations(self) -> Mapping[str, Path]:
        """Where each file lies while it is fetched, by path; known once it began."""
        return self._locations

    def follow(self, follower: Follower) -> None:
        """Tell of every piece of these files, those first that are here; once it began."""

        def tell(piece: int, standing: Standing) -> None:
            span = self._pieces.span_of(piece)
            if span.file.path in self._locations:
                follower.piece(span.file.path, piece - span.first, proven=standing is Standing.PROVEN)

        self.watch.listen(tell)

    # ---- for the swarm's loop

    def wanted(self) -> tuple[int, ...]:
        """The pieces to be fetched in their order, as far as it is known."""
        # A new order costs a look at every tensor: wait until all headers are known, or twice as many as before.
        if self._in_order and (self._changed or (self._known > self._used and self._known >= 2 * self._used)):
            self._changed, self._used = False, self._known
            ranges = (
                replace(each, path=self._fetched[each.path])
                for each in self._reading.ranges()
                if each.path in self._fetched
            )
            self._wanted = self._map.in_order(ranges)
        return self._wanted

    def readable(self, pieces: Collection[int]) -> None:
        """These pieces can be read from disk now."""
        self.watch.readable(pieces)

    # ---- what the files say

    def _choose(self) -> None:
        """Find out which shards are the ones to load; from the index where there is one, as soon as it is here."""
        entry = next((entry for entry in self._manifest.files if entry.path == INDEX), None)
        if entry is None:
            self._chosen()
        elif INDEX in self._locations:
            self.watch.add(ByteRange(INDEX, 0, entry.size), self._chosen)

    def _chosen(self, _: ByteRange | None = None, standing: Standing = Standing.READABLE) -> None:
        if standing is not Standing.READABLE:
            return
        folder = self._locations[INDEX].parent if INDEX in self._locations else Path()
        try:
            plan = make_plan(self._manifest, folder, {})
        except WeightshareError:  # then all shards are alike
            return
        self._reading.choose([entry.path for entry in plan.shards])
        self._changed = True

    def _begun(self, wanted: ByteRange, standing: Standing) -> None:
        """A shard's first bytes can be read: they say how long its header is."""
        if standing is not Standing.READABLE:
            return
        size = self._spans[wanted.path].file.size
        try:
            with self._locations[wanted.path].open("rb") as file:
                length = header_length(file.read(LENGTH_SIZE), size, wanted.path)
        except (OSError, SafetensorsError):
            self._learn(wanted.path, readable=False)
        else:
            self.watch.add(ByteRange(wanted.path, 0, length), self._headed)

    def _headed(self, wanted: ByteRange, standing: Standing) -> None:
        if standing is Standing.READABLE:
            self._learn(wanted.path, readable=True)

    def _learn(self, path: str, *, readable: bool) -> None:
        header = None
        if readable:
            try:
                header = read_header(self._locations[path], path)
            except (OSError, SafetensorsError):
                header = None
        self._reading.learn(path, header)
        self._known += 1
        if not self._reading.unknown():
            self._changed = True
        self._report(path)

    # ---- who is told

    def _report(self, path: str) -> None:
        if self._on_range is not None:
            for part in self._reading.parts(path):
                self.watch.add(part, self._tell)

    def _tell(self, part: ByteRange, standing: Standing) -> None:
        if self._on_range is not None:
            self._on_range(
                RangeReady(
                    part.path,
                    part.begin,
                    part.end,
                    part.tensor,
                    standing is Standing.PROVEN,
                    self._locations[part.path],
                )
            )
