"""Gives proven files their final names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from weightshare.content.receipts import Receipt
from weightshare.errors import DiskError
from weightshare.files import sync_folder
from weightshare.manifest.metainfo import TreeFile

_FILE_MODE = 0o444

GiveName = Callable[[TreeFile, Path, Path], None]
"""Gives a proven file its final name: what it is in the release, where it lies, and where it must be found."""


def rename(_: TreeFile, source: Path, target: Path) -> None:
    """The plain way: the file itself goes where it must be found.

    Raises:
        OSError: the disk refused.
    """
    source.replace(target)


def put_in_place(
    files: Sequence[tuple[TreeFile, Path]], destination: Path, give: GiveName = rename
) -> dict[str, Receipt]:
    """Rename files into a folder, and flush the folders; their bytes are proven and flushed already.

    Args:
        files: what each is in the release, and where it lies; an empty one is made.
        destination: the release's folder, on the same file system.
        give: how.

    Returns:
        Receipts by release path.

    Raises:
        DiskError: the disk refused; files already in place are proven, the others are where they were.
    """
    receipts = {}
    touched = {destination}
    for file, source in files:
        target = destination / file.path
        try:
            if target.parent not in touched:
                target.parent.mkdir(parents=True, exist_ok=True)
            if not file.size:
                source.parent.mkdir(parents=True, exist_ok=True)
                source.touch()
            source.chmod(_FILE_MODE)
            give(file, source, target)
            receipts[file.path] = Receipt.of(target, file.pieces_root)
        except OSError as error:
            raise refused(target, error) from error
        folder = target.parent
        while folder not in touched:
            touched.add(folder)
            folder = folder.parent
    for folder in touched:
        sync_folder(folder)
    return receipts


def refused(target: Path, error: OSError) -> DiskError:
    """What to tell the user of a file that could not be given its name."""
    return DiskError(
        f"{target} could not be put in place: {error.strerror or error}.",
        hint="Everything is kept; mend the disk or the folder's permissions and run the same command.",
        path=str(target),
    )
