"""Pieces in the order a loader wants, and how many of them may be asked for before all others.

The engine picks rarest first: among the pieces that a peer has, it takes the one with the least (copies among peers
that are no seeds + 1) x (8 - priority), at random among equals. A piece in front (priority 7) counts as a quarter as
common as it is. So where one peer is asked, or a settled swarm, the front comes first; and a piece that is far rarer
than the front is fetched before it all the same.

The danger is a crowd that starts at once and wants the same order: every node asks the one seeder for the same pieces
before any of them can pass one on. With A pieces on their way from the seeder (about one a node) and W in front, each
picked at random, a node picks one that is on its way to another in about A of W cases, so the seeder sends
1 + A/W copies instead of about 1. A short window is the worst of all: four pieces in front of eight nodes make the
seeder send everything several times. Hence the front is `CROWD` times as long as there are nodes, which bounds the
second copies at 1/`CROWD` of the release, and where that would be more than a quarter of what is missing, only the
head of the order is put in front: it is short, and costs A second copies once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

SECONDS = 3.0
"""How far ahead of what arrives the front reaches: longer than requests are queued, and than the loop takes to look."""

LEAST = 4
"""Pieces; a front that is shorter would run empty between two looks."""

CROWD = 16
"""Pieces in front for each node of a crowd: the seeder sends at most about 1/16 of a release twice on its account."""

SHARE = 4
"""At most one in four of the missing pieces is in front; all others are picked rarest first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Pieces in the order they are wanted, each once.

    Attributes:
        head: those without which a loader cannot begin.
        body: those that follow.
    """

    head: tuple[int, ...]
    body: tuple[int, ...]


class Order(Protocol):
    """Who knows what is wanted first, and learns more of it from what can be read."""

    def wanted(self) -> Wanted:
        """The order as known now: the same object as long as nothing changed."""

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
        self._wanted: Wanted | None = None
        self._head: list[int] = []
        self._body: list[int] = []
        self._seen = 0

    def front(self, here: Collection[int], *, missing: int, rate: float, leeches: int) -> Collection[int]:
        """The pieces to ask for first.

        Args:
            here: pieces that arrived; a set.
            missing: how many of the wanted pieces did not.
            rate: bytes a second just now.
            leeches: connected peers that do not have everything themselves.
        """
        wanted = self._order.wanted()
        if wanted is not self._wanted or len(here) < self._seen:
            self._wanted = wanted
            self._head, self._body = list(wanted.head), list(wanted.body)
        self._seen = len(here)
        head, body = sizes(missing, rate / self._piece_length, leeches)
        front, self._head = _next(self._head, here, head)
        more, self._body = _next(self._body, here, body - len(front))
        return front + more


def sizes(missing: int, rate: float, leeches: int) -> tuple[int, int]:
    """How many pieces of the head, and of head and body together, may be in front.

    Args:
        missing: how many pieces are.
        rate: pieces a second.
        leeches: connected peers that do not have everything themselves.
    """
    most = max(LEAST, missing // SHARE)
    crowd = CROWD * (leeches + 1) if leeches else 0
    ahead = min(most, max(LEAST, crowd, round(rate * SECONDS)))
    return (most, ahead) if crowd <= most else (most, 0)


def _next(pieces: list[int], here: Collection[int], count: int) -> tuple[list[int], list[int]]:
    """The first missing ones, and the list to look at next time: without those that came, once they are many."""
    found: list[int] = []
    if count <= 0:
        return found, pieces
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
