"""Ranges of bytes in a release's files, and the pieces that hold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from weightshare.manifest.pieces import PieceMap


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Some bytes of one file.

    Attributes:
        path: the file, as the manifest names it.
        begin: offset of the first byte.
        end: offset behind the last byte; as `begin` for a range that holds none.
        tensor: the tensor that these bytes are, empty where they are none.
    """

    path: str
    begin: int
    end: int
    tensor: str = ""


class RangeMap:
    """The way from a range to its pieces.

    Args:
        pieces: the torrent's pieces.
    """

    def __init__(self, pieces: PieceMap) -> None:
        self._piece_length = pieces.piece_length
        self._spans = {span.file.path: span for span in pieces.spans}

    def pieces_of(self, wanted: ByteRange) -> range:
        """The pieces that hold a range; none for an empty one.

        Raises:
            ValueError: the torrent has no such file, or its file has no such bytes.
        """
        span = self._spans.get(wanted.path)
        if span is None:
            raise ValueError(f"no file {wanted.path!r} in the torrent")
        if not 0 <= wanted.begin <= wanted.end <= span.file.size:
            raise ValueError(
                f"bytes {wanted.begin} to {wanted.end} of {wanted.path!r}, which has {span.file.size}"
            )
        if wanted.begin == wanted.end:
            return range(0)
        first = span.first + wanted.begin // self._piece_length
        return range(first, span.first + (wanted.end - 1) // self._piece_length + 1)

    def in_order(self, ranges: Iterable[ByteRange]) -> tuple[int, ...]:
        """The pieces of many ranges in their order, each where it is first needed.

        Raises:
            ValueError: as for `pieces_of`.
        """
        order: dict[int, None] = {}
        for wanted in ranges:
            order.update(dict.fromkeys(self.pieces_of(wanted)))
        return tuple(order)
