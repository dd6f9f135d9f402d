"""Which pieces hold which file. In BitTorrent v2, and in a padded hybrid, every file begins on a piece (BEP 52)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from weightshare.manifest import bencode
from weightshare.manifest.metainfo import Info, TreeFile
from weightshare.units import MAX_INFO


@dataclass(frozen=True, slots=True)
class Span:
    """A file's pieces.

    Attributes:
        position: the file's place in the file tree.
        file: the file.
        first: index of its first piece in the torrent.
        count: how many pieces it has; 0 for an empty file.
    """

    position: int
    file: TreeFile
    first: int
    count: int

    @property
    def pieces(self) -> range:
        """Its piece indices in the torrent."""
        return range(self.first, self.first + self.count)


class PieceMap:
    """All spans of a torrent, and the way from a piece to its file."""

    def __init__(self, info: Info) -> None:
        self.piece_length = info.piece_length
        spans = []
        first = 0
        for position, file in enumerate(info.files):
            count = -(-file.size // info.piece_length)
            spans.append(Span(position, file, first, count))
            first += count
        self.spans: Sequence[Span] = tuple(spans)
        self.total = first
        self._full = [span for span in spans if span.count]
        self._starts = [span.first for span in self._full]

    def span_of(self, piece: int) -> Span:
        """The file that a piece belongs to."""
        if not 0 <= piece < self.total:
            raise IndexError(piece)
        return self._full[bisect_right(self._starts, piece) - 1]

    def byte_range(self, piece: int) -> tuple[Span, int, int]:
        """The file, offset in it and length in bytes of a piece; the last piece of a file may be short."""
        span = self.span_of(piece)
        offset = (piece - span.first) * self.piece_length
        return span, offset, min(self.piece_length, span.file.size - offset)


def v1_hashes(info: Info) -> bytes:
    """The SHA-1 of every piece (20 bytes each) of a hybrid, a short one filled with zeros (BEP 47); none if v2-only."""
    if not info.hybrid:
        return b""
    found = bencode.decode(info.raw, limit=MAX_INFO, what="info dictionary")
    hashes = found.get(b"pieces") if isinstance(found, dict) else None
    return hashes if isinstance(hashes, bytes) else b""
