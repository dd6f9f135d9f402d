"""Where pieces of a new release stand already: in files of this disk whose piece hashes are known. Nothing is read.

A piece is the same if its hash is, in whatever file and at whatever piece-aligned place it stands. Hashes are compared
as nodes of one height, that of the new release's pieces (BEP 52): the last, short piece of a file is a node of that
height, the root of a file shorter than a piece is widened to one, and where pieces are longer on one side, the shorter
ones of the other are joined. A v1 hash in a hybrid's info dictionary tells where to look too; what the piece's SHA-256
must be is then taken from where it was found, and only the file's root says whether that was right.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from weightshare.content.digests import tree_length
from weightshare.content.piece_index import PieceIndex
from weightshare.manifest.merkle import HASH_SIZE, root_of, split_layer, widen
from weightshare.manifest.metainfo import Info
from weightshare.manifest.pieces import PieceMap, Span, v1_hashes
from weightshare.units import BLOCK

SHA1_SIZE = 20
UNKNOWN = bytes(HASH_SIZE)
"""Stands in a layer where a piece's hash is not known."""

_NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Source:
    """A file on this disk.

    Attributes:
        path: the file.
        size: its bytes, as they were when its pieces were hashed.
        release: what it belongs to.
        sure: by all that its status shows, nobody has changed it since.
    """

    path: Path
    size: int
    release: str
    sure: bool


@dataclass(frozen=True, slots=True)
class Hashed:
    """What is known of the pieces of a file.

    Attributes:
        piece_length: bytes.
        layer: their SHA-256 nodes, of the height of a piece; `UNKNOWN` where one is not known.
        v1: their SHA-1 hashes, empty if there are none.
    """

    piece_length: int
    layer: bytes
    v1: bytes = b""


@dataclass(frozen=True, slots=True)
class Run:
    """Pieces that follow each other in the new release, and in a file on this disk.

    Attributes:
        span: the file that they are for.
        first: the first piece.
        count: how many.
        source: where they stand.
        offset: the byte where they begin in it.
        size: their bytes.
        guess: nothing but what stands around them says so.
    """

    span: Span
    first: int
    count: int
    source: Source
    offset: int
    size: int
    guess: bool


class Wanted:
    """The pieces that are missing, their hashes as far as they are known, and where each was found.

    Args:
        info: the new release's torrent.
        spans: its missing files.
        layers: its piece layers, by pieces root, as far as they are known; each must lead to its root.
        had: pieces that are here already.
    """

    def __init__(
        self, info: Info, spans: Sequence[Span], layers: Mapping[bytes, bytes], had: Collection[int] = ()
    ) -> None:
        self._length = info.piece_length
        self._spans = spans
        self._map = PieceMap(info)
        total = self._map.total
        self._open = bytearray(total)  # missing and not found yet
        self._digests = bytearray(HASH_SIZE * total)
        self._guess = bytearray(total)
        self._origin = array("i", [_NOWHERE]) * total
        self._offset = array("q", [0]) * total
        self._sources: list[Source] = []
        self._coarse: dict[
            int, int
        ] = {}  # how many times longer a source's pieces are than ours, if they are
        self._indices: dict[int, PieceIndex] = {}
        self._v1 = v1_hashes(info)
        self._v1_index: PieceIndex | None = None
        self.by_v1: set[int] = set()  # found by their v1 hash alone
        for span in spans:
            if span.count:
                self._open[span.first : span.first + span.count] = b"\1" * span.count
                layer = layer_of(span, info.piece_length, layers)
                self._digests[span.first * HASH_SIZE : (span.first + span.count) * HASH_SIZE] = layer
        for piece in had:
            if piece < total:
                self._open[piece] = 0
        self._left = sum(self._open)
        ends = (span for span in spans if span.file.size % info.piece_length)
        self._short = {s.first + s.count - 1: s.file.size % info.piece_length for s in ends}

    def digest(self, piece: int) -> bytes:
        """The SHA-256 node of a piece, at the height of a piece; `UNKNOWN` if nobody has said it yet."""
        return bytes(self._digests[piece * HASH_SIZE : (piece + 1) * HASH_SIZE])

    def look(self, source: Source, hashed: Hashed) -> None:
        """Find missing pieces in a file. The first file in which a piece is found is the one it is taken from."""
        if not self._left:
            return
        number = len(self._sources)
        self._sources.append(source)
        ratio = max(1, hashed.piece_length // self._length)
        nodes = joined(hashed.layer, hashed.piece_length, max(hashed.piece_length, self._length))
        step = self._length * ratio
        if ratio > 1:
            self._coarse[number] = ratio
        for row in range(len(nodes) // HASH_SIZE):
            node = nodes[row * HASH_SIZE : (row + 1) * HASH_SIZE]
            for piece in () if node == UNKNOWN else self._index(ratio).find(node):
                end = min(piece + ratio, self._end(piece)) if ratio > 1 else piece + 1
                for one in range(piece, end):
                    self._assign(one, number, row * step + (one - piece) * self._length)
        if hashed.v1 and hashed.piece_length == self._length:
            self._look_by_v1(number, hashed)

    def runs(self) -> list[Run]:
        """What was found, in the order of the new release."""
        self._guess_between()
        runs: list[Run] = []
        for span in self._spans:
            first = span.first
            for piece in span.pieces:
                if piece + 1 == span.first + span.count or not self._goes_on(piece):
                    if self._origin[first] != _NOWHERE:
                        runs.append(self._run(span, first, piece + 1 - first))
                    first = piece + 1
        return runs

    # ---- inside

    def _goes_on(self, piece: int) -> bool:
        """Whether the next piece follows this one where it was found too."""
        return (
            self._origin[piece + 1] == self._origin[piece]
            and self._guess[piece + 1] == self._guess[piece]
            and (
                self._origin[piece] == _NOWHERE
                or self._offset[piece + 1] == self._offset[piece] + self._length
            )
        )

    def _run(self, span: Span, first: int, count: int) -> Run:
        size = min(count * self._length, span.file.size - (first - span.first) * self._length)
        source = self._sources[self._origin[first]]
        return Run(span, first, count, source, self._offset[first], size, bool(self._guess[first]))

    def _look_by_v1(self, number: int, hashed: Hashed) -> None:
        if self._v1_index is None:
            blind = array("I", (p for p, is_open in enumerate(self._open) if is_open and self._is_blind(p)))
            rows = b"".join(self._v1[p * SHA1_SIZE : (p + 1) * SHA1_SIZE] for p in blind)
            self._v1_index = PieceIndex(rows, SHA1_SIZE, blind)
        if not len(self._v1_index):
            return
        for row in range(len(hashed.v1) // SHA1_SIZE):
            node = hashed.layer[row * HASH_SIZE : (row + 1) * HASH_SIZE]
            if node == UNKNOWN:
                continue
            for piece in self._v1_index.find(hashed.v1[row * SHA1_SIZE : (row + 1) * SHA1_SIZE]):
                if self._assign(piece, number, row * self._length):
                    self._digests[piece * HASH_SIZE : (piece + 1) * HASH_SIZE] = node
                    self.by_v1.add(piece)

    def _is_blind(self, piece: int) -> bool:
        return self.digest(piece) == UNKNOWN and len(self._v1) >= (piece + 1) * SHA1_SIZE

    def _assign(self, piece: int, number: int, offset: int) -> bool:
        if not self._open[piece]:
            return False
        length = self._short.get(piece, self._length)
        if min(self._length, self._sources[number].size - offset) != length:
            return False
        self._open[piece] = 0
        self._left -= 1
        self._origin[piece], self._offset[piece] = number, offset
        return True

    def _end(self, piece: int) -> int:
        span = self._map.span_of(piece)
        return span.first + span.count

    def _index(self, ratio: int) -> PieceIndex:
        """The missing pieces by hash, `ratio` of them joined."""
        if ratio not in self._indices:
            rows, pieces = bytearray(), array("I")
            for span in self._spans:
                layer = bytes(self._digests[span.first * HASH_SIZE : (span.first + span.count) * HASH_SIZE])
                nodes = joined(layer, self._length, self._length * ratio)
                for row in range(len(nodes) // HASH_SIZE):
                    node, first = nodes[row * HASH_SIZE : (row + 1) * HASH_SIZE], span.first + row * ratio
                    if node != UNKNOWN and any(
                        self._open[first : min(first + ratio, span.first + span.count)]
                    ):
                        rows += node
                        pieces.append(first)
            self._indices[ratio] = PieceIndex(rows, HASH_SIZE, pieces)
        return self._indices[ratio]

    def _guess_between(self) -> None:
        """Of the longer pieces beside one that matched, a part may be the same: look there too."""
        if not self._coarse:
            return
        for span in self._spans:
            for row in (span.pieces, reversed(span.pieces)):
                origin, delta, reach = _NOWHERE, 0, 0
                for piece in row:
                    if self._origin[piece] in self._coarse and not self._guess[piece]:
                        origin, delta = self._origin[piece], self._offset[piece] - piece * self._length
                        reach = self._coarse[origin]
                    elif reach and self._open[piece] and self.digest(piece) != UNKNOWN:
                        reach -= 1
                        offset = delta + piece * self._length
                        if offset >= 0 and self._assign(piece, origin, offset):
                            self._guess[piece] = 1


def layer_of(span: Span, piece_length: int, layers: Mapping[bytes, bytes]) -> bytes:
    """The nodes of a file's pieces at the height of a piece; `UNKNOWN` for all if they are not known."""
    root, size = span.file.pieces_root, span.file.size
    if root is None:
        return b""
    if span.count == 1:
        return widen(root, level=_level(tree_length(size, piece_length)), to=_level(piece_length))
    layer = layers.get(root, b"")
    return layer if len(layer) == HASH_SIZE * span.count else UNKNOWN * span.count


def joined(layer: bytes, piece_length: int, target: int) -> bytes:
    """Nodes of pieces, joined to nodes of longer ones; `UNKNOWN` where one of them is not known.

    Args:
        layer: the nodes.
        piece_length: bytes that each covers.
        target: bytes that each shall cover; a multiple, by a power of two.
    """
    ratio = target // piece_length
    if ratio <= 1:
        return layer
    nodes = split_layer(layer)
    level = _level(piece_length)
    out = []
    for row in range(0, len(nodes), ratio):
        part = nodes[row : row + ratio]
        out.append(UNKNOWN if UNKNOWN in part else root_of(part, level=level, width=ratio))
    return b"".join(out)


@cache
def _level(length: int) -> int:
    return (length // BLOCK).bit_length() - 1
