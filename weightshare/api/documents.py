"""Small files that people pass to each other: manifests, root files, countersignatures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weightshare.errors import DiskError, FileInTheWayError, IntegrityError, TrustError, UsageError
from weightshare.files import write_atomically


def read_document(path: Path, limit: int, *, hint: str) -> bytes:
    """A file that the user named, no more of it than `limit` bytes and one, so that a larger one is noticed.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.expanduser().open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.", hint=hint) from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Begin the message of whatever is wrong with a file's content with the file's name."""
    try:
        yield
    except (IntegrityError, TrustError) as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint, **error.facts) from error


def write_document(path: Path, data: bytes) -> None:
    """Write a file in one step, over what is there.

    Raises:
        DiskError: it cannot be written.
    """
    try:
        write_atomically(path, data)
    except OSError as error:
        raise DiskError(f"{path} could not be written: {error.strerror or error}.", path=str(path)) from error


def check_free(path: Path) -> None:
    """Refuse to write over a file in which signatures may have been gathered.

    Raises:
        FileInTheWayError: there is one.
    """
    if path.exists() or path.is_symlink():
        raise FileInTheWayError(
            f"{path} is there already, perhaps with signatures in it.",
            hint="Move it away, or name another folder with --out.",
            path=str(path),
        )
