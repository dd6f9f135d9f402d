"""The loop that brings pieces: they finish, are flushed, become readable, are handed on and proven.

Only what can be read from disk is handed on: libtorrent's `piece_finished` comes before that, so a flush is asked for
and awaited. On the way the sink is told now and then of what is not whole, should the process be killed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from weightshare.manifest.metainfo import Info
from weightshare.manifest.pieces import PieceMap
from weightshare.swarm.events import (
    CacheFlushed,
    Contradicted,
    Event,
    FileFailed,
    PieceFinished,
    PieceRefused,
    ReachedOurselves,
)
from weightshare.swarm.feeding import Feeder
from weightshare.swarm.order import Order, Window
from weightshare.swarm.states import Machine, State
from weightshare.swarm.transport import Carrier

TICK = 0.1
_BUSY_TICK = 0.01
_FLUSH_EVERY = 0.25
_KEEP_EVERY = 2.0
_ORDER_EVERY = 0.5
_LONELY = 2.0  # seconds without a peer


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

    def on_disk(self, piece: int) -> bool:
        """Whether there are bytes in the place of a piece at all."""

    def doubted(self) -> bool:
        """Whether pieces of an earlier run are still to be proven before they may be offered to others."""

    def proven(self) -> int:
        """Bytes proven so far."""

    def underway(self, finished: Collection[int], begun: Mapping[int, Sequence[bool]]) -> None:
        """Keep for the next run which pieces are here and not proven, and the blocks of those that are not whole."""


class Steps(Protocol):
    """What the loop needs of the transfer it belongs to."""

    torrent: Carrier
    machine: Machine
    clock: Callable[[], float]

    def events(self, timeout: float = ...) -> list[Event]:
        """What happened; failures are raised."""

    def look(
        self,
        *,
        done: int,
        total: int | None,
        shown: int | None = ...,
        wanted: Collection[int] = ...,
        here: Collection[int] = ...,
    ) -> None:
        """Let the machine see how it goes."""

    def again(self, pieces: Collection[int], sink: Sink) -> None:
        """Have the engine check these pieces anew."""

    def offer_all(self) -> None:
        """Offer to others what was withheld."""

    def forgive(self) -> None:
        """Have the engine forget whom it has banned."""


class PieceLoop:
    """The main loop: pieces finish, are flushed, become readable, are proven.

    Args:
        transfer: what it belongs to.
        info: of the torrent.
        positions: the files that are wanted, by their place in the file tree.
        sink: takes the pieces and proves them.
        order: what is wanted first.
        pieces: of those files, the pieces that are wanted; None for all.
        feeder: brings pieces from servers beside the swarm.
    """

    def __init__(
        self,
        transfer: Steps,
        info: Info,
        positions: Collection[int],
        sink: Sink,
        order: Order | None = None,
        pieces: Collection[int] | None = None,
        feeder: Feeder | None = None,
    ) -> None:
        self._transfer = transfer
        self._torrent = transfer.torrent
        self._sink = sink
        self._positions = set(positions)
        places = PieceMap(info)
        spans = [span for span in places.spans if span.position in self._positions]
        only = None if pieces is None else frozenset(pieces)
        self._wanted = {piece for span in spans for piece in span.pieces if only is None or piece in only}
        self._lengths = {piece: places.byte_range(piece)[2] for piece in self._wanted}
        self._total = sum(self._lengths.values())
        self._finished: set[int] = set()  # here, not known to be readable
        self._flushing: set[int] | None = None  # finished when the flush under way was asked for
        self._arrived: set[int] = set()
        self._arrived_bytes = 0
        self._flush_asked = 0.0
        self._failed = False  # a write, since what is here was last compared with what the engine has
        self._keep_due = 0.0
        self._looked = 0.0
        self._blamed = False  # somebody was, and banned, since the engine last took the torrent up
        self._company = 0.0  # when a peer was last seen
        self._order = order
        self._window = Window(order, info.piece_length) if order is not None else None
        self._ordered = 0.0
        self._feeder = feeder
        if feeder is not None:
            feeder.want(self._wanted)

    def begin(self) -> None:
        """Take in what is here, and say what is wanted first; before anybody is dialled."""
        here = self._torrent.pieces()
        self._take(piece for piece, have in enumerate(here) if have and piece in self._wanted)
        self._want_first(self._transfer.clock())

    def blame(self) -> None:
        """Somebody was banned already; see `_banned_all`."""
        self._blamed, self._company = True, self._transfer.clock()

    def run(self) -> None:
        """Until every wanted piece is here and proven; see `fetching.Transfer.fetch` for what it raises."""
        clock, machine = self._transfer.clock, self._transfer.machine
        while True:
            busy = self._sink.busy() or (self._feeder is not None and self._feeder.busy)
            for event in self._transfer.events(_BUSY_TICK if busy else TICK):
                self._handle(event)
            if self._feeder is not None:
                self._feeder.turn(self._torrent, clock(), self._arrived, self._order)
            self._give_up_lost()
            self._flush(clock())
            again = self._sink.refused()
            if again:
                if machine.working is State.PROVING:
                    machine.enter(State.DOWNLOADING, clock())
                self._take_up_anew(partial(self._refetch, again))
                machine.anew(self._moved(), clock())
            complete = len(self._arrived) == len(self._wanted)
            if complete and not self._finished and self._flushing is None:
                if machine.working is State.DOWNLOADING:
                    machine.enter(State.PROVING, clock())
                if self._sink.settled():
                    return
            if self._torrent.kept.withheld and not self._sink.doubted() and not complete:
                self._take_up_anew(self._transfer.offer_all)
            if not complete and self._banned_all(clock()):
                self._take_up_anew(self._transfer.forgive)
            if clock() - self._ordered >= _ORDER_EVERY:
                self._want_first(clock())
            self._keep(clock())
            if clock() - self._looked >= TICK:
                self._looked = clock()
                self._report()

    def _take(self, pieces: Iterable[int]) -> None:
        for piece in pieces:
            if piece in self._wanted and piece not in self._arrived:
                self._arrived.add(piece)
                self._arrived_bytes += self._lengths[piece]
                self._finished.add(piece)

    def _handle(self, event: Event) -> None:
        if self._feeder is not None and isinstance(event, PieceFinished):
            self._feeder.finished(event.piece)
        elif self._feeder is not None and isinstance(event, PieceRefused):
            self._feeder.refused(event.piece)
        if isinstance(event, PieceFinished):
            self._take((event.piece,))
        elif isinstance(event, CacheFlushed) and self._flushing is not None:
            self._give_up_lost()
            self._readable(self._flushing)
            self._flushing = None
        elif isinstance(event, Contradicted):
            self._take_up_anew(lambda: None)  # the transfer has done so
        elif isinstance(event, FileFailed):
            self._failed = True
        elif isinstance(event, PieceRefused | ReachedOurselves) and not self._blamed:
            self.blame()

    def _readable(self, pieces: Collection[int]) -> None:
        """These pieces can be read from disk now: the one place where that is known."""
        self._sink.readable(pieces)
        if self._order is not None:
            self._order.readable(pieces)

    def _give_up_lost(self) -> None:
        """After a failed write: pieces that were here and are not, since the disk did not take them, come again."""
        if not self._failed:
            return
        self._failed = False
        here = self._torrent.pieces()
        flushing = self._flushing or set()
        lost = {piece for piece in self._finished | flushing if not here[piece]}
        self._drop(lost)
        self._finished -= lost
        flushing -= lost

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
        served = self._feeder.claimed if self._feeder is not None else ()
        self._torrent.want_first([piece for piece in front if piece not in served])

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
        """The disk gave back other bytes than were written: have the engine check the pieces and fetch what is bad."""
        self._drop(pieces)
        self._finished.difference_update(pieces)
        self._transfer.again(pieces, self._sink)

    def _drop(self, pieces: Collection[int]) -> None:
        for piece in pieces:
            if piece in self._arrived:
                self._arrived.discard(piece)
                self._arrived_bytes -= self._lengths[piece]

    def _banned_all(self, now: float) -> bool:
        """Whether nobody is left after pieces turned out wrong, or after we dialled ourselves.

        The engine bans whoever sent part of a wrong piece, for good: an honest peer too, when a liar sent the other
        part or when another program changed the file. Those who lie are found out again; the honest one may be the
        only one. Of its own address, heard of on the LAN, it bans the host, and with it a seeder on this very machine,
        until it has been told that several may share one.
        """
        if self._blamed and self._torrent.crowd().peers:
            self._company = now
        return self._blamed and now - self._company >= _LONELY

    def _take_up_anew(self, how: Callable[[], None]) -> None:
        """The engine forgets the torrent and is told of it again; what it had not yet said is asked for."""
        self._blamed = False
        self._finished |= self._flushing or set()
        self._flushing = None
        how()
        if self._feeder is not None:
            self._feeder.anew()
        self._take(piece for piece, have in enumerate(self._torrent.pieces()) if have)

    def _keep(self, now: float) -> None:
        if now >= self._keep_due and len(self._arrived) < len(self._wanted):
            self._sink.underway(self._finished | (self._flushing or set()), self._torrent.begun())
            # To list all blocks that are under way takes its time.
            self._keep_due = now + max(_KEEP_EVERY, 50 * (self._transfer.clock() - now))

    def _report(self) -> None:
        if self._transfer.machine.working is State.PROVING:
            self._transfer.look(done=self._sink.proven(), total=self._total)
            return
        moved = self._moved()
        self._transfer.look(
            done=moved,
            total=self._total,
            shown=min(moved, self._total),
            wanted=self._wanted,
            here=self._arrived,
        )

    def _moved(self) -> int:
        """Bytes here. Progress is counted in payload, so that a single huge piece on its way is progress too."""
        return max(self._torrent.status().done, self._arrived_bytes)
