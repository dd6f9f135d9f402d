"""The pieces of a plain v1 torrent of the same files, for clients that no hybrid works with.

Its pieces run across files without padding, so they are cut at other places than those of a hybrid. Pieces
that lie wholly in one file are made by `hash_files(…, v1_twin=True)` in its one pass. Those that span files
belong to no file's owner, so they are read again here, and only they: at most one for each file.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from pathlib import Path

from weightshare.content.digests import BUFFER
from weightshare.errors import CheckpointError

_HASH = 20


def inner_pieces(start: int, size: int, piece_length: int) -> range:
    """The pieces that lie wholly in a file that begins at byte `start` of the torrent."""
    return range(-(-start // piece_length), max(-(-start // piece_length), (start + size) // piece_length))


def join_twin(
    files: Sequence[tuple[Path, int]],
    piece_length: int,
    inner: Sequence[bytes] = (),
    *,
    tail: bytes = b"",
) -> bytes:
    """The SHA-1 of every piece, concatenated, as a v1 torrent lists them.

    Args:
        files: path and size in bytes of each, in the torrent's order.
        piece_length: bytes.
        inner: `FileHashes.v1_twin` of each, hashed in that same order; without them every byte is read again.
        tail: content of one more file that comes last and is not on disk yet: the manifest.

    Raises:
        CheckpointError: a file is shorter than given.
        OSError: a file cannot be read.
    """
    starts = [0]
    for _, size in files:
        starts.append(starts[-1] + size)
    total = starts[-1] + len(tail)
    pieces: list[bytes | None] = [None] * -(-total // piece_length)
    for (path, size), start, made in zip(files, starts, inner, strict=False):
        within = inner_pieces(start, size, piece_length)
        if len(made) != _HASH * len(within):
            raise ValueError(f"{path}: {len(made)} bytes of hashes for {len(within)} pieces")
        for row, piece in enumerate(within):
            pieces[piece] = made[row * _HASH : (row + 1) * _HASH]
    return b"".join(made or b"" for made in _complete(pieces, files, starts, piece_length, tail))


def _complete(
    pieces: list[bytes | None],
    files: Sequence[tuple[Path, int]],
    starts: Sequence[int],
    piece_length: int,
    tail: bytes,
) -> list[bytes | None]:
    """Fill in the pieces that nobody has made yet, in one walk over the files."""
    total = starts[-1] + len(tail)
    first = 0
    view = memoryview(mmap.mmap(-1, BUFFER))
    for piece, made in enumerate(pieces):
        if made is not None:
            continue
        begin, end = piece * piece_length, min(total, (piece + 1) * piece_length)
        sha1 = hashlib.sha1()  # noqa: S324 - BitTorrent v1
        while first < len(files) and starts[first + 1] <= begin:
            first += 1
        for index in range(first, len(files)):
            path, size = files[index]
            start = starts[index]
            if start >= end:
                break
            low, high = max(begin, start) - start, min(end - start, size)
            if low < high:
                _feed(sha1, path, low, high - low, view)
        low, high = max(begin, starts[-1]) - starts[-1], end - starts[-1]
        if low < high:
            sha1.update(tail[low:high])
        pieces[piece] = sha1.digest()
    return pieces


def _feed(sha1: hashlib._Hash, path: Path, offset: int, length: int, view: memoryview) -> None:
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while length:
            count = file.readinto(view[: min(length, BUFFER)])
            if not count:
                raise CheckpointError(f"{path}: the file changed: it ends early.", path=str(path))
            sha1.update(view[:count])
            length -= count
