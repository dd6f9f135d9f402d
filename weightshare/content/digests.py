"""All digests of some bytes in one read: whole-file SHA-256, BitTorrent v2 leaves and v1 pieces.

Runs inside the worker processes, so it imports next to nothing. Bytes are read into one small buffer that is
used again and again: every digest but the first finds them in the CPU's cache, and memory stays flat.
"""

from __future__ import annotations

import errno
import hashlib
import io
import mmap
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from weightshare.content.schedule import Job
from weightshare.manifest import merkle
from weightshare.units import BLOCK, KIB

BUFFER = 512 * KIB
"""Bytes read at a time: fits a core's second-level cache, and a system call per 512 KiB costs nothing."""

Stamp = tuple[int, int, int, int]
"""Device, inode, size and modification time in nanoseconds: what must not change while a file is read."""

_ZEROS = bytes(BUFFER)


class ChangedError(Exception):
    """A file is not, or no longer, the one that was to be read."""


class Digests(NamedTuple):
    """What came of a job. Travels from a worker as a plain tuple.

    Attributes:
        layer: piece hashes (32 bytes each) of the bytes read; of a file no longer than a piece, its root.
        v1: SHA-1 of each piece (20 bytes each), the last one filled with zeros.
        v1_last_unpadded: SHA-1 of the file's last piece as it is; empty if it is not among the bytes read.
        twin: SHA-1 of the pieces of a v1 twin that lie wholly in the file and end in the bytes read.
        sha256: of the whole file; empty until its last byte is read.
        stamp: of the file.
    """

    layer: bytes
    v1: bytes
    v1_last_unpadded: bytes
    twin: bytes
    sha256: bytes
    stamp: Stamp


@dataclass(slots=True)
class _Chain:
    """The sequential state of a file that this worker owns."""

    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)
    sha1: hashlib._Hash = field(default_factory=hashlib.sha1)
    fill: int = 0  # bytes in `sha1`


@dataclass(slots=True)
class _Row:
    """Hashes that a job has collected."""

    layer: list[bytes] = field(default_factory=list)
    v1: list[bytes] = field(default_factory=list)
    v1_last_unpadded: bytes = b""
    twin: list[bytes] = field(default_factory=list)


class Hasher:
    """Does jobs one after the other; keeps the chains of the files it owns, and one file open."""

    def __init__(self, piece_length: int, *, v1: bool) -> None:
        self._piece_length = piece_length
        self._v1 = v1
        # An anonymous mapping begins on a page: on AMD Zen 3, the kernel's copy into a buffer that begins 16
        # bytes off, as a bytearray does, is four times slower (1.7 instead of 7.5 GB/s).
        self._view = memoryview(mmap.mmap(-1, BUFFER))
        self._blocks = [self._view[i : i + BLOCK] for i in range(0, BUFFER, BLOCK)]
        self._chains: dict[int, _Chain] = {}
        self._path = ""
        self._file: io.FileIO | None = None

    def run(self, job: Job) -> Digests:
        """Read a job's bytes and digest them.

        Raises:
            ChangedError: the file is another, or has another size, than when it was listed.
            OSError: it cannot be read.
        """
        try:
            return self._run(job)
        except BaseException:
            self._chains.pop(job.file, None)
            self.close()
            raise

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
        self._file, self._path = None, ""

    def _run(self, job: Job) -> Digests:
        file = self._open(job.path)
        stamp = _stamp(file, job)
        file.seek(job.offset)
        if job.whole:
            _read_ahead(file, job)
        chain = self._chains.setdefault(job.file, _Chain()) if job.whole else None
        row = _Row()
        self._digest(file, job, chain, row)
        if _stamp(file, job) != stamp:
            raise ChangedError("it was written to while it was read")
        sha256 = b""
        if job.offset + job.length == job.size:
            self.close()
            if chain is not None:
                sha256 = chain.sha256.digest()
                del self._chains[job.file]
        return Digests(
            b"".join(row.layer), b"".join(row.v1), row.v1_last_unpadded, b"".join(row.twin), sha256, stamp
        )

    def _open(self, path: str) -> io.FileIO:
        if self._file is None or path != self._path:
            self.close()
            self._file, self._path = Path(path).open("rb", buffering=0), path  # noqa: SIM115
        return self._file

    def _digest(self, file: io.FileIO, job: Job, chain: _Chain | None, row: _Row) -> None:
        step = min(BUFFER, self._piece_length)
        leaves: list[bytes] = []
        sha1 = hashlib.sha1()  # noqa: S324
        position, end = job.offset, job.offset + job.length
        while position < end:
            view = self._view[: min(BUFFER, end - position)]
            _fill(file, view)
            if chain is not None:
                chain.sha256.update(view)
                if job.twin >= 0:
                    self._twin(chain, job.twin - position, view, row.twin)
            if not job.pieces:
                position += len(view)
                continue
            for start in range(0, len(view), step):
                part = view[start : start + step]
                leaves += self._leaves(start, len(part))
                if self._v1:
                    sha1.update(part)
                position += len(part)
                if position % self._piece_length == 0 or position == end:
                    self._close_piece(leaves, sha1, job, position, row)
                    leaves = []
                    sha1 = hashlib.sha1()  # noqa: S324

    def _leaves(self, start: int, length: int) -> list[bytes]:
        """Leaves of the buffer from `start`, a multiple of the block length."""
        sha256 = hashlib.sha256
        first, full = start // BLOCK, length // BLOCK
        leaves = [sha256(block).digest() for block in self._blocks[first : first + full]]
        if length % BLOCK:
            leaves.append(sha256(self._view[start + full * BLOCK : start + length]).digest())
        return leaves

    def _close_piece(self, leaves: list[bytes], sha1: hashlib._Hash, job: Job, end: int, row: _Row) -> None:
        width = self._piece_length // BLOCK if job.size > self._piece_length else None
        row.layer.append(merkle.root_of(leaves, width=width))
        if not self._v1:
            return
        if end == job.size:
            row.v1_last_unpadded = sha1.digest()
            missing = -end % self._piece_length
            while missing > 0:
                sha1.update(_ZEROS[:missing] if missing < BUFFER else _ZEROS)
                missing -= BUFFER
        row.v1.append(sha1.digest())

    def _twin(self, chain: _Chain, first: int, view: memoryview, out: list[bytes]) -> None:
        """Carry the twin's pieces over the buffer; the first one begins at `first` in it, or before it."""
        position = max(0, first)
        while position < len(view):
            part = view[position : position + self._piece_length - chain.fill]
            chain.sha1.update(part)
            chain.fill += len(part)
            position += len(part)
            if chain.fill == self._piece_length:
                out.append(chain.sha1.digest())
                chain.sha1, chain.fill = hashlib.sha1(), 0  # noqa: S324


def piece_hash(path: str | Path, offset: int, length: int, piece_length: int) -> bytes:
    """The Merkle root over one piece of a file, as it stands in the file's piece layer.

    Args:
        path: the file.
        offset: where the piece begins, in bytes.
        length: its bytes in the file; fewer than `piece_length` at the file's end.
        piece_length: bytes the tree is padded to: see `tree_length`.

    Raises:
        OSError: the file cannot be read, or ends before the piece does (EIO).
    """
    leaves: list[bytes] = []
    view = _scratch()
    with io.FileIO(path) as file:
        file.seek(offset)
        while length > 0:
            part = view[: min(BUFFER, length)]
            try:
                _fill(file, part)
            except ChangedError as error:
                raise OSError(errno.EIO, str(error), str(path)) from None
            leaves += merkle.leaves_of(part)
            length -= len(part)
    return merkle.root_of(leaves, width=piece_length // BLOCK)


@cache
def _scratch() -> memoryview:
    """One buffer a process for `piece_hash`, from one thread: fresh memory for each piece costs half a hash of it."""
    return memoryview(mmap.mmap(-1, BUFFER))


def tree_length(size: int, piece_length: int) -> int:
    """Bytes that the tree over one piece of a file is padded to.

    A file longer than a piece has trees of a whole piece each; the tree of a shorter one, whose root is the
    file's `pieces root`, is as wide as the next power of two blocks (BEP 52).
    """
    if size > piece_length:
        return piece_length
    blocks = max(1, -(-size // BLOCK))
    return BLOCK << (blocks - 1).bit_length()


def _fill(file: io.FileIO, view: memoryview) -> None:
    while len(view):
        count = file.readinto(view)
        if not count:
            raise ChangedError("the file ends early")
        view = view[count:]


def _stamp(file: io.FileIO, job: Job) -> Stamp:
    found = os.fstat(file.fileno())
    if found.st_size != job.size:
        raise ChangedError(f"it has {found.st_size} bytes, expected {job.size}")
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read_ahead(file: io.FileIO, job: Job) -> None:
    """Have the disk fetch the next segment while this one is hashed."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), job.offset + job.length, job.length, os.POSIX_FADV_WILLNEED)
