"""What becomes of a program that touches a mapped tensor whose bytes are gone: a message, and not a death by SIGBUS.

When somebody cuts a mapped file short, or its disk fails, the next touch of the missing page raises SIGBUS in the very
instruction. Python's own signal handlers run between instructions of the interpreter, so they never come to it. Here
a handler is set in the C library, as a callback of ctypes: it runs in the thread that faulted, looks whether the
address belongs to one of our mappings, and if so has an error reported and ends the process. Any other SIGBUS is
given back to whatever handled it before.

Nothing can be carried on with: the page is gone, and whoever asked for it gets no other. So this is for programs, and
only on their word: a library must not take a signal that it was not given. `arm` is called by the command line.

What makes it sound to run Python there: a page of a tensor is only ever touched by code that computes with tensors or
copies bytes, never in the midst of the interpreter's or the allocator's own bookkeeping; and such code either holds
the interpreter lock itself or, as torch and numpy do for all that takes long, has let go of it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from weightshare.errors import CorruptError, DiskError, WeightshareError
from weightshare.load.opened import REPAIR, OpenFile

PATIENCE = 5.0
"""Seconds that a report may take before the process ends without one."""

_SIGINFO = 4  # SA_SIGINFO: the handler is told the address
_ADDRESS_AT = 16  # bytes into siginfo_t, on 64-bit Linux

Report = Callable[[WeightshareError], int]
"""Tells the user of an error and returns the exit status. It runs where a page was missing: it must touch no tensor."""


class _Action(ctypes.Structure):
    """The C library's `struct sigaction` on 64-bit Linux."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_byte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

_mappings: dict[int, tuple[int, str, Path, int]] = {}  # where it begins: where it ends, path, location, bytes
_armed: list[object] = []  # what the C library points at must not go away


def watch(address: int, file: OpenFile) -> Callable[[], None]:
    """Remember that a file is mapped at an address, to name it if a page of it goes missing; returns how to forget."""
    entry = (address + file.entry.size, file.path, file.location, file.entry.size)
    _mappings[address] = entry

    def forget() -> None:
        if _mappings.get(address) is entry:  # and no later mapping at the same place
            del _mappings[address]

    return forget


def arm(report: Report) -> bool:
    """From now on, end the process with a report when a page of a mapped shard is missing.

    Args:
        report: tells of the error: CorruptError for a file that was cut short, DiskError for one that cannot be read.

    Returns:
        Whether that can be done here: on Linux with 64-bit processors.
    """
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    before = _Action()
    first = threading.Lock()

    def handle(_number: int, info: int, _context: int) -> None:
        address = ctypes.c_uint64.from_address(info + _ADDRESS_AT).value
        error = error_at(address)
        if error is None:  # none of ours: faults again, and means what it meant before
            libc.sigaction(signal.SIGBUS, ctypes.byref(before), None)
            return
        if not first.acquire(blocking=False):  # several threads compute with a tensor: one of them tells
            threading.Event().wait()
        # A lock that the faulting thread holds could keep the report from ever ending.
        timer = threading.Timer(PATIENCE, os._exit, (error.exit_code,))
        timer.daemon = True
        timer.start()
        status = error.exit_code
        try:
            status = report(error)
        finally:
            os._exit(status)

    handler = _Handler(handle)
    action = _Action(ctypes.cast(handler, ctypes.c_void_p).value, flags=_SIGINFO)
    if libc.sigaction(signal.SIGBUS, ctypes.byref(action), ctypes.byref(before)):
        return False
    _armed[:] = [handler, before]
    return True


def error_at(address: int) -> CorruptError | DiskError | None:
    """What a fault at an address means; None if it lies in no mapping that is watched."""
    ours = [(begin, what) for begin, what in list(_mappings.items()) if begin <= address < what[0]]
    if not ours:
        return None
    begin, (_, path, location, size) = ours[0]
    try:
        found = location.stat().st_size
    except OSError:
        found = None
    if found is not None and found >= size:
        return DiskError(
            f"{path}: byte {address - begin} cannot be read any more.",
            hint="The disk reports a fault. Check it, then repair the release.",
            path=str(location),
        )
    now = "it is gone" if found is None else f"it had {size} bytes, now it has {found}"
    return CorruptError(
        f"{path}: changed while it was used: {now}.",
        hint=REPAIR,
        path=path,
        pieces=[],
        tensors=[],
        expected=size,
        found=found,
    )
