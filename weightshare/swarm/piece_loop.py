"""The loop that brings pieces: they finish, are flushed, become readable, are handed on and proven.

Only what can be read from disk is handed on: libtorrent's `piece_finished` comes before that, so a flush is asked for
and awaited. Resume data is saved on the way, more seldom as it grows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from weightshare.errors import NoSpaceError
from weightshare.manifest.metainfo import Info
from weightshare.manifest.pieces import PieceMap
from weightshare.swarm.alerts import (
    CacheFlushed,
    Checked,
    Event,
    FileFailed,
    PieceFinished,
    ResumeFailed,
    ResumeSaved,
)
from weightshare.swarm.states import Machine, State
from weightshare.swarm.transport import Carrier
from weightshare.units import MIB

TICK = 0.1
_BUSY_TICK = 0.01
_FLUSH_EVERY = 0.25
_NO_ROOM = 10.0


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

    def wait_for(
        self, kind: type[Event], what: str, *, limit: float | None = ..., total: int | None = ...
    ) -> None:
        """Wait for one kind of event."""


class PieceLoop:
    """The main loop: pieces finish, are flushed, become readable, are proven."""

    def __init__(self, transfer: Steps, info: Info, positions: Collection[int], sink: Sink) -> None:
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
        self._failed = False  # a write, since what is here was last compared with what the engine has
        self._resume_due = 0.0
        self._resume_asked = False
        self._looked = 0.0

    def run(self) -> None:
        """Until every wanted piece is here and proven; see `fetching.Transfer.fetch` for what it raises."""
        here = self._torrent.pieces()
        self._take(piece for piece, have in enumerate(here) if have and piece in self._wanted)
        clock, machine = self._transfer.clock, self._transfer.machine
        self._resume_due = clock() + 1
        while True:
            for event in self._transfer.events(_BUSY_TICK if self._sink.busy() else TICK):
                try:
                    self._handle(event, clock())
                except NoSpaceError:
                    # What is kept for a restart is a hint. Without room for it a restart has more to look at, and the
                    # fetch itself goes on.
                    self._resume_asked, self._resume_due = False, clock() + _NO_ROOM
            self._give_up_lost()
            self._flush(clock())
            again = self._sink.refused()
            if again:
                self._refetch(again)
            complete = len(self._arrived) == len(self._wanted)
            if complete and not self._finished and self._flushing is None:
                if machine.working is State.DOWNLOADING:
                    machine.enter(State.PROVING, clock())
                if self._sink.settled():
                    return
            self._save_resume(clock())
            if clock() - self._looked >= TICK:
                self._looked = clock()
                self._report()

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
            self._give_up_lost()
            self._readable(self._flushing)
            self._flushing = None
        elif isinstance(event, FileFailed):
            self._failed = True
        elif isinstance(event, ResumeSaved):
            self._sink.resume_data(event.data)
            self._resume_asked = False
            # The hash trees of unfinished files make it 2 MB a GiB: write it more seldom as it grows.
            self._resume_due = now + max(2.0, len(event.data) / MIB)
        elif isinstance(event, ResumeFailed):
            self._resume_asked = False
            self._resume_due = now + 2

    def _readable(self, pieces: Collection[int]) -> None:
        """These pieces can be read from disk now: the one place where that is known."""
        self._sink.readable(pieces)

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
        self._drop(pieces)
        machine = self._transfer.machine
        if machine.working is State.PROVING:
            machine.enter(State.DOWNLOADING, self._transfer.clock())
        self._torrent.recheck()
        self._transfer.wait_for(Checked, "the torrent engine to check the files again", limit=None)
        self._take(piece for piece, have in enumerate(self._torrent.pieces()) if have)
        machine.anew(self._moved(), self._transfer.clock())

    def _drop(self, pieces: Collection[int]) -> None:
        for piece in pieces:
            if piece in self._arrived:
                self._arrived.discard(piece)
                self._arrived_bytes -= self._lengths[piece]

    def _save_resume(self, now: float) -> None:
        if not self._resume_asked and now >= self._resume_due and len(self._arrived) < len(self._wanted):
            self._resume_asked = True
            self._torrent.save_resume()

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
