"""A disk that fills up on the way: which failures are that and no other, how much is missing, and when to try again.

Too little space is somebody's work of a minute, so the transfer pauses and goes on by itself. Any other refusal of the
disk (EIO, EROFS, EACCES) ends the fetch at once: no waiting mends it.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

from weightshare.errors import DiskError, NoSpaceError, StoreError
from weightshare.swarm.alerts import FileFailed
from weightshare.swarm.reasons import Shortage
from weightshare.units import MIB

_LOOK_EVERY = 1.0
_FIRST_TRY, _LONGEST_TRY = 2.0, 30.0
_RESERVE = MIB  # beside the files: the folder's own growth, and what others write in between
_KEPT = "What arrived is kept: the same command resumes."

Free = Callable[[Path], int]
"""Bytes free on the file system of a path."""


def free_space(path: Path) -> int:
    """Bytes free for us on the file system of a path; a path that is not there is looked for further up.

    Raises:
        OSError: it cannot be told.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def is_full(event: FileFailed) -> bool:
    """Whether the disk refused for want of space, or of quota."""
    return event.code in (errno.ENOSPC, errno.EDQUOT) or "no space" in event.reason.lower()


def disk_error(event: FileFailed) -> StoreError:
    """The error for a disk that refused, where that is the end."""
    if event.code == errno.EDQUOT:
        return NoSpaceError(
            f"The disk quota is used up: {event.path}.", hint=f"Make space. {_KEPT}", path=event.path
        )
    if is_full(event):
        return NoSpaceError(
            f"The disk is full: {event.path or 'a file'} could not be written.",
            hint=f"Make space. {_KEPT}",
            path=event.path,
        )
    return DiskError(
        f"The disk refused {event.path or 'a file'}: {event.reason}.", hint=_KEPT, path=event.path
    )


class DiskWait:
    """Waits for space; the clock and the look at the disk are passed in.

    Args:
        path: the file that could not be written.
        now: when that was.
        free: tells the space that is free.
        tries: how often the disk was tried in vain already since anything was written.
    """

    def __init__(self, path: Path, now: float, free: Free, tries: int = 0) -> None:
        self._path = path
        self._free = free
        self._looked = float("-inf")
        self._last: Shortage | None = None
        self._short = False
        self._retry = now + min(_FIRST_TRY * 2**tries, _LONGEST_TRY)

    def shortage(self, remaining: int, now: float) -> Shortage:
        """How it stands, looked at once a second at most, when so many bytes are still to be written."""
        if self._last is None or now - self._looked >= _LOOK_EVERY:
            self._looked = now
            needed = remaining + _RESERVE
            try:
                found = self._free(self._path)
            except OSError:
                found = 0  # the folder is away too
            self._last = Shortage(str(self._path), needed, found)
            self._short = self._short or bool(self._last.missing)
        return self._last

    def made(self) -> bool:
        """Whether space was missing, and is there now, by the last look."""
        return self._short and self._last is not None and not self._last.missing

    def worth_a_try(self, now: float) -> bool:
        """Whether to go on: space was made, or the file system says that there is some and it is time to see.

        It says so where a quota is the limit, or where there is room for what is left but not for one large write.
        """
        return self.made() or (self._last is not None and not self._last.missing and now >= self._retry)
