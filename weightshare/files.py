"""Writing files so that a crash leaves the old content or the new, never half of either; and the room there is."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a file's content in one step: temporary file, fsync, rename, fsync of the folder.

    Args:
        path: the file; its folder must exist.
        data: the new content.
        mode: permission bits of the new file.

    Raises:
        OSError: the disk refused; the old file is untouched.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last; where a system has no such call (Windows), renames last by themselves."""
    if os.name != "nt":
        sync_file(folder)


def sync_file(path: Path) -> None:
    """Make what was written to a file last, whoever wrote it; returns when the disk has it.

    Raises:
        OSError: the disk refused.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free_space(path: Path) -> int:
    """Bytes free for us on the file system that a path lies on, or will lie on.

    Raises:
        OSError: it cannot be told.
    """
    return shutil.disk_usage(existing(path)).free


def existing(path: Path) -> Path:
    """The path, or where it is not there yet the nearest folder around it that is."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
