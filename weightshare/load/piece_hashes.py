"""The hash of every piece in a run of bytes: what a proof compares."""

from __future__ import annotations

from collections.abc import Sequence

from weightshare.manifest.merkle import leaves_of, root_of
from weightshare.units import BLOCK


def piece_hashes(data: memoryview, piece_length: int, width: int) -> list[bytes]:
    """The hashes of whole consecutive pieces of a file, the last of them perhaps short.

    Args:
        data: the pieces' bytes.
        piece_length: bytes.
        width: leaves that one piece's tree has, missing ones included.
    """
    return pieces_above(leaves_of(data), piece_length, width)


def pieces_above(leaves: Sequence[bytes], piece_length: int, width: int) -> list[bytes]:
    """The same from the hashes of the pieces' 16 KiB leaves."""
    step = max(1, piece_length // BLOCK)
    return [root_of(leaves[i : i + step], width=width) for i in range(0, len(leaves), step)]
