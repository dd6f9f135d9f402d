"""Reading ahead of whoever hashes: asking the kernel for bytes that are not in its cache before they are touched.

A mapping that is read by page faults alone reads a cold disk at under half its speed, and a reader that hashes between
two reads leaves the disk idle meanwhile. Bytes that are in the cache already are left alone: asking for them again
costs about as much as mapping them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock, Thread

from weightshare.load.opened import OpenFile
from weightshare.load.proof import Stretch
from weightshare.units import MIB

AHEAD = 48 * MIB
"""Bytes asked for before they are needed: a few milliseconds' work of the fastest disks, for each of some readers."""


class ReadAhead:
    """Asks for stretches in their order, some way ahead of those that are taken; for several threads."""

    def __init__(self, files: Sequence[OpenFile], stretches: Sequence[Stretch]) -> None:
        self._files = files
        self._stretches = stretches
        self._lock = Lock()
        self._next = 0
        self._ahead = 0  # bytes asked for and not taken yet

    def taken(self, count: int) -> None:
        """Another `count` bytes are being read; ask for those that lie far enough ahead of them."""
        wanted: list[Stretch] = []
        with self._lock:
            self._ahead = max(0, self._ahead - count)
            while self._ahead < AHEAD and self._next < len(self._stretches):
                wanted.append(self._stretches[self._next])
                self._ahead += wanted[-1].length
                self._next += 1
        for stretch in wanted:
            ask(self._files[stretch.shard].fd, stretch.offset, stretch.length)


def ask(fd: int, offset: int, length: int) -> None:
    """Ask the kernel to read a range of a file, unless it seems to have it. Harmless where it cannot be asked."""
    if hasattr(os, "posix_fadvise") and not _cached(fd, offset, length):
        with suppress(OSError):
            os.posix_fadvise(fd, offset, length, os.POSIX_FADV_WILLNEED)


def read_in_background(files: Sequence[OpenFile], stretches: Sequence[Stretch]) -> None:
    """Ask for stretches that nobody hashes, so that whoever touches them first need not wait for single pages."""
    if not stretches:
        return
    files = list(files)
    fds = {shard: os.dup(files[shard].fd) for shard in {stretch.shard for stretch in stretches}}

    def read() -> None:
        try:
            for stretch in stretches:
                ask(fds[stretch.shard], stretch.offset, stretch.length)
        finally:
            for fd in fds.values():
                os.close(fd)

    Thread(target=read, name="weightshare-read-ahead", daemon=True).start()


def _cached(fd: int, offset: int, length: int) -> bool:
    """Whether a range seems to be in the page cache, by its first, its middle and its last byte."""
    if sys.platform != "linux":
        return False
    byte = bytearray(1)
    try:
        for place in (offset, offset + length // 2, offset + length - 1):
            os.preadv(fd, [byte], place, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:  # a file system in memory, or one that cannot say
        return False
    return True
