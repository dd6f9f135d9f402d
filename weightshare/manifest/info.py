"""What an info dictionary says once every rule holds (BEP 52), and the rules that writer and reader share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from weightshare.errors import UnsafePathError
from weightshare.manifest.paths import check_part, check_paths, fold
from weightshare.manifest.text import quoted
from weightshare.units import BLOCK, MIB

MAX_PIECE_LENGTH = 128 * MIB
"""Bytes; the largest that libtorrent makes."""

PAD_FOLDER = ".pad"
"""Where v1 clients put pad files (BEP 47); a hybrid may hold nothing else there."""


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file of the v2 tree: its size in bytes and its Merkle root (None when empty)."""

    path: str
    size: int
    pieces_root: bytes | None


@dataclass(frozen=True, slots=True)
class V1File:
    """An entry of the v1 list: a file, or the pad that aligns the next one."""

    path: str
    size: int
    pad: bool = False


@dataclass(frozen=True)
class Info:
    """A v2 or hybrid info dictionary that keeps every rule.

    Attributes:
        name: the folder's name; the file's, for a single-file torrent.
        piece_length: bytes.
        files: in the tree's order: by the raw bytes of the path's parts, level by level.
        v1_files: the v1 list with its pads, None when v2-only.
        raw: the bencoded dictionary, as hashed.
    """

    name: str
    piece_length: int
    files: tuple[TreeFile, ...]
    v1_files: tuple[V1File, ...] | None
    raw: bytes

    @property
    def hybrid(self) -> bool:
        """Whether v1 clients can take it too."""
        return self.v1_files is not None

    @property
    def single_file(self) -> bool:
        """Whether it is one file with no folder around it (BEP 52): the file bears the torrent's name."""
        return len(self.files) == 1 and self.files[0].path == self.name

    @property
    def size(self) -> int:
        """Bytes of all files, without pads."""
        return sum(file.size for file in self.files)

    @cached_property
    def v2_hash(self) -> bytes:
        """The v2 info-hash: SHA-256 of the dictionary (32 bytes)."""
        return hashlib.sha256(self.raw).digest()

    @cached_property
    def v1_hash(self) -> bytes | None:
        """The v1 info-hash of a hybrid: SHA-1 of the dictionary (20 bytes)."""
        return hashlib.sha1(self.raw, usedforsecurity=False).digest() if self.hybrid else None


def check_piece_length(piece_length: int) -> None:
    """Check a piece length in bytes.

    Raises:
        ValueError: it is no power of two from 16 KiB to 128 MiB.
    """
    if piece_length & (piece_length - 1) or not BLOCK <= piece_length <= MAX_PIECE_LENGTH:
        raise ValueError(
            f"a piece length of {piece_length}; a power of two from 16 KiB to 128 MiB is expected"
        )


def check_names(name: str, paths: Sequence[str], *, hybrid: bool) -> None:
    """Check a torrent's name and all its paths.

    Raises:
        UnsafePathError: one breaks a rule, or two collide.
    """
    check_part(name)
    check_paths(paths)
    for path in paths:
        if hybrid and fold(path.partition("/")[0]) == PAD_FOLDER:
            reason = f"`{PAD_FOLDER}` belongs to the pad files of a hybrid torrent"
            raise UnsafePathError(f"Unsafe path {quoted(path)}: {reason}.", path=path, reason=reason)
