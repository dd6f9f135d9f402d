"""A fetch in a loader's order against a swarm in memory: what is asked for first, and when it is told as readable."""

from __future__ import annotations

from collections.abc import Collection

from tests.simulation.transport import INFO, PIECE, POSITION, WANTED, Proof, Swarm
from weightshare.swarm.fetching import Transfer
from weightshare.swarm.order import LEAST, SHARE
from weightshare.swarm.states import Machine, State


class Backwards:
    """Wants the last piece first, and notes what it is told."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._pieces = tuple(sorted(WANTED, reverse=True))
        self.told: list[int] = []

    def wanted(self) -> tuple[int, ...]:
        return self._pieces

    def readable(self, pieces: Collection[int]) -> None:
        assert not set(pieces) & set(self._swarm.cached), "told before it was on the disk"
        assert set(pieces) <= self._swarm.here, "told of what the disk did not take"
        self.told.extend(sorted(pieces))


def fetch(swarm: Swarm) -> Backwards:
    swarm.peers = swarm.seeds = 1
    swarm.pieces_a_second = 20
    order = Backwards(swarm)
    machine = Machine(60, swarm.now)
    for state in (State.GATING, State.PLANNING, State.REUSING):
        machine.enter(state, swarm.now)
    transfer = Transfer(swarm, swarm, machine, clock=swarm.clock, free=swarm.free)
    transfer.fetch(INFO, [POSITION], Proof(), order=order)
    return order


def test_what_is_wanted_first_comes_first() -> None:
    order = fetch(Swarm())
    assert sorted(order.told) == sorted(WANTED)
    missing = sorted(WANTED, reverse=True)
    for piece in order.told:
        # The engine takes those in front in any order; ten pieces come between two looks.
        assert missing.index(piece) < max(LEAST, len(WANTED) // SHARE) + 10
        missing.remove(piece)


def test_what_was_here_is_told_before_anything_comes() -> None:
    swarm = Swarm()
    before = set(sorted(WANTED)[10:20])
    swarm.here = set(before)
    assert set(fetch(swarm).told[:10]) == before


def test_what_a_full_disk_lost_is_told_once_and_only_when_it_is_there() -> None:
    swarm = Swarm()
    swarm.room = 10 * PIECE
    swarm.at(30, lambda: setattr(swarm, "room", 1 << 40))
    order = fetch(swarm)
    assert sorted(order.told) == sorted(WANTED)
