"""A lock on a file, held by one process at a time and let go by the system when that process ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weightshare.errors import StoreLockedError


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at `path`.

    Raises:
        StoreLockedError: another process holds it; the message names `what` and that process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _take(handle):
            owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() if os.name != "nt" else ""
            raise StoreLockedError(
                f"Another process{f' ({owner})' if owner else ''} is working on {what}.",
                hint="Wait until it is done, or end it; its lock ends with it.",
                path=str(path),
                pid=int(owner) if owner.isdigit() else None,
            )
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


if os.name == "nt":
    import msvcrt

    def _take(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True

else:
    import fcntl

    def _take(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
