"""Which pieces have a hash: a sorted table of hashes, for releases of a million pieces and more."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator

_KEY = 8  # the first bytes of a hash, by which the table is sorted


class PieceIndex:
    """Pieces by their hashes; several may have the same one. About 16 bytes a piece beside the hashes themselves.

    Args:
        hashes: one after the other.
        width: bytes of each: 32 for SHA-256, 20 for SHA-1.
        pieces: the piece that each is of.
    """

    def __init__(self, hashes: bytes | bytearray, width: int, pieces: array[int]) -> None:
        self._hashes = hashes
        self._width = width
        self._pieces = pieces
        keys = array("Q", (key for (key,) in struct.iter_unpack(f">Q{width - _KEY}x", hashes)))
        order = array("I", sorted(range(len(keys)), key=keys.__getitem__))
        self._keys = array("Q", map(keys.__getitem__, order))
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    def find(self, digest: bytes) -> Iterator[int]:
        """The pieces with this hash."""
        key = int.from_bytes(digest[:_KEY], "big")
        at = bisect_left(self._keys, key)
        while at < len(self._keys) and self._keys[at] == key:
            row = self._order[at]
            if self._hashes[row * self._width : (row + 1) * self._width] == digest:
                yield self._pieces[row]
            at += 1
