"""The file of pins on the disk: its lock, and the teams' roots that lie beside it in `roots/NAME/N.root.json`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from weightshare.errors import PinError, StoreError, StoreLockedError, TeamRootError, WeightshareError
from weightshare.files import write_atomically
from weightshare.trust.pins import Pin
from weightshare.trust.teams import as_team
from weightshare.units import MAX_ROOTS

_LOCK_WAIT = 10.0


_LOCK_RETRY = 0.02


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file of pins.

    Raises:
        StoreError: it cannot be locked.
        StoreLockedError: another process does not let go of it.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be locked: {error.strerror}.") from error
    try:
        deadline = time.monotonic() + _LOCK_WAIT
        while not _take(descriptor):
            if time.monotonic() > deadline:
                raise StoreLockedError(
                    f"Another process has been changing {path} for {_LOCK_WAIT:.0f} s.",
                    hint="Find out which one hangs, and end it; its lock ends with it.",
                    path=str(path),
                )
            time.sleep(_LOCK_RETRY)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def with_roots(pin: Pin, folder: Path) -> Pin:
    """The pin with its team, read from the roots that were proven when they were written.

    Raises:
        StoreError: they cannot be read.
    """
    if not pin.root:
        return pin
    newest = folder / pin.root
    version = int(newest.name.partition(".")[0])
    try:
        if version > MAX_ROOTS:
            raise TeamRootError(f"{version} roots are more than {MAX_ROOTS}.")
        files = tuple(
            (newest.parent / f"{number}.root.json").read_bytes() for number in range(1, version + 1)
        )
        return replace(pin, team=as_team(pin.fingerprint, files))
    except (OSError, TeamRootError, PinError) as error:
        reason = (
            error.message if isinstance(error, WeightshareError) else f"{error.filename}: {error.strerror}"
        )
        raise StoreError(
            f"The roots of the team {pin.name} cannot be read: {reason}",
            hint=f"Remove the team and pin it anew: weightshare trust remove {pin.name}",
            path=str(newest),
        ) from error


def write_roots(pin: Pin, folder: Path) -> None:
    """Write the roots of the pin's team, those that are not there yet.

    Raises:
        OSError: the disk refuses.
    """
    if pin.team is None:
        return
    place = (folder / pin.root).parent
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for root in pin.team.chain:
        target = place / f"{root.version}.root.json"
        if not target.exists() or target.read_bytes() != root.raw:
            write_atomically(target, root.raw, mode=0o600)
