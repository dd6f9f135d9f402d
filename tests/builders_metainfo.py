"""Torrent files hashed with hashlib alone, for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from weightshare.manifest import merkle
from weightshare.manifest.metainfo import HashedFile
from weightshare.units import BLOCK


def hashed(path: str, data: bytes, piece_length: int, *, hybrid: bool = True) -> HashedFile:
    """All that a torrent needs to know of these bytes."""
    leaves = merkle.leaves_of(data)
    width = piece_length // BLOCK
    layer = [merkle.root_of(leaves[i : i + width], width=width) for i in range(0, len(leaves), width)]
    pieces = [data[i : i + piece_length] for i in range(0, len(data), piece_length)]
    return HashedFile(
        path=path,
        size=len(data),
        pieces_root=merkle.file_root_from_leaves(leaves) if data else None,
        piece_layer=b"".join(layer) if len(data) > piece_length else b"",
        v1_pieces=b"".join(_sha1(piece.ljust(piece_length, b"\0")) for piece in pieces) if hybrid else b"",
        v1_last_unpadded=_sha1(pieces[-1]) if hybrid and pieces else b"",
    )


def hashed_all(files: Mapping[str, bytes], piece_length: int, *, hybrid: bool = True) -> list[HashedFile]:
    """The same for a whole folder: path to bytes."""
    return [hashed(path, data, piece_length, hybrid=hybrid) for path, data in files.items()]


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()
