"""The digests as the specifications put them, slow and plain, to hold the fast ones against."""

from __future__ import annotations

import hashlib
import random

BLOCK = 16 * 1024


def some_bytes(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


def _root(nodes: list[bytes]) -> bytes:
    while len(nodes) > 1:
        nodes = [hashlib.sha256(nodes[i] + nodes[i + 1]).digest() for i in range(0, len(nodes), 2)]
    return nodes[0]


def _leaves(data: bytes) -> list[bytes]:
    return [hashlib.sha256(data[i : i + BLOCK]).digest() for i in range(0, len(data), BLOCK)]


def pieces_root(data: bytes) -> bytes:
    """BEP 52: leaves filled up with zeros to a power of two."""
    leaves = _leaves(data)
    width = 1
    while width < len(leaves):
        width *= 2
    return _root(leaves + [bytes(32)] * (width - len(leaves)))


def piece_layer(data: bytes, piece_length: int) -> bytes:
    """BEP 52: the nodes over one piece each; nothing for a file of one piece."""
    if len(data) <= piece_length:
        return b""
    width = piece_length // BLOCK
    layer = []
    for start in range(0, len(data), piece_length):
        leaves = _leaves(data[start : start + piece_length])
        layer.append(_root(leaves + [bytes(32)] * (width - len(leaves))))
    return b"".join(layer)


def v1_pieces(data: bytes, piece_length: int) -> bytes:
    """BEP 3 pieces."""
    return b"".join(
        hashlib.sha1(data[i : i + piece_length]).digest() for i in range(0, len(data), piece_length)
    )


def padded(data: bytes, piece_length: int) -> bytes:
    """The file as it stands in a hybrid, with the pad file behind it."""
    return data + bytes(-len(data) % piece_length)
