"""Files that are ours to write and delete: what a fetch keeps for itself, the signed manifest, and what it brought."""

from __future__ import annotations

import errno
from pathlib import Path

from weightshare.errors import DiskError, NoSpaceError
from weightshare.files import sync_folder, write_atomically


def make(folder: Path) -> None:
    """Make a folder, and those around it.

    Raises:
        DiskError, NoSpaceError: the disk refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(folder, error) from error


def write(path: Path, data: bytes) -> None:
    """Replace a file in one step.

    Raises:
        DiskError, NoSpaceError: the disk refused; the old file is untouched.
    """
    try:
        write_atomically(path, data)
    except OSError as error:
        raise _refused(path, error) from error


def place(data: bytes, staged: Path, target: Path) -> None:
    """Write a file by way of the staging folder, so that no half of it is ever beside the release's files.

    Raises:
        DiskError, NoSpaceError: the disk refused.
    """
    try:
        write_atomically(staged, data, mode=0o444)
        staged.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise _refused(target, error) from error


def delete(path: Path) -> int:
    """Delete a file; returns the bytes it had.

    Raises:
        DiskError: it cannot be deleted.
    """
    size = path.stat().st_size
    try:
        path.unlink()
    except OSError as error:
        raise DiskError(
            f"{path} cannot be deleted: {error.strerror or error}.",
            hint="Check the folder's permissions, then run the same command again.",
            path=str(path),
        ) from error
    return size


def _refused(path: Path, error: OSError) -> DiskError | NoSpaceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpaceError(
            f"The disk is full: {path} could not be written.",
            hint="Make space. What arrived is kept: the same command resumes.",
            path=str(path),
        )
    return DiskError(
        f"{path} cannot be written: {error.strerror or error}.",
        hint="Check the disk; the same command resumes.",
        path=str(path),
    )
