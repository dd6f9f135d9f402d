"""What it costs a crowd when all its nodes want the same pieces first, against what `swarm.order` predicts."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

import pytest

from tests.simulation.crowd import Crowd, Front, Outcome
from weightshare.swarm.order import CROWD, Window

NODES = 4
PIECES = 400
SEEDS = (1, 2)


def rarest(here: set[int], others: int) -> set[int]:
    """Nothing comes first."""
    return set()


def fixed(count: int) -> Front:
    """The next so many pieces come first."""

    def front(here: set[int], others: int) -> set[int]:
        found: set[int] = set()
        for piece in range(PIECES):
            if len(found) == count:
                break
            if piece not in here:
                found.add(piece)
        return found

    return front


class Fixed:
    """The order of the pieces themselves."""

    def wanted(self) -> tuple[int, ...]:
        return WANTED

    def readable(self, pieces: Collection[int]) -> None:
        """Nothing is learnt."""


WANTED = tuple(range(PIECES))


def ours(here: set[int], others: int) -> set[int]:
    """As a fetch does it, at a rate that would not lengthen the front."""
    return set(Window(Fixed(), 1).front(here, missing=PIECES - len(here), rate=0.1, leeches=others, asked=1))


@cache
def crowd(kind: str, nodes: int = NODES) -> Outcome:
    front = ours if kind == "ours" else rarest if kind == "rarest" else fixed(int(kind))
    runs = [Crowd(nodes, PIECES, front, seed).run() for seed in SEEDS]
    count = len(runs)
    return Outcome(
        sum(run.of_bound for run in runs) / count,
        sum(run.copies for run in runs) / count,
        sum(run.begun for run in runs) / count,
    )


@pytest.mark.parametrize("front", [4, 8, 16, 32, 64])
def test_second_copies_follow_the_length_of_the_front(front: int) -> None:
    """As predicted: at most A/W more than rarest first, where A, on their way from the seeder, is 1 to 2 for a node."""
    more = crowd(str(front)).copies - crowd("rarest").copies
    assert more <= 2 * NODES / front
    if front <= 2 * NODES:
        assert more >= NODES / front


def test_a_short_front_makes_the_seeder_send_everything_several_times() -> None:
    assert crowd("4").copies > 2
    assert crowd("4").of_bound > 2


@pytest.mark.parametrize("nodes", [NODES, 8])
def test_ours_costs_the_crowd_little(nodes: int) -> None:
    ordered, plain = crowd("ours", nodes), crowd("rarest", nodes)
    assert ordered.copies <= plain.copies + 1 / CROWD
    assert ordered.of_bound <= plain.of_bound + 1 / CROWD


def test_ours_brings_the_beginning_first() -> None:
    assert crowd("ours").begun < 0.8 * crowd("rarest").begun
