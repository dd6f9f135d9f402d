"""Which pieces come from a server beside the swarm (the Hub, a mirror), and when. Pure: the clock is passed in.

The swarm goes first, for `HEAD_START` seconds: peers must be found and dialled, and a release that has seeders should
cost its servers nothing. After that:

- a swarm that brings `ENOUGH` bytes a second, or all that the user's cap allows, leaves the servers alone, but for
  pieces that no connected peer has;
- any other gets help: pieces that nobody has, then those that no peer is being asked for, and once there are no others
  also those that are being asked for, where a slow peer would hold up the end.

What servers are asked for are runs: pieces that follow one another in one file, so that a request is large. They are
taken from the end of the release, and peers are asked for them last, so that the two meet. Where an order is wanted,
they are the first of it that nobody is being asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from weightshare.manifest.pieces import PieceMap
from weightshare.units import MIB

HEAD_START = 3.0
"""Seconds that the swarm has alone."""

ENOUGH = 10_000_000
"""Bytes a second from peers that leave the servers alone."""

RUN = 32 * MIB
"""Bytes asked for at once; one piece where that is longer."""

_CAPPED = 0.8  # of the cap: a swarm that brings so much of it is held back by nothing else
_SHARE = (0.1, 0.9)  # of the cap, the least and the most that peers keep while a server helps
_GROWTH = 1.25  # what peers may bring next, of what they bring now


class Help(Enum):
    """What servers are asked for."""

    NOTHING = "nothing"
    MISSING = "missing"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Run:
    """Pieces that follow one another in a file.

    Attributes:
        path: the file in the release.
        first: index of the first piece in the torrent.
        offset: of its first byte in the file.
        length: bytes in all.
        piece_length: bytes of each piece; the last one may be shorter.
    """

    path: str
    first: int
    offset: int
    length: int
    piece_length: int

    @property
    def pieces(self) -> range:
        """Their indices."""
        return range(self.first, self.first - (-self.length // self.piece_length))


@dataclass(frozen=True, slots=True)
class Brought:
    """A whole piece, as a source gave it; nothing of it is proven."""

    piece: int
    data: bytearray
    source: str


class Supply(Protocol):
    """Servers that are asked for runs. Nothing here waits for them."""

    def free(self) -> int:
        """How many more runs may be asked for just now; 0 while all servers want us to wait."""

    def ask(self, run: Run) -> None:
        """Have a run fetched by whoever is free."""

    def drain(self, room: int) -> Sequence[Brought]:
        """Pieces that came, of about so many bytes at the most."""

    def ended(self) -> Sequence[Run]:
        """Runs that nobody works on any more, whether or not all of their pieces came."""

    def blame(self, source: str, path: str) -> None:
        """Ask a source no more: it gave other bytes than the signed ones, of that file."""

    def pace(self, rate: int) -> None:
        """Take in no more than so many bytes a second; 0 for no limit."""

    def dead(self) -> bool:
        """Whether there is no server left to ask."""

    def words(self) -> str:
        """How it stands, as a phrase for the user: what it waits for, or what went wrong; may be empty."""

    def waits(self) -> bool:
        """Whether all servers asked us to wait."""


def help_for(*, waited: float, alone: bool, rate: float, cap: int) -> Help:
    """What servers are asked for.

    Args:
        waited: seconds since the swarm was first asked.
        alone: whether there is no swarm to wait for.
        rate: bytes a second that peers bring.
        cap: of the user, bytes a second, 0 for none.
    """
    if alone:
        return Help.ALL
    if waited < HEAD_START:
        return Help.NOTHING
    enough = min(ENOUGH, _CAPPED * cap) if cap else ENOUGH
    return Help.MISSING if rate >= enough else Help.ALL


def share_of(cap: int, rate: float) -> int:
    """What servers may take of a cap, while peers bring so many bytes a second; 0 only where there is no cap."""
    least, most = _SHARE
    peers = min(max(_GROWTH * rate, least * cap), most * cap)
    return max(1, int(cap - peers)) if cap else 0


class Chooser:
    """Picks runs out of what is missing.

    Args:
        places: of the torrent.
        wanted: the pieces that are wanted.
        provable: whether the engine can check a piece by itself; without its hashes it could not.
    """

    def __init__(
        self, places: PieceMap, wanted: Iterable[int], provable: Callable[[int], bool] = lambda _: True
    ) -> None:
        self._places = places
        self._wanted = frozenset(piece for piece in wanted if provable(piece))
        self._left: list[int] = []
        self._seen = -1
        self._order: tuple[int, ...] = ()
        self._passed = 0

    def next(
        self,
        here: Collection[int],
        taken: Collection[int],
        *,
        first: Collection[int] | None = None,
        order: tuple[int, ...] | None = None,
    ) -> Run | None:
        """The next run; None if nothing is left.

        Args:
            here: pieces that arrived; a set.
            taken: those that somebody is being asked for; a set.
            first: pieces of which any come before others, and alone; a set. None for all.
            order: what is wanted first, where an order is wanted; the same object as long as nothing changed.
        """
        if len(here) < self._seen or self._seen < 0:
            self._left = sorted(self._wanted)
            self._passed = 0
        self._seen = len(here)

        def free(piece: int) -> bool:
            return (
                piece in self._wanted
                and piece not in here
                and piece not in taken
                and (first is None or piece in first)
            )

        if order is not None and first is None:
            begin = self._in_order(order, here, free)
            if begin is not None:
                return self._run(begin, free, 1)
        while self._left and self._left[-1] in here:
            self._left.pop()
        last = next((piece for piece in reversed(self._left) if free(piece)), None)
        return None if last is None else self._run(last, free, -1)

    def _in_order(
        self, order: tuple[int, ...], here: Collection[int], free: Callable[[int], bool]
    ) -> int | None:
        if order is not self._order:
            self._order, self._passed = order, 0
        while self._passed < len(order) and order[self._passed] in here:
            self._passed += 1
        return next((piece for piece in order[self._passed :] if free(piece)), None)

    def _run(self, piece: int, free: Callable[[int], bool], step: int) -> Run:
        """The run that begins or ends with a piece, within its file."""
        span = self._places.span_of(piece)
        first = last = piece
        length = self._places.byte_range(piece)[2]
        while True:
            following = last + step
            if following not in span.pieces or not free(following):
                break
            more = self._places.byte_range(following)[2]
            if length + more > RUN:
                break
            last, length = following, length + more
        first = min(first, last)
        return Run(
            span.file.path, first, self._places.byte_range(first)[1], length, self._places.piece_length
        )
