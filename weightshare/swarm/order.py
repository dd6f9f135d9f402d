"""Pieces in the order a loader wants, and how many of them may be asked for before all others.

The engine picks rarest first: among the pieces that a peer has, it takes the one with the least (copies among peers
that are no seeds + 1) x (8 - priority), at random among equals. A piece in front (priority 7) counts as a quarter as
common as it is. So where one peer is asked, or a settled swarm, the front comes first; and a piece that is far rarer
than the front is fetched before it all the same.

The danger is a crowd that starts at once and wants the same order: every node asks the one seeder for the same pieces
before any of them can pass one on. With A pieces on their way from the seeder to all nodes and W in front, each picked
at random, a node picks one that is on its way to another in at most about A of W cases: the seeder then sends A/W
copies more than with rarest first. A short front is the worst of all: four pieces in front of four nodes make it send
everything two and a half times. So W is `CROWD` times A, and the price about 1/`CROWD` of a copy. A is reckoned as what
we have asked of seeders ourselves, one piece at least, times the nodes: with short request queues a piece a node, with
long ones so much that nothing is left to be ordered. For order costs a wait: a piece in front comes about W pieces
after its turn, and where the front is as long as all that is missing, it is rarest first again.
`tests/simulation/test_crowd_order.py` shows all of this.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

SECONDS = 3.0
"""How far ahead of what arrives the front reaches. What was asked for already, a second of it, is in front until it
arrives; a shorter front would have nothing left to ask for, and all other requests would go to the rarest."""

LEAST = 16
"""Pieces; a shorter front runs empty between two looks."""

CROWD = 16
"""Pieces in front for each that is on its way from a seeder to a crowd: at most about 1/16 of a release comes twice."""

SHARE = 4
"""At most one in four of the missing pieces is in front, but for a crowd; all others are picked rarest first."""


class Order(Protocol):
    """Who knows what is wanted first, and learns more of it from what can be read."""

    def wanted(self) -> tuple[int, ...]:
        """Pieces in the order they are wanted, each once, as known now: the same object as long as nothing changed."""

    def readable(self, pieces: Collection[int]) -> None:
        """These pieces can be read from disk now."""


class Window:
    """Slides along an order: which missing pieces are to be asked for before all others.

    Args:
        order: what is wanted first.
        piece_length: bytes.
    """

    def __init__(self, order: Order, piece_length: int) -> None:
        self._order = order
        self._piece_length = piece_length
        self._wanted: tuple[int, ...] | None = None
        self._pieces: list[int] = []
        self._seen = 0

    def front(
        self, here: Collection[int], *, missing: int, rate: float, leeches: int, asked: int
    ) -> Collection[int]:
        """The pieces to ask for first.

        Args:
            here: pieces that arrived; a set.
            missing: how many of the wanted pieces did not.
            rate: bytes a second just now.
            leeches: connected peers that do not have everything themselves.
            asked: bytes on their way here from peers that have everything.
        """
        wanted = self._order.wanted()
        if wanted is not self._wanted or len(here) < self._seen:
            self._wanted = wanted
            self._pieces = list(wanted)
        self._seen = len(here)
        count = length(missing, rate / self._piece_length, leeches, asked / self._piece_length)
        front, self._pieces = _next(self._pieces, here, count)
        return front


def length(missing: int, rate: float, leeches: int, asked: float) -> int:
    """How many pieces may be in front.

    Args:
        missing: how many pieces are.
        rate: pieces a second.
        leeches: connected peers that do not have everything themselves.
        asked: pieces' worth of bytes on their way here from peers that have everything.
    """
    most = max(LEAST, missing // SHARE)
    crowd = round(CROWD * (leeches + 1) * max(1.0, asked)) if leeches else 0
    # While no rate is known nobody knows how much is asked for at once; a front that is too long costs order alone.
    ahead = min(most, max(LEAST, round(rate * SECONDS))) if rate else most
    return max(crowd, ahead)


def _next(pieces: list[int], here: Collection[int], count: int) -> tuple[list[int], list[int]]:
    """The first missing ones, and the list to look at next time: without those that came, once they are many."""
    found: list[int] = []
    looked = 0
    for piece in pieces:
        if len(found) == count:
            break
        looked += 1
        if piece not in here:
            found.append(piece)
    if looked > 2 * len(found) + 100:
        pieces = found + pieces[looked:]
    return found, pieces
