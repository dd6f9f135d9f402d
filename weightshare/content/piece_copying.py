"""Copies a part of one file into another, as cheaply as the file system allows.

A reflink shares the blocks until one side is written to; `copy_file_range` lets the kernel, or the server of a network
drive, do the work; reading and writing is what is left. The bytes are not looked at: whoever uses them proves them.
"""

from __future__ import annotations

import os
import struct
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from stat import S_ISREG
from types import TracebackType
from typing import Self

from weightshare.units import MIB

_FICLONERANGE = 0x4020940D  # linux/fs.h: share blocks of one file with another
_CLONE = struct.Struct("=qQQQ")
_BUFFER = MIB
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class SourceLostError(Exception):
    """The file that was to be copied from is gone, shorter than it was, or cannot be read."""


class Copier:
    """Copies parts of one file into another; a context.

    Args:
        source: opened for reading only; links are followed.
        target: made if absent, in a folder that exists.
        size: bytes that the target is going to have; it gets this length at once, with holes.

    Raises:
        SourceLostError: the source is no regular file, or cannot be opened.
        OSError: the target cannot be.
    """

    def __init__(self, source: Path, target: Path, size: int) -> None:
        self._clones = sys.platform == "linux"
        self._ranges = hasattr(os, "copy_file_range")
        with ExitStack() as stack:
            try:
                # Whatever a stranger puts in its place, a pipe for instance, opening must not wait for it.
                self._source = os.open(source, os.O_RDONLY | _BINARY | getattr(os, "O_NONBLOCK", 0))
            except OSError as error:
                raise SourceLostError(str(error)) from error
            stack.callback(os.close, self._source)
            if not S_ISREG(os.fstat(self._source).st_mode):
                raise SourceLostError(f"{source} is no regular file")
            self._target = os.open(
                target, os.O_RDWR | os.O_CREAT | _BINARY | getattr(os, "O_NOFOLLOW", 0), 0o644
            )
            stack.callback(os.close, self._target)
            if os.fstat(self._target).st_size < size:
                os.ftruncate(self._target, size)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def copy(self, offset: int, at: int, length: int) -> None:
        """Copy `length` bytes from `offset` in the source to `at` in the target.

        Raises:
            SourceLostError: they cannot be read, or are not there.
            OSError: they cannot be written.
        """
        if self._clones and _clone(self._source, offset, self._target, at, length):
            return
        self._clones = False
        done = self._let_kernel(offset, at, length) if self._ranges else 0
        self._ranges = self._ranges and done == length
        self._by_hand(offset + done, at + done, length - done)

    def _let_kernel(self, offset: int, at: int, length: int) -> int:
        done = 0
        with suppress(OSError):  # another file system, an old kernel; or a full disk, which writing will say
            while done < length:
                count = os.copy_file_range(
                    self._source, self._target, length - done, offset + done, at + done
                )
                if not count:
                    break
                done += count
        return done

    def _by_hand(self, offset: int, at: int, length: int) -> None:
        os.lseek(self._target, at, os.SEEK_SET)
        while length:
            try:
                os.lseek(self._source, offset, os.SEEK_SET)
                data = os.read(self._source, min(_BUFFER, length))
            except OSError as error:
                raise SourceLostError(str(error)) from error
            if not data:
                raise SourceLostError("it is shorter than it was")
            offset += len(data)
            length -= len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(self._target, view) :]


def shares_blocks(source: Path, folder: Path, length: int) -> bool:
    """Whether a new file in `folder` can share the first `length` bytes of `source`; nothing is left there.

    Args:
        source: a file.
        folder: a folder that exists.
        length: bytes, a multiple of the block length.
    """
    if sys.platform != "linux":
        return False
    trial = folder / f".reflink-{os.getpid()}"
    try:
        with Copier(source, trial, 0) as copier:
            return _clone(copier._source, 0, copier._target, 0, length)
    except (OSError, SourceLostError):
        return False
    finally:
        trial.unlink(missing_ok=True)


def _clone(source: int, offset: int, target: int, at: int, length: int) -> bool:
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONERANGE, _CLONE.pack(source, offset, length, at))
    except OSError:  # another file system, one that cannot, or a part that is not a row of its blocks
        return False
    return True
