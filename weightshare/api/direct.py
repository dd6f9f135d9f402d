"""Files from servers alone: straight to where they are staged, each piece proven from the disk, and no engine between.

The engine takes each byte through four copies and two hashes, for peers that there are none of here. What readers get
from a server is written by themselves where it belongs, and worker processes hash it there by the piece. A piece that
is not the signed one is fetched anew, and not from who gave it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from weightshare.api.ordering import Ordering
from weightshare.api.supplying import Pool, disk_refused, into_files
from weightshare.content.digests import tree_length
from weightshare.content.landing import Landing
from weightshare.content.prover import Prover
from weightshare.errors import NetworkError
from weightshare.manifest.merkle import HASH_SIZE
from weightshare.manifest.metainfo import Info
from weightshare.manifest.pieces import PieceMap, Span
from weightshare.progress import Observer, Progress
from weightshare.swarm.reasons import Observation
from weightshare.swarm.session import Session
from weightshare.swarm.states import PHASES, Machine, State
from weightshare.swarm.supply import Chooser
from weightshare.units import MIB

_TICK = 0.02
_LOOK_EVERY = 0.1
_REPORT_EVERY = 0.2
_UNPROVEN = 256 * MIB  # bytes on the disk and not hashed yet: while they are still in memory


class Direct:
    """Brings files from servers to where they are staged.

    Args:
        session: knows the cap, which may change meanwhile; no peer is asked.
        info: the torrent.
        layers: piece layers by pieces root; of every file that is longer than a piece.
        pool: the servers.
        landing: takes and proves the pieces.
        staging: the folder that holds the torrent's files.
        machine: the fetch's state.
        observe: told how it goes.

    Attributes:
        taken: bytes taken, by source, each counted as often as it came.
    """

    def __init__(
        self,
        session: Session,
        info: Info,
        layers: Mapping[bytes, bytes],
        pool: Pool,
        landing: Landing,
        staging: Path,
        machine: Machine,
        observe: Observer,
    ) -> None:
        self._session = session
        self._places = PieceMap(info)
        self._layers = layers
        self._pool = pool
        self._landing = landing
        self._staging = staging
        self._machine = machine
        self._observe = observe
        self._total = 0
        self._done = 0
        self._here: set[int] = set()
        self._claimed: set[int] = set()
        self._by: dict[int, str] = {}  # pieces at the prover, and who gave them
        self._made: set[int] = set()  # files that have their length
        self._unproven = 0
        self._looked = self._reported = float("-inf")
        self.taken: Counter[str] = Counter()
        pool.receive = into_files(staging)

    def bring(
        self, spans: Iterable[Span], phases: Iterable[Collection[int] | None], order: Ordering | None
    ) -> None:
        """Bring files, and have every piece of them proven.

        Args:
            spans: the files.
            phases: the pieces of them that are wanted, more each time; None for all.
            order: what is wanted first, and who is told of what is here.

        Raises:
            NetworkError: no server is left, or nothing came for too long; resumable.
            NoSpaceError, DiskError: the disk refused; resumable.
        """
        self._machine.enter(State.DOWNLOADING, time.monotonic())
        every = [piece for span in spans for piece in span.pieces]
        recalled = self._landing.recalled
        self._here = {*recalled.here, *recalled.withheld}
        with Prover(self._places.piece_length) as prover:
            wanted: list[int] = []
            for only in phases:
                wanted = [piece for piece in every if only is None or piece in only]
                self._total = sum(self._places.byte_range(piece)[2] for piece in wanted)
                self._until_here(wanted, prover, order)
            while not self._settles():
                self._machine.enter(State.DOWNLOADING, time.monotonic())
                self._until_here(wanted, prover, order)

    def _settles(self) -> bool:
        """Wait until all that is here is written out; False if some of it turned out to be something else."""
        self._machine.enter(State.PROVING, time.monotonic())
        while not self._landing.settled():
            again = self._landing.refused()
            self._again(again)
            if again:
                return False
            self._session.events(_TICK)
        return True

    def _until_here(self, wanted: list[int], prover: Prover, order: Ordering | None) -> None:
        chooser = Chooser(self._places, wanted)
        missing = set(wanted)
        while not missing <= self._here or self._landing.busy():
            self._pool.check()
            self._write_down(prover)
            self._take_in(prover, order)
            self._again(self._landing.refused())
            if self._unproven < _UNPROVEN:
                self._ask(chooser, order)
            self._look(wanted)
            # The cap may change meanwhile. It is also the wait, short while there is something to hash.
            self._session.events(0.001 if self._by else _TICK)

    def _write_down(self, prover: Prover) -> None:
        """Have what was written hashed."""
        for one in self._pool.drain(_UNPROVEN):
            span, offset, length = self._places.byte_range(one.piece)
            self.taken[one.source] += length
            self._by[one.piece] = one.source
            self._unproven += length
            tree = tree_length(span.file.size, self._places.piece_length)
            prover.submit(one.piece, self._staging / span.file.path, offset, length, tree_length=tree)
        for run in self._pool.ended():
            self._claimed.difference_update(run.pieces)

    def _take_in(self, prover: Prover, order: Ordering | None) -> None:
        """Take in what was hashed."""
        for piece, outcome in prover.drain():
            span, _, length = self._places.byte_range(piece)
            self._unproven -= length
            source = self._by.pop(piece)
            self._claimed.discard(piece)
            if isinstance(outcome, OSError) or outcome != self._signed(span, piece):
                self._pool.blame(source, span.file.path)
                continue
            self._here.add(piece)
            self._done += length
            if order is not None:
                order.readable((piece,))
            self._landing.brought(piece, outcome)

    def _signed(self, span: Span, piece: int) -> bytes:
        root = span.file.pieces_root or b""
        if span.count == 1:
            return root
        at = (piece - span.first) * HASH_SIZE
        return self._layers[root][at : at + HASH_SIZE]

    def _again(self, pieces: Collection[int]) -> None:
        """Pieces that were here are not what they must be, or not there."""
        self._here.difference_update(pieces)

    def _ask(self, chooser: Chooser, order: Ordering | None) -> None:
        self._pool.pace(self._session.max_down)
        first = order.wanted() if order is not None else None
        for _ in range(self._pool.free()):
            run = chooser.next(self._here, self._claimed | self._by.keys(), order=first)
            if run is None:
                return
            self._claimed.update(run.pieces)
            self._make(self._places.span_of(run.first))
            self._pool.ask(run)

    def _make(self, span: Span) -> None:
        """Give a file its length, as the engine does: what is missing is a hole, and whoever reads may rely on it."""
        if span.position in self._made:
            return
        self._made.add(span.position)
        path = self._staging / span.file.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                if file.tell() < span.file.size:
                    file.truncate(span.file.size)
        except OSError as error:
            raise disk_refused(path, error) from error

    def _look(self, wanted: list[int]) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        words = self._pool.words()
        if self._pool.dead() and not self._by and not self._here.issuperset(wanted):
            raise NetworkError(
                f"No server is left to fetch from: {words}.",
                hint="What arrived is kept: the same command resumes. With --sources swarm,hub peers are asked too.",
            )
        self._machine.see(
            Observation(
                now,
                self._pool.read,
                self._total,
                cap=self._session.max_down,
                servers=words,
                told_to_wait=self._pool.waits(),
            )
        )
        if now - self._reported >= _REPORT_EVERY:
            self._reported = now
            done = sum(self._places.byte_range(piece)[2] for piece in self._here.intersection(wanted))
            note = self._machine.note.removeprefix("no peers; ")
            self._observe(
                Progress(PHASES[self._machine.working], done, self._total, self._machine.rate(), None, note)
            )


def can(spans: Iterable[Span], layers: Mapping[bytes, bytes]) -> bool:
    """Whether every piece of these files can be proven alone."""
    return all(span.count < 2 or (span.file.pieces_root or b"") in layers for span in spans)
