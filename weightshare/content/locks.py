"""A lock on a file, held by one process at a time and let go by the system when that process ends, however it ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from weightshare.errors import DiskError, StoreLockedError

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


@contextmanager
def exclusive(path: Path, what: str, *, passing: bool = False) -> Iterator[None]:
    """Hold the lock at `path`. Where the file system knows no locks, nothing is held.

    Args:
        path: the file; it and its folder are made if absent.
        what: what is worked on, for the message.
        passing: remove the file afterwards, and its folder if that is empty then.

    Raises:
        StoreLockedError: another process holds it; the message names `what` and that process.
        DiskError: the file cannot be opened.
    """
    handle = _open(path)
    try:
        while not _take(handle) or not _is_at(handle, path):
            if not _is_at(handle, path):  # whoever held it has removed it meanwhile
                gone, handle = handle, _open(path)
                os.close(gone)
                continue
            owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() if os.name != "nt" else ""
            raise StoreLockedError(
                f"Another process{f' ({owner})' if owner else ''} is working on {what}.",
                hint="Wait until it is done, or end it; its lock ends with it.",
                path=str(path),
                pid=int(owner) if owner.isdigit() else None,
            )
        os.ftruncate(handle, 0)
        with suppress(OSError):  # a full disk: then nobody learns who holds it
            os.write(handle, str(os.getpid()).encode())
        try:
            yield
        finally:
            if passing and _is_at(handle, path):
                _remove(path)
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DiskError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Check the disk and the folder's permissions, or name another place.",
            path=str(path),
        ) from error


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def _remove(path: Path) -> None:
    with suppress(OSError):  # Windows keeps what is open; a folder may hold more
        path.unlink()
        path.parent.rmdir()


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
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        return True
