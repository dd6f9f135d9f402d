"""A swarm in memory and servers beside it: who is asked when, what counts for whom, and what is said."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.simulation.transport import FILE, INFO, PIECE, PIECES, POSITION, Proof, Swarm
from weightshare.errors import NetworkError, NoPeersError
from weightshare.swarm.events import PieceRefused
from weightshare.swarm.feeding import Servers
from weightshare.swarm.fetching import Transfer
from weightshare.swarm.states import Machine, State
from weightshare.swarm.supply import ENOUGH, HEAD_START, Brought, Run
from weightshare.swarm.transport import TorrentStatus


class Shelf:
    """Servers that give what they are asked for at the next look.

    Attributes:
        asked: the runs that were asked for, and when.
        blamed: the sources that gave wrong bytes.
        rate: the pace that was last set.
    """

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self.asked: list[tuple[float, Run]] = []
        self.blamed: list[str] = []
        self.rate = 0
        self.gone = ""
        self.waiting = False
        self._fresh: list[Run] = []
        self._over: list[Run] = []

    def free(self) -> int:
        return 0 if self.gone or self.waiting else 2 - len(self._fresh)

    def ask(self, run: Run) -> None:
        self.asked.append((self._swarm.now, run))
        self._fresh.append(run)

    def drain(self, room: int) -> Sequence[Brought]:
        runs, self._fresh = self._fresh, []
        self._over += runs
        return [Brought(piece, bytearray(PIECE), "hub") for run in runs for piece in run.pieces]

    def ended(self) -> Sequence[Run]:
        over, self._over = self._over, []
        return over

    def blame(self, source: str, path: str) -> None:
        assert path == FILE
        self.blamed.append(source)
        self.gone = "the Hub gave other bytes"

    def pace(self, rate: int) -> None:
        self.rate = rate

    def dead(self) -> bool:
        return bool(self.gone)

    def words(self) -> str:
        return self.gone or ("the Hub asks us to wait 9 s" if self.waiting else "fetching from the Hub")

    def waits(self) -> bool:
        return self.waiting


class Paced(Swarm):
    """A swarm that says how fast it is."""

    def status(self) -> TorrentStatus:
        seen = super().status()
        return TorrentStatus(seen.done, seen.wanted, 0, 0, self.rate, 0.0, self.peers, self.seeds)

    rate = 0.0


def run(swarm: Swarm, shelf: Shelf, *, alone: bool = False, timeout: float = 30.0) -> Transfer:
    machine = Machine(timeout, swarm.now)
    for state in (State.GATING, State.PLANNING, State.REUSING):
        machine.enter(state, swarm.now)
    transfer = Transfer(swarm, swarm, machine, clock=swarm.clock, free=swarm.free)
    transfer.fetch(INFO, {POSITION}, Proof(), servers=Servers(shelf, alone))
    return transfer


def test_nobody_is_there() -> None:
    swarm = Paced()
    shelf = Shelf(swarm)
    transfer = run(swarm, shelf)
    assert transfer.brought() == {"hub": PIECE * PIECES}
    assert transfer.received() == 0
    assert shelf.asked[0][0] >= HEAD_START


def test_alone_there_is_nothing_to_wait_for() -> None:
    swarm = Paced()
    shelf = Shelf(swarm)
    run(swarm, shelf, alone=True)
    assert shelf.asked[0][0] < 0.5


def test_a_fast_swarm_is_left_alone_but_for_what_nobody_has() -> None:
    swarm = Paced()
    swarm.peers, swarm.pieces_a_second, swarm.rate = 1, 10.0, float(ENOUGH)
    lacking = {sorted(swarm.with_peers)[7]}
    swarm.with_peers -= lacking
    shelf = Shelf(swarm)
    transfer = run(swarm, shelf)
    assert [run.pieces for _, run in shelf.asked] == [range(piece, piece + 1) for piece in lacking]
    assert transfer.brought() == {"hub": PIECE}
    assert transfer.received() == PIECE * (PIECES - 1)


def test_a_slow_swarm_is_helped_within_the_cap() -> None:
    swarm = Paced()
    swarm.peers, swarm.pieces_a_second, swarm.rate, swarm.max_down = 1, 2.0, 200.0, 1000
    shelf = Shelf(swarm)
    transfer = run(swarm, shelf)
    assert transfer.received() + transfer.brought()["hub"] == PIECE * PIECES
    assert transfer.received() >= PIECE * int(2 * HEAD_START) - PIECE
    assert shelf.rate == 750


def test_wrong_bytes_name_who_gave_them() -> None:
    class Refusing(Paced):
        def add_piece(self, piece: int, data: bytearray) -> None:
            self.say(PieceRefused("", piece))

    swarm = Refusing()
    shelf = Shelf(swarm)
    with pytest.raises(NoPeersError) as caught:
        run(swarm, shelf)
    assert set(shelf.blamed) == {"hub"}
    assert "the Hub gave other bytes" in caught.value.message
    swarm = Refusing()
    with pytest.raises(NetworkError, match="No server is left to fetch from: the Hub gave other bytes"):
        run(swarm, Shelf(swarm), alone=True)


def test_a_peers_block_counts_once_and_blames_nobody() -> None:
    """Half of each piece was a peer's: ours in its place is left out, and a wrong piece is nobody's in particular."""

    class Half(Paced):
        refused = 0

        def begun(self) -> dict[int, list[bool]]:
            return {piece: [True] for piece in self.only} if not self.refused else {}

        def add_piece(self, piece: int, data: bytearray) -> None:
            if not self.refused:
                self.refused += 1
                self.say(PieceRefused("", piece))
            else:
                super().add_piece(piece, data)

    swarm = Half()
    shelf = Shelf(swarm)
    run(swarm, shelf)
    assert shelf.blamed == []


def test_all_are_told_to_wait() -> None:
    swarm = Paced()
    shelf = Shelf(swarm)
    shelf.waiting = True
    with pytest.raises(NoPeersError) as caught:
        run(swarm, shelf, timeout=10)
    assert caught.value.facts["reason"] == "servers_wait"
    assert "the Hub asks us to wait 9 s" in caught.value.message
