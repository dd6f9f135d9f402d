"""The staging folder of a fetch: held by one process at a time, removed when nothing in it is waited for."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from weightshare.content.locks import exclusive
from weightshare.errors import DiskError, StoreLockedError


def staging_lock(staging: Path, what: str) -> AbstractContextManager[None]:
    """Hold a staging folder for one process, whoever's: two users may fetch into one folder, each with their own store.

    Raises:
        StoreLockedError: another process holds it.
        DiskError: the folder cannot be written.
    """
    return exclusive(_lock_of(staging), what, passing=True)


def clear_staging(staging: Path) -> None:
    """Remove a staging folder, and the folder around it if that is empty then."""
    shutil.rmtree(staging, ignore_errors=True)
    if _lock_of(staging).exists():  # left behind by a process that was killed, or held by us
        with suppress(StoreLockedError, DiskError), staging_lock(staging, staging.name):
            pass
    with suppress(OSError):  # another release may be staged there
        staging.parent.rmdir()


def clear_leftover(staging: Path) -> None:
    """Remove the staging folder of what is whole, and its lock: a process was killed before it could.

    Not one that is in use.
    """
    if staging.parent.exists():
        with suppress(StoreLockedError, DiskError), staging_lock(staging, staging.name):
            shutil.rmtree(staging, ignore_errors=True)


def _lock_of(staging: Path) -> Path:
    return staging.with_name(f"{staging.name}.lock")
