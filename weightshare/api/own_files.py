"""Files that are ours to write and delete: what a fetch keeps for itself, the signed manifest, and what it brought."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from pathlib import Path

from weightshare.content.store import Record
from weightshare.errors import DiskError, NoSpaceError
from weightshare.files import sync_folder, write_atomically
from weightshare.manifest.model import MANIFEST_NAME


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


def prune(root: Path, paths: Sequence[str], below: Path | None = None) -> None:
    """Remove the folders of a release that are empty now.

    Args:
        root: the release's own.
        paths: of its files.
        below: what lies between this folder and the release's is ours too, and goes where it is empty.
    """
    folders = {root, *(folder for folder in root.parents if below in folder.parents)}
    for path in paths:
        folders.update(folder for folder in (root / path).parents if root in folder.parents)
    for folder in sorted(folders, key=lambda place: len(place.parts), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()


def clear_links(record: Record, paths: list[str]) -> None:
    """Remove the links of a release that is forgotten, and what we put beside them.

    Args:
        record: the release, one of files that other programs keep.
        paths: its files, the manifest's own included.
    """
    for path in paths:
        place = record.path / path
        with contextlib.suppress(OSError):
            if place.is_symlink() or path == MANIFEST_NAME or place.stat().st_size == 0:
                place.unlink()
