"""Brings a file that is on this disk already to another place, as cheaply as the file system allows.

A reflink shares the bytes until one of the two is written to; a hard link shares them for good, so it is made only
between files that nobody is meant to write to; a copy is what is left. The bytes are not looked at: whoever uses
the new file proves it first.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

_FICLONE = 0x40049409  # linux/fs.h: share all blocks of one file with another


class Way(StrEnum):
    """How a file was brought."""

    REFLINK = "reflink"
    LINK = "hard link"
    COPY = "copy"


def bring(source: Path, target: Path, *, may_link: bool) -> Way:
    """Make `target` a file with the bytes of `source`.

    Args:
        source: a regular file.
        target: must not exist; its folder must.
        may_link: whether the two may be one file.

    Raises:
        FileExistsError: there is something at `target`; it is left alone.
        OSError: the source cannot be read, or the disk refuses; nothing is left at `target`.
    """
    if target.exists() or target.is_symlink():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    try:
        if _clone(source, target):
            return Way.REFLINK
        if may_link and _link(source, target):
            return Way.LINK
        shutil.copyfile(source, target, follow_symlinks=False)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return Way.COPY


def _clone(source: Path, target: Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:  # another file system, or one that cannot
            target.unlink()
            return False
    return True


def _link(source: Path, target: Path) -> bool:
    with suppress(OSError):  # another file system, or too many links
        target.hardlink_to(source)
        return True
    return False
