"""A crowd that starts at once, in memory: one seeder, nodes that want the same, blocks that take one tick each.

Who may send one block a tick serves those who asked in turn. A node picks a piece as libtorrent does: of those that the
other has, the one with the least (copies among nodes + 1) x (8 - priority), at random among equals. It learns of a
copy when the piece is complete. There is no network but this, so a crowd's second copies show alone.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

BLOCKS = 4
"""Blocks of a piece, and those that a node asks another for ahead: one piece."""

_LOOK_EVERY = 8
_FIRST, _NORMAL = 8 - 7, 8 - 4

Front = Callable[[set[int], int], set[int]]
"""The pieces that are asked for first, from those that are here and how many others are no seeders."""


@dataclass(frozen=True)
class Outcome:
    """How it went.

    Attributes:
        of_bound: when the last node was complete, in terms of what the links allow.
        copies: what the seeder sent, in terms of the release.
        begun: when the median node had the first quarter in order, in the same terms.
    """

    of_bound: float
    copies: float
    begun: float


class Crowd:
    """One run.

    Args:
        nodes: how many start at once.
        pieces: of the release.
        front: how a node chooses what it asks for first.
        seed: of all chance.
    """

    def __init__(self, nodes: int, pieces: int, front: Front, seed: int) -> None:
        self._random = random.Random(seed)
        self._nodes = nodes
        self._pieces = pieces
        self._choose = front
        self._here = [set[int]() for _ in range(nodes)] + [set(range(pieces))]
        self._copies = [0] * pieces
        self._open = [dict.fromkeys(range(pieces), BLOCKS) for _ in range(nodes)]  # blocks not asked for
        self._left = [[BLOCKS] * pieces for _ in range(nodes)]  # blocks not here
        self._fronts = [set[int]() for _ in range(nodes)]
        self._asked = [[deque[int]() for _ in range(nodes)] for _ in range(nodes + 1)]
        self._turn = [0] * (nodes + 1)
        self._sent = 0

    def run(self) -> Outcome:
        """Until every node is complete."""
        ticks = 0
        begun = [0] * self._nodes
        quarter = set(range(self._pieces // 4))
        while not all(len(here) == self._pieces for here in self._here):
            for node in range(self._nodes):
                if ticks % _LOOK_EVERY == 0:
                    self._fronts[node] = self._choose(self._here[node], self._nodes - 1)
                if not begun[node] and quarter <= self._here[node]:
                    begun[node] = ticks
                for other in self._random.sample(range(self._nodes + 1), self._nodes + 1):
                    self._ask(node, other)
            self._serve()
            ticks += 1
        bound = self._pieces * BLOCKS
        median = sorted(tick or ticks for tick in begun)[self._nodes // 2]
        return Outcome(ticks / bound, self._sent / bound, median / bound)

    def _ask(self, node: int, other: int) -> None:
        asked = self._asked[other][node]
        while node != other and len(asked) <= BLOCKS // 2:
            piece = self._pick(node, other)
            if piece is None:
                return
            count = min(self._open[node][piece], BLOCKS - len(asked))
            asked.extend([piece] * count)
            self._open[node][piece] -= count
            if not self._open[node][piece]:
                del self._open[node][piece]

    def _pick(self, node: int, other: int) -> int | None:
        best, least = None, float("inf")
        theirs, front = self._here[other], self._fronts[node]
        for piece, free in self._open[node].items():
            if piece in theirs:
                weight = _FIRST if piece in front else _NORMAL
                rank = (self._copies[piece] + 1) * weight - (free < BLOCKS) / 2 + self._random.random() / 4
                if rank < least:
                    best, least = piece, rank
        return best

    def _serve(self) -> None:
        arrived = []
        for sender, queues in enumerate(self._asked):
            for step in range(self._nodes):
                node = (self._turn[sender] + step) % self._nodes
                if queues[node]:
                    arrived.append((node, queues[node].popleft()))
                    self._turn[sender] = node + 1
                    self._sent += sender == self._nodes
                    break
        for node, piece in arrived:
            self._left[node][piece] -= 1
            if not self._left[node][piece]:
                self._here[node].add(piece)
                self._copies[piece] += 1
