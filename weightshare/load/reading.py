"""Bytes of an open file into memory that is there already."""

from __future__ import annotations

import os
import threading

from weightshare.errors import CorruptError, DiskError
from weightshare.load.opened import REPAIR, OpenFile


def read_into(file: OpenFile, view: memoryview, offset: int) -> None:
    """Fill `view` with a file's bytes from `offset` on.

    Raises:
        CorruptError: the file ends before that. Facts: `path`, `expected`, `found`.
        DiskError: the system cannot read it.
    """
    done = 0
    while done < len(view):
        try:
            count = _read_at(file.fd, view[done:], offset + done)
        except OSError as error:
            raise DiskError(
                f"{file.path}: cannot be read: {error.strerror}.",
                hint="The disk reports a fault. Check it, then repair the release.",
                path=str(file.location),
            ) from error
        if not count:
            found = os.fstat(file.fd).st_size
            raise CorruptError(
                f"{file.path}: changed while it was read: expected {file.entry.size} bytes, found {found}.",
                hint=REPAIR,
                path=file.path,
                pieces=[],
                expected=file.entry.size,
                found=found,
            )
        done += count


if hasattr(os, "preadv"):

    def _read_at(fd: int, view: memoryview, offset: int) -> int:
        return os.preadv(fd, [view], offset)

else:  # Windows has one position a descriptor, so threads take turns at it
    _turn = threading.Lock()

    def _read_at(fd: int, view: memoryview, offset: int) -> int:
        with _turn:
            os.lseek(fd, offset, os.SEEK_SET)
            data = os.read(fd, len(view))
        view[: len(data)] = data
        return len(data)
