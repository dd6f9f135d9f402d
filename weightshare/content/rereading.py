"""The pieces of earlier runs whose turn to be read again is still to come."""

from __future__ import annotations

from collections import Counter, deque

from weightshare.content.recall import Recalled
from weightshare.manifest.pieces import PieceMap


class Rereading:
    """Which pieces were recalled and are not proven in this run.

    Args:
        pieces: the torrent's pieces.
        recalled: what seems to be on the disk.
    """

    def __init__(self, pieces: PieceMap, recalled: Recalled) -> None:
        self._pieces = pieces
        # Those that cannot be offered before they are proven come first.
        self._queue = deque([*sorted(recalled.withheld), *sorted(recalled.here)])
        self._left = set(self._queue)
        self._withheld = set(recalled.withheld)
        self._withheld_of = Counter(pieces.span_of(piece).position for piece in recalled.withheld)

    def __contains__(self, piece: int) -> bool:
        """Whether the piece is still to be proven again."""
        return piece in self._left

    @property
    def waiting(self) -> bool:
        """Whether there are pieces whose turn has not come."""
        return bool(self._queue)

    @property
    def withheld(self) -> bool:
        """Whether there are pieces that must not be offered yet."""
        return bool(self._withheld)

    def withheld_of(self, position: int) -> bool:
        """Whether there are such pieces in the file at this place."""
        return self._withheld_of[position] > 0

    def next(self) -> int | None:
        """The piece whose turn it is, None if it was done with meanwhile."""
        piece = self._queue.popleft()
        return piece if piece in self._left else None

    def done(self, piece: int) -> bool:
        """The piece is proven or lost; whether it was one of these."""
        if piece not in self._left:
            return False
        self._left.discard(piece)
        if piece in self._withheld:
            self._withheld.discard(piece)
            self._withheld_of[self._pieces.span_of(piece).position] -= 1
        return True
