"""Slots: a little memory that proving processes read into and hash, and that is copied from here.

What is copied is what was hashed: a process does not touch a slot again before it is asked to. The memory belongs to
no file, so that nobody else has it; Linux alone lends such memory to a process by a descriptor.
"""

from __future__ import annotations

import ctypes
import mmap
import os

from weightshare.units import MIB

MOST = 128 * MIB
"""Bytes of all slots together."""


class Slots:
    """Shared memory for some processes, `depth` slots of `size` bytes each."""

    def __init__(self, size: int, depth: int, processes: int) -> None:
        """Make slots for at most so many processes, and at least for one."""
        self._size = size
        self._depth = depth
        self.processes = max(1, min(processes, MOST // (size * depth)))
        total = size * depth * self.processes
        self.fd = os.memfd_create("weightshare-slots", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.fd, total)
            self._memory = mmap.mmap(self.fd, total)
        except BaseException:
            os.close(self.fd)
            raise
        self._held = (ctypes.c_char * total).from_buffer(self._memory)
        self._address = ctypes.addressof(self._held)

    @staticmethod
    def possible() -> bool:
        """Whether this system has memory that is lent by a descriptor."""
        return hasattr(os, "memfd_create")

    def of(self, process: int) -> list[int]:
        """Where one process's slots begin, in bytes into the memory."""
        return [(process * self._depth + i) * self._size for i in range(self._depth)]

    def copy(self, slot: int, address: int, length: int) -> None:
        """Copy the first `length` bytes of a slot to an address, other threads running meanwhile."""
        if not 0 <= length <= self._size:
            raise ValueError(f"a slot has {self._size} bytes, asked for {length}")
        ctypes.memmove(address, self._address + slot, length)

    def close(self) -> None:
        """Give the memory back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            del self._held
            self._memory.close()
