"""Piece hashes against signed roots: which bytes of a shard are proven, and which pieces are wrong.

The unit of proof is a piece: `piece_length` bytes of one file, the last one short. Its hash is the root of
the SHA-256 tree over its 16 KiB leaves (BEP 52). With the file's piece layer, itself proven against the
signed pieces root, every piece can be proven by itself, and a wrong one named; without it, only the whole
file can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from weightshare.content.safetensors_header import Header
from weightshare.errors import CorruptError
from weightshare.load.opened import REPAIR
from weightshare.manifest.merkle import file_root, split_layer
from weightshare.manifest.model import FileEntry
from weightshare.manifest.text import escape
from weightshare.units import BLOCK, MIB

STRETCH = 4 * MIB
"""Bytes proven in one go, at least one piece: long enough to hand out cheaply, short enough to share."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Whole consecutive pieces of one shard.

    Attributes:
        shard: the shard's place in the plan.
        first: index of the first piece in the file.
        offset: bytes into the file.
        length: bytes.
        width: leaves that a piece's tree has, missing ones included; a power of two.
        trusted: a receipt stands for these bytes: they are brought and not hashed. A holder may hash them still.
    """

    shard: int
    first: int
    offset: int
    length: int
    width: int
    trusted: bool = False


@dataclass(slots=True)
class ShardProof:
    """What is known of one shard. Piece indices count from the start of the file.

    Attributes:
        entry: the shard, from a verified manifest.
        shard: its place in the plan.
        piece_length: bytes, a power of two of at least 16 KiB.
        layer: the hashes its pieces must have, or None if they are not known.
        hashes: those found so far, by piece index.
        bad: the pieces found to differ.
        trusted: a receipt stands for the file, so that nothing of it is hashed; asked for, never the default.
    """

    entry: FileEntry
    shard: int
    piece_length: int
    layer: Sequence[bytes] | None
    hashes: dict[int, bytes] = field(default_factory=dict)
    bad: list[int] = field(default_factory=list)
    trusted: bool = False

    @property
    def pieces(self) -> int:
        """How many pieces the file has."""
        return -(-self.entry.size // self.piece_length)

    @property
    def width(self) -> int:
        """Leaves of a piece's tree: a file no longer than a piece has a tree only as wide as it must be."""
        if self.entry.size > self.piece_length:
            return self.piece_length // BLOCK
        leaves = -(-self.entry.size // BLOCK)
        return 1 << max(0, leaves - 1).bit_length()

    def stretches(self, first: int, stop: int) -> Iterator[Stretch]:
        """Pieces `first` to `stop` (not included) in portions of about `STRETCH` bytes."""
        step = max(1, STRETCH // self.piece_length)
        stop = min(stop, self.pieces)
        for piece in range(first, stop, step):
            offset = piece * self.piece_length
            end = min(min(piece + step, stop) * self.piece_length, self.entry.size)
            yield Stretch(self.shard, piece, offset, end - offset, self.width, self.trusted)

    def accept(self, stretch: Stretch, hashes: Sequence[bytes]) -> None:
        """Take the hashes of a stretch's pieces and compare them with the layer, if that is known."""
        if stretch.trusted:
            return
        for piece, found in enumerate(hashes, stretch.first):
            self.hashes[piece] = found
            if self.layer is not None and self.layer[piece] != found:
                self.bad.append(piece)

    @property
    def whole(self) -> bool:
        """Whether all pieces were seen and the root above them is the one that was signed, or trusted to be."""
        if self.trusted:
            return True
        if len(self.hashes) != self.pieces or self.bad:
            return False
        if self.entry.pieces_root is None:
            return self.entry.size == 0
        return self._root() == self.entry.pieces_root

    def _root(self) -> bytes:
        layer = [self.hashes[piece] for piece in range(self.pieces)]
        return layer[0] if len(layer) == 1 else file_root(layer, self.piece_length)


def proof_of(entry: FileEntry, shard: int, piece_length: int, layers: Mapping[bytes, bytes]) -> ShardProof:
    """The proof a shard needs. A layer that does not lead to the signed root is not used."""
    proof = ShardProof(entry, shard, piece_length, None)
    if entry.pieces_root is None:
        return proof
    if proof.pieces == 1:
        proof.layer = [entry.pieces_root]
    elif (layer := layers.get(entry.pieces_root)) and len(layer) == 32 * proof.pieces:
        nodes = split_layer(layer)
        if file_root(nodes, piece_length) == entry.pieces_root:
            proof.layer = nodes
    return proof


def check(
    proofs: Sequence[ShardProof], *, whole: bool, headers: Mapping[int, Header] = MappingProxyType({})
) -> None:
    """Stop if a shard is not what was signed.

    Args:
        proofs: the shards.
        whole: whether all their pieces must have been seen; if not, only what was seen is judged.
        headers: those that are proven, by shard, to say which tensors the wrong pieces belong to.

    Raises:
        CorruptError: names the first such file, its pieces and the first of its tensors. Facts: `path` and
            `pieces` of that file; `files`, the pieces of all such files by path; `tensors`, all that wrong
            pieces of any file touch, as far as headers are proven.
    """
    wrong = [proof for proof in proofs if proof.bad or (whole and not proof.whole)]
    if not wrong:
        return
    first = wrong[0]
    bad = sorted(first.bad)
    names = [tensors_in(proof, headers.get(proof.shard)) for proof in wrong]
    if bad:
        shown = ", ".join(map(str, bad[:8])) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
        start = bad[0] * first.piece_length
        where = f"the first at byte {start}{_in_tensors(names[0])}"
        what = f"piece{'s' if len(bad) > 1 else ''} {shown} of {first.pieces} ({where})"
    else:
        what = "which piece cannot be said without the torrent's piece layers; something in the file"
    more = f" So are {len(wrong) - 1} other files." if len(wrong) > 1 else ""
    raise CorruptError(
        f"{first.entry.path}: not what was signed: {what} differs.{more}",
        hint=REPAIR,
        path=first.entry.path,
        pieces=bad,
        files={proof.entry.path: sorted(proof.bad) for proof in wrong},
        tensors=[name for each in names for name in each],
    )


def tensors_in(proof: ShardProof, header: Header | None) -> list[str]:
    """The tensors of a shard that have bytes in its wrong pieces, in the file's order; none without a header."""
    if header is None or not proof.bad:
        return []
    bad = set(proof.bad)
    size = proof.piece_length
    return [
        info.name
        for info in header.tensors
        if info.size and not bad.isdisjoint(range(info.start // size, (info.end - 1) // size + 1))
    ]


def _in_tensors(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f", in the tensor {escape(names[0])}{more}"
