"""A disk that fills up on the way: which failures are that and no other, how much is missing, and when to try again.

Too little space is somebody's work of a minute, so the transfer pauses and goes on by itself. Any other refusal of the
disk (EIO, EROFS, EACCES) ends the fetch at once: no waiting mends it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from weightshare.errors import DiskError, NoSpaceError, StoreError
from weightshare.swarm.events import FileFailed
from weightshare.swarm.reasons import Shortage
from weightshare.units import MIB

_LOOK_EVERY = 1.0
_FIRST_TRY, _LONGEST_TRY = 2.0, 30.0
_RESERVE = MIB  # beside the files: the folder's own growth, and what others write in between
_KEPT = "What arrived is kept: the same command resumes."

Free = Callable[[Path], int]
"""Bytes free on the file system of a path."""


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


class DiskPause:
    """The pauses of one transfer for want of space. The clock and the look at the disk are passed in.

    Args:
        free: tells the space that is free.

    Attributes:
        patient: whether a full disk is waited for; before the gate it is not.
        made: whether the last pause ended since space was made. Otherwise it ended as it was time to try: the file
            system says that there is room where a quota is the limit, or where it has none for one large write.
    """

    def __init__(self, free: Free) -> None:
        self.patient = False
        self.made = False
        self._free = free
        self._path: Path | None = None
        self._ended = False
        self._looked = self._retry = 0.0
        self._last: Shortage | None = None
        self._short = False  # whether space was missing in this pause
        self._tries = 0

    @property
    def full(self) -> bool:
        """Whether the transfer pauses."""
        return self._path is not None

    def refused(self, event: FileFailed, now: float) -> None:
        """The disk refused a write.

        Raises:
            NoSpaceError, DiskError: it is not waited for.
        """
        if not (self.patient and is_full(event)):
            raise disk_error(event)
        if self._path is None:  # every block that was on its way to the disk fails by itself
            self._path = Path(event.path)
            self._last, self._short = None, False
            self._retry = now + min(_FIRST_TRY * 2**self._tries, _LONGEST_TRY)

    def shortage(self, remaining: int, now: float) -> Shortage | None:
        """How short the disk is, looked at once a second at most; None if it is not, or if it is time to go on.

        Args:
            remaining: bytes still to be written.
            now: seconds.
        """
        if self._path is None:
            return None
        if self._last is None or now - self._looked >= _LOOK_EVERY:
            self._looked = now
            self._last = Shortage(str(self._path), max(0, remaining) + _RESERVE, self._room(self._path))
            self._short = self._short or bool(self._last.missing)
        if self._last.missing or not (self._short or now >= self._retry):
            return self._last
        self.made = self._short
        self._tries = 0 if self.made else self._tries + 1
        self._path, self._ended = None, True
        return None

    def over(self) -> bool:
        """Whether a pause has ended since this was last asked; the engine is to go on then."""
        ended, self._ended = self._ended, False
        return ended

    def _room(self, path: Path) -> int:
        try:
            return self._free(path)
        except OSError:
            return 0  # the folder is away too
