"""Files of which only some pieces are wanted, each piece proven alone by the file's piece layer.

Without a layer the proof of a file is the root over all of its pieces, so a file whose layer is not known cannot be had
in part. Which pieces are wanted becomes known bit by bit: a shard's header says where its tensors lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from weightshare.manifest.merkle import HASH_SIZE
from weightshare.manifest.pieces import Span


class Parts:
    """What is wanted of some files.

    Args:
        spans: the files, by position.
        layers: piece layers by pieces root, known to be right; of each of these files that is longer than a piece.
    """

    def __init__(self, spans: Mapping[int, Span], layers: Mapping[bytes, bytes]) -> None:
        self._wanted: dict[int, set[int]] = {position: set() for position in spans}
        self._layers = layers

    def has(self, span: Span) -> bool:
        """Whether it is one of these files."""
        return span.position in self._wanted

    def want(self, span: Span, piece: int) -> bool:
        """Want a piece; whether it was not wanted before."""
        wanted = self._wanted.get(span.position)
        if wanted is None or piece in wanted:
            return False
        wanted.add(piece)
        return True

    def of(self, span: Span) -> Set[int]:
        """The pieces that are wanted of a file: all of one that is none of these."""
        wanted = self._wanted.get(span.position)
        return set(span.pieces) if wanted is None else wanted

    def whole(self, span: Span) -> bool:
        """Whether all of a file is wanted."""
        wanted = self._wanted.get(span.position)
        return wanted is None or len(wanted) == span.count

    def refuses(self, span: Span, piece: int, digest: bytes) -> bool:
        """Whether a piece's hash is not the one that was signed; only what is known of these files says so."""
        if not self.has(span):
            return False
        root = span.file.pieces_root or b""
        layer = root if span.count == 1 else self._layers.get(root, b"")
        at = (piece - span.first) * HASH_SIZE
        return layer[at : at + HASH_SIZE] != digest
