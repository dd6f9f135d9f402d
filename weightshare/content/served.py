"""The port on which a release is served, for other processes of the same home; a hint, and wrong after a crash."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from weightshare.files import write_atomically

_NAME = "port"


def note_port(folder: Path, port: int) -> None:
    """Say on which port the release of a record's folder is served from now on; not so if the disk refuses."""
    with suppress(OSError):
        write_atomically(folder / _NAME, f"{port}\n".encode())


def port_of(folder: Path) -> int | None:
    """The port that was noted last; only of use while the release's seeding lock is held."""
    try:
        number = int((folder / _NAME).read_text())
    except (OSError, ValueError):
        return None
    return number if 0 < number < 65536 else None
