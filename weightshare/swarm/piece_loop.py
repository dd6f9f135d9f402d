"""The loop that brings pieces: they finish, are flushed, become readable, are handed on and proven.

Only what can be read from disk is handed on: libtorrent's `piece_finished` comes before that, so a flush is asked for
and awaited. Resume data is saved on the way, more seldom as it grows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from weightshare.manifest.metainfo import Info
from weightshare.manifest.pieces import PieceMap
from weightshare.progress import Phase
from weightshare.swarm.alerts import CacheFlushed, Checked, Event, PieceFinished, ResumeFailed, ResumeSaved
from weightshare.swarm.order import Order, Window
from weightshare.swarm.states import Watch
from weightshare.swarm.torrent import Torrent
from weightshare.units import MIB

TICK = 0.1
_BUSY_TICK = 0.01
_FLUSH_EVERY = 0.25
_ORDER_EVERY = 0.5


class Sink(Protocol):
    """Who takes the pieces and proves them."""

    def readable(self, pieces: Collection[int]) -> None:
        """These pieces can be read from disk now."""

    def refused(self) -> Collection[int]:
        """Work a little; pieces that were read back and are not what they must be, to be fetched anew."""

    def settled(self) -> bool:
        """Whether all that was readable has been proven."""

    def busy(self) -> bool:
        """Whether pieces are being proven just now, so that it should be asked again soon."""

    def proven(self) -> int:
        """Bytes proven so far."""

    def resume_data(self, data: bytes) -> None:
        """Keep this for the next run."""


class Steps(Protocol):
    """What the loop needs of the transfer it belongs to."""

    torrent: Torrent
    timeout: float
    clock: Callable[[], float]

    def events(self, timeout: float = ...) -> list[Event]:
        """What happened; failures are raised."""

    def look(
        self,
        watch: Watch,
        *,
        done: int,
        total: int | None,
        missing: int | None = ...,
        shown: int | None = ...,
    ) -> None:
        """Let the watch see how it goes."""

    def wait_for(
        self, kind: type[Event], what: str, *, limit: float | None = ..., total: int | None = ...
    ) -> None:
        """Wait for one kind of event."""


class PieceLoop:
    """The main loop: pieces finish, are flushed, become readable, are proven."""

    def __init__(
        self,
        transfer: Steps,
        info: Info,
        positions: Collection[int],
        sink: Sink,
        order: Order | None = None,
    ) -> None:
        self._transfer = transfer
        self._torrent = transfer.torrent
        self._sink = sink
        self._positions = set(positions)
        pieces = PieceMap(info)
        spans = [span for span in pieces.spans if span.position in self._positions]
        self._wanted = {piece for span in spans for piece in span.pieces}
        self._total = sum(span.file.size for span in spans)
        self._lengths = {piece: pieces.byte_range(piece)[2] for piece in self._wanted}
        self._finished: set[int] = set()  # here, not known to be readable
        self._flushing: set[int] | None = None  # finished when the flush under way was asked for
        self._arrived: set[int] = set()
        self._arrived_bytes = 0
        self._flush_asked = 0.0
        self._resume_due = 0.0
        self._resume_asked = False
        self._looked = 0.0
        self._order = order
        self._window = Window(order, info.piece_length) if order is not None else None
        self._ordered = 0.0

    def begin(self) -> None:
        """Take in what is here, and say what is wanted first; before anybody is dialled."""
        here = self._torrent.pieces()
        self._take(piece for piece, have in enumerate(here) if have and piece in self._wanted)
        self._want_first(self._transfer.clock())

    def run(self) -> None:
        """Until every wanted piece is here and proven; see `fetching.Transfer.fetch` for what it raises."""
        clock = self._transfer.clock
        watch = Watch(Phase.FETCHING, self._transfer.timeout, clock())
        self._resume_due = clock() + 1
        while True:
            for event in self._transfer.events(_BUSY_TICK if self._sink.busy() else TICK):
                self._handle(event, clock())
            self._flush(clock())
            again = self._sink.refused()
            if again:
                self._refetch(again)
                watch = Watch(Phase.FETCHING, self._transfer.timeout, clock())
            complete = len(self._arrived) == len(self._wanted)
            if complete and not self._finished and self._flushing is None:
                if self._sink.settled():
                    return
                if watch.phase is Phase.FETCHING:
                    watch = Watch(Phase.PROVING, 0, clock())
            if clock() - self._ordered >= _ORDER_EVERY:
                self._want_first(clock())
            self._save_resume(clock())
            if clock() - self._looked >= TICK:
                self._looked = clock()
                self._report(watch)

    def _take(self, pieces: Iterable[int]) -> None:
        for piece in pieces:
            if piece in self._wanted and piece not in self._arrived:
                self._arrived.add(piece)
                self._arrived_bytes += self._lengths[piece]
                self._finished.add(piece)

    def _handle(self, event: Event, now: float) -> None:
        if isinstance(event, PieceFinished):
            self._take((event.piece,))
        elif isinstance(event, CacheFlushed) and self._flushing is not None:
            self._readable(self._flushing)
            self._flushing = None
        elif isinstance(event, ResumeSaved):
            self._sink.resume_data(event.data)
            self._resume_asked = False
            # The hash trees of unfinished files make it 2 MB a GiB: write it more seldom as it grows.
            self._resume_due = now + max(2.0, len(event.data) / MIB)
        elif isinstance(event, ResumeFailed):
            self._resume_asked = False
            self._resume_due = now + 2

    def _readable(self, pieces: Collection[int]) -> None:
        self._sink.readable(pieces)
        if self._order is not None:
            self._order.readable(pieces)

    def _want_first(self, now: float) -> None:
        if self._window is None:
            return
        self._ordered = now
        status = self._torrent.status()
        front = self._window.front(
            self._arrived,
            missing=len(self._wanted) - len(self._arrived),
            rate=status.down_rate,
            leeches=status.peers - status.seeds,
            asked=self._torrent.asked_of_seeds(),
        )
        self._torrent.want_first(front)

    def _flush(self, now: float) -> None:
        complete = len(self._arrived) == len(self._wanted)
        if (
            self._finished
            and self._flushing is None
            and (complete or now - self._flush_asked >= _FLUSH_EVERY)
        ):
            self._flush_asked = now
            self._flushing, self._finished = self._finished, set()
            self._torrent.flush()

    def _refetch(self, pieces: Collection[int]) -> None:
        """The disk gave back other bytes than were written: have the engine check everything and fetch what is bad."""
        for piece in pieces:
            if piece in self._arrived:
                self._arrived.discard(piece)
                self._arrived_bytes -= self._lengths[piece]
        self._torrent.recheck()
        self._transfer.wait_for(Checked, "the torrent engine to check the files again", limit=None)
        self._take(piece for piece, have in enumerate(self._torrent.pieces()) if have)

    def _save_resume(self, now: float) -> None:
        if not self._resume_asked and now >= self._resume_due and len(self._arrived) < len(self._wanted):
            self._resume_asked = True
            self._torrent.save_resume()

    def _report(self, watch: Watch) -> None:
        if watch.phase is Phase.PROVING:
            done = self._sink.proven()
            self._transfer.look(watch, done=done, total=self._total)
            return
        status = self._torrent.status()
        # Progress is counted in payload, so that a single huge piece on its way is progress too.
        moved = max(status.done, self._arrived_bytes)
        missing = None
        if status.peers and not status.seeds and not watch.rate():
            missing = self._torrent.nobody_has(self._wanted - self._arrived)
        self._transfer.look(
            watch, done=moved, total=self._total, missing=missing, shown=min(moved, self._total)
        )
