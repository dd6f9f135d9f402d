"""Who waits for some bytes of a file is told when they can be read, and again when they are proven.

*Readable* is the engine's word: all pieces that hold the range passed its hash, and were written out, so that whoever
reads the file now reads those bytes. It is a hint of when to look, and no proof: the engine's hashes are its own, a
disk can give back other bytes, and another program can write there.

*Proven* is ours: each of these pieces was read back from the disk and its hash is in a piece layer whose root is the
signed one. Where the layer is known beforehand, from a `.torrent` or from peers, that holds for a piece alone. Where it
is not, the layer is made of the very hashes that were read back, so nothing of a file is proven before all of it is. A
file of one piece needs no layer. What is proven was so when it was read back: whoever loads the bytes later hashes what
he loads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum
from itertools import chain

from weightshare.manifest.merkle import HASH_SIZE
from weightshare.manifest.pieces import PieceMap, Span
from weightshare.manifest.ranges import ByteRange, RangeMap


class Standing(StrEnum):
    """What is known of a range."""

    READABLE = "readable"
    PROVEN = "proven"


Tell = Callable[[ByteRange, Standing], None]
"""Called once for each range and standing, READABLE before PROVEN, by whoever reports the last piece."""

TellPiece = Callable[[int, Standing], None]
"""Called once for each piece of the torrent and standing; what is proven need not have been called readable before."""


class _Tally:
    """Counts down one standing: for each range the pieces that lack it."""

    def __init__(self) -> None:
        self.reached: set[int] = set()
        self._waiting: dict[int, list[int]] = {}
        self._lacking: dict[int, int] = {}

    def add(self, number: int, pieces: range) -> bool:
        """Wait for these pieces; whether all of them are there already."""
        lacking = [piece for piece in pieces if piece not in self.reached]
        for piece in lacking:
            self._waiting.setdefault(piece, []).append(number)
        if lacking:
            self._lacking[number] = len(lacking)
        return not lacking

    def reach(self, piece: int) -> list[int]:
        """A piece is there; the ranges of which it was the last."""
        if piece in self.reached:
            return []
        self.reached.add(piece)
        complete = []
        for number in self._waiting.pop(piece, ()):
            self._lacking[number] -= 1
            if not self._lacking[number]:
                del self._lacking[number]
                complete.append(number)
        return complete


class RangeWatch:
    """Tells when ranges can be read, and when they are proven. For one thread.

    Args:
        pieces: the torrent's pieces.
        layers: piece layers by pieces root that are known to be right: their root is that root.
    """

    def __init__(self, pieces: PieceMap, layers: Mapping[bytes, bytes] | None = None) -> None:
        self._map = RangeMap(pieces)
        self._layers = layers or {}
        self._readable = _Tally()
        self._proven = _Tally()
        self._ranges: dict[int, tuple[ByteRange, Tell]] = {}
        self._next = 0
        self._equal: dict[int, list[int]] = {}
        self._listener: TellPiece = lambda _piece, _standing: None

    def listen(self, tell: TellPiece) -> None:
        """Be told of every piece, whatever its range. What holds already is told at once, within this call."""
        self._listener = tell
        for standing, tally in ((Standing.READABLE, self._readable), (Standing.PROVEN, self._proven)):
            for piece in sorted(tally.reached):
                tell(piece, standing)

    def add(self, wanted: ByteRange, tell: Tell) -> None:
        """Wait for a range. What holds already is told at once, within this call; an empty range has both standings.

        Raises:
            ValueError: there are no such bytes.
        """
        pieces = self._map.pieces_of(wanted)
        number, self._next = self._next, self._next + 1
        self._ranges[number] = (wanted, tell)
        readable, proven = self._readable.add(number, pieces), self._proven.add(number, pieces)
        if readable:
            tell(wanted, Standing.READABLE)
        if proven:
            del self._ranges[number]
            tell(wanted, Standing.PROVEN)

    def equal(self, span: Span, others: Iterable[Span]) -> None:
        """What becomes of the pieces of a file becomes of those of these files too: they have the same bytes."""
        for other in others:
            for piece, same in zip(span.pieces, other.pieces, strict=True):
                self._equal.setdefault(piece, []).append(same)

    # ---- what became of pieces

    def readable(self, pieces: Collection[int]) -> None:
        """These pieces can be read from disk."""
        for piece in sorted(self._and_equal(pieces)):
            if piece not in self._readable.reached:
                self._listener(piece, Standing.READABLE)
            for number in self._readable.reach(piece):
                self._tell(number, Standing.READABLE)

    def hashed(self, span: Span, piece: int, digest: bytes) -> None:
        """A piece of a file was read back, and this is its hash: it is proven if a known layer has it there."""
        layer = self._layers.get(span.file.pieces_root or b"", b"")
        at = (piece - span.first) * HASH_SIZE
        if len(digest) == HASH_SIZE and layer[at : at + HASH_SIZE] == digest:
            self.proven((piece,))

    def proven(self, pieces: Collection[int]) -> None:
        """These pieces were read back and are the signed ones; what is proven can be read."""
        self.readable(pieces)
        for piece in sorted(self._and_equal(pieces)):
            if piece not in self._proven.reached:
                self._listener(piece, Standing.PROVEN)
            for number in self._proven.reach(piece):
                wanted, tell = self._ranges.pop(number)
                tell(wanted, Standing.PROVEN)

    def _and_equal(self, pieces: Collection[int]) -> Iterable[int]:
        return chain(pieces, *(self._equal.get(piece, ()) for piece in pieces)) if self._equal else pieces

    def _tell(self, number: int, standing: Standing) -> None:
        wanted, tell = self._ranges[number]
        tell(wanted, standing)
