"""What the engine is told of the disk when a torrent is added, and what of it need not come again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from weightshare.units import BLOCK


@dataclass(frozen=True, slots=True)
class Kept:
    """What is on the disk.

    Attributes:
        here: pieces that are there; they are offered to others at once.
        withheld: pieces that are there, it seems: they are neither asked for nor offered.
        begun: pieces of which blocks are there. The engine checks such a piece by its hash once it is whole, at once if
            it is already, and fetches it if it is not right.
        v2_alone: of a hybrid's hashes the v1 ones are left out. Where another program writes to a file while the engine
            reads it, the two kinds are of different bytes, and the engine takes the torrent for a false one.
    """

    here: Collection[int] = frozenset()
    withheld: Collection[int] = frozenset()
    begun: Mapping[int, Sequence[bool]] = field(default_factory=dict)
    v2_alone: bool = False


NOTHING = Kept()


class Tally:
    """How many bytes of a fetch came from peers.

    The engine's own count of what it has takes in pieces that it found on the disk, and what it counts as downloaded
    has a hybrid's padding in it with some peers, and not with others. So it is told by pieces.

    Args:
        lengths: bytes of each wanted piece.
        kept: what was on the disk.
    """

    def __init__(self, lengths: Mapping[int, int], kept: Kept) -> None:
        self._lengths = dict(lengths)
        self._kept = kept
        self._here = {piece: lengths[piece] for piece in (*kept.here, *kept.withheld) if piece in lengths}
        self._here |= self._begun(kept)
        self._begun_here = set(kept.begun)
        self._doubted: set[int] = set()
        self._again = 0

    def also(self, lengths: Mapping[int, int]) -> None:
        """More pieces are wanted; those of them that were on the disk at first did not come from peers."""
        more = Tally(
            {piece: length for piece, length in lengths.items() if piece not in self._lengths}, self._kept
        )
        self._lengths |= more._lengths
        self._here |= more._here

    def refused(self, piece: int) -> None:
        """A piece failed its hash. What peers sent of it counts as wasted; what was on the disk comes anew."""
        if piece in self._begun_here:
            self._begun_here.discard(piece)
            self._here.pop(piece, None)
        elif piece in self._doubted:
            self._doubted.discard(piece)
            self.lost((piece,))

    def doubt(self, pieces: Collection[int]) -> None:
        """Pieces that were had are checked by the engine once more, and come anew if they are refused."""
        self._doubted.update(pieces)

    def lost(self, pieces: Collection[int]) -> None:
        """Pieces that were had are not on the disk any more, and come anew."""
        self._again += sum(self._lengths.get(piece, 0) for piece in pieces)

    def received(self, wasted: int) -> int:
        """Bytes from peers once all is here; `wasted` of them were broken, or came once too often."""
        return sum(self._lengths.values()) - sum(self._here.values()) + self._again + wasted

    def _begun(self, kept: Kept) -> dict[int, int]:
        return {
            piece: min(sum(bits) * BLOCK, self._lengths[piece])
            for piece, bits in kept.begun.items()
            if piece in self._lengths
        }
