"""The bytes of a v1 torrent on disk, held against its SHA-1 pieces, pads and odd piece lengths included.

Where a torrent has neither, `hash_files(…, v1_twin=True)` makes nearly all of its pieces in its one pass; else the
bytes are read once more here.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Mapping
from pathlib import Path

from weightshare.content.digests import BUFFER
from weightshare.errors import CheckpointError
from weightshare.manifest.v1_info import V1Info
from weightshare.progress import Observer, Phase, Progress, ignore
from weightshare.units import MIB

_SHA1 = 20
_REPORT_EVERY = 64 * MIB


def read_pieces(info: V1Info, places: Mapping[str, Path], observe: Observer = ignore) -> bytes:
    """The SHA-1 of every piece of a torrent, from its files on disk, one after the other.

    Args:
        info: the torrent.
        places: where each file lies, by its path.
        observe: told how far it is.

    Raises:
        CheckpointError: a file is shorter than the torrent says.
        OSError: a file cannot be read.
    """
    made = bytearray()
    sha1, left = hashlib.sha1(usedforsecurity=False), info.piece_length
    view = memoryview(mmap.mmap(-1, BUFFER))
    done, total = 0, info.size

    def take(data: memoryview | bytes) -> None:
        nonlocal sha1, left
        while len(data):
            part = data[:left]
            sha1.update(part)
            left -= len(part)
            data = data[len(part) :]
            if not left:
                made.extend(sha1.digest())
                sha1, left = hashlib.sha1(usedforsecurity=False), info.piece_length

    for entry in info.entries:
        if entry.pad:
            for at in range(0, entry.size, BUFFER):
                take(bytes(min(BUFFER, entry.size - at)))
            continue
        missing = entry.size
        with places[entry.path].open("rb", buffering=0) as file:
            while missing:
                count = file.readinto(view[: min(missing, BUFFER)])
                if not count:
                    raise CheckpointError(f"{entry.path}: the file changed: it ends early.", path=entry.path)
                take(view[:count])
                missing -= count
                done += count
                if done % _REPORT_EVERY < count:
                    observe(Progress(Phase.HASHING, done, total))
    if left != info.piece_length:
        made.extend(sha1.digest())
    return bytes(made)


def bad_pieces(info: V1Info, found: bytes) -> list[tuple[int, tuple[str, ...]]]:
    """The pieces that are not as the torrent has them, each with the files that it lies in.

    Args:
        info: the torrent.
        found: SHA-1 of each piece, as on disk.
    """
    count = len(info.pieces) // _SHA1
    bad = [
        piece
        for piece in range(count)
        if found[piece * _SHA1 : (piece + 1) * _SHA1] != info.pieces[piece * _SHA1 : (piece + 1) * _SHA1]
    ]
    return [(piece, files_of(info, piece)) for piece in bad]


def files_of(info: V1Info, piece: int) -> tuple[str, ...]:
    """The files that have bytes in a piece."""
    begin, end = piece * info.piece_length, (piece + 1) * info.piece_length
    found: list[str] = []
    at = 0
    for entry in info.entries:
        if entry.size and not entry.pad and at < end and at + entry.size > begin:
            found.append(entry.path)
        at += entry.size
    return tuple(found)


def aligned_for_twin(info: V1Info, piece_length: int) -> bool:
    """Whether the pieces are those that `hash_files` makes for a v1 twin with pieces of this length."""
    return not info.padded and info.piece_length == piece_length
