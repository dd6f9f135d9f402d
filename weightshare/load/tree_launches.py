"""Piece hashes by way of one kernel, `sha256_of_each` of `sha256.cu`: which launches make a tree, and where they write.

Nothing here knows what runs the kernel, a GPU or, in the tests, the same text compiled as C.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from weightshare.units import BLOCK

KERNEL = "sha256_of_each"
HASH = 32
"""Bytes of a SHA-256."""

Launch = Callable[[int, int, int, int, int], None]
"""The kernel, with `data` (address), `length` (bytes), `each` (bytes), `count` and `hashes` (address)."""


def source() -> str:
    """The kernel's text, CUDA C."""
    return Path(__file__).with_name("sha256.cu").read_text(encoding="ascii")


def scratch_size(pieces: int, width: int) -> int:
    """Bytes that `launch_tree` writes to: all levels of the pieces' trees, one behind the other."""
    return HASH * pieces * (2 * width - 1)


def launch_tree(launch: Launch, data: int, length: int, pieces: int, width: int, scratch: int) -> int:
    """Hash whole consecutive pieces of a file, the last of them perhaps short (BEP 52).

    Args:
        launch: the kernel; launches run in the order they are made.
        data: address of the pieces' bytes, on a multiple of 8.
        length: bytes.
        pieces: how many they are.
        width: leaves that one piece's tree has, missing ones included; a power of two.
        scratch: address of `scratch_size` bytes, on a multiple of 16.

    Returns:
        The address in the scratch where the pieces' hashes will be, one behind the other.

    Raises:
        ValueError: an address or a number that the kernel cannot take.
    """
    if data % 8 or scratch % 16 or width < 1 or width & (width - 1):
        raise ValueError(f"{data:#x} or {scratch:#x} is not aligned, or {width} is no power of two")
    if not (pieces - 1) * width * BLOCK < length <= pieces * width * BLOCK:
        raise ValueError(f"{length} bytes are not {pieces} pieces of {width} leaves")
    count = pieces * width
    launch(data, length, BLOCK, count, scratch)
    while count > pieces:
        above = scratch + HASH * count
        launch(scratch, HASH * count, 2 * HASH, count // 2, above)
        scratch, count = above, count // 2
    return scratch
