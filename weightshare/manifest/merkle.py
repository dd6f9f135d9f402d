"""BitTorrent v2's Merkle tree (BEP 52): SHA-256 over 16 KiB leaves, zero leaves up to a power of two.

A leaf is the SHA-256 of one 16 KiB block; a file's last block is short and hashed as it is. A leaf that lies
past the end of the file is 32 zero bytes (not the hash of anything). The piece layer of a file is the layer
of nodes that cover one piece each; a file no longer than one piece has none, and its tree is only as wide as
it needs to be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

from weightshare.units import BLOCK

HASH_SIZE = 32
"""Bytes of a node."""


@cache
def pad_hash(level: int) -> bytes:
    """The root of a subtree of `2**level` missing leaves."""
    if level == 0:
        return bytes(HASH_SIZE)
    below = pad_hash(level - 1)
    return hashlib.sha256(below + below).digest()


def root_of(hashes: Sequence[bytes], *, level: int = 0, width: int | None = None) -> bytes:
    """The root above a layer of nodes.

    Args:
        hashes: the nodes, at least one.
        level: how many levels above the leaves they lie; missing nodes are filled in with `pad_hash(level)`.
        width: nodes the layer is padded to, a power of two; by default the next one.

    Raises:
        ValueError: no nodes, more than `width`, or a width that is no power of two.
    """
    if width is None:
        width = 1 << max(0, len(hashes) - 1).bit_length()
    if not hashes or len(hashes) > width or width & (width - 1):
        raise ValueError(f"{len(hashes)} nodes do not fit a layer of {width}")
    layer = list(hashes)
    while width > 1:
        if len(layer) % 2:
            layer.append(pad_hash(level))
        nodes = iter(layer)
        layer = [hashlib.sha256(left + right).digest() for left, right in zip(nodes, nodes, strict=True)]
        level += 1
        width //= 2
    return layer[0]


def file_root(piece_layer: Sequence[bytes], piece_length: int) -> bytes:
    """The `pieces root` of a file longer than one piece, from its piece layer."""
    return root_of(piece_layer, level=(piece_length // BLOCK).bit_length() - 1)


def file_root_from_leaves(leaves: Sequence[bytes]) -> bytes:
    """The `pieces root` of any non-empty file, from all its leaves."""
    return root_of(leaves)


def widen(root: bytes, *, level: int, to: int) -> bytes:
    """The root of a wider tree that holds nothing more: its left half is the given one, over and over.

    Args:
        root: of a tree of `2**level` leaves.
        level: its height.
        to: the height wanted.
    """
    for height in range(level, to):
        root = hashlib.sha256(root + pad_hash(height)).digest()
    return root


def leaves_of(data: bytes | bytearray | memoryview) -> list[bytes]:
    """The leaves of some bytes that start on a block boundary."""
    view = memoryview(data)
    return [hashlib.sha256(view[i : i + BLOCK]).digest() for i in range(0, len(view), BLOCK)]


def split_layer(layer: bytes) -> list[bytes]:
    """A concatenated layer, as found in a `.torrent`, cut into its nodes.

    Raises:
        ValueError: the length is no multiple of 32.
    """
    if len(layer) % HASH_SIZE:
        raise ValueError(f"a layer of {len(layer)} bytes is no row of {HASH_SIZE}-byte hashes")
    return [layer[i : i + HASH_SIZE] for i in range(0, len(layer), HASH_SIZE)]
