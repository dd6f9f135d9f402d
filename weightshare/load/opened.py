"""A release's file, opened without following links, its length checked before anything is read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from weightshare.content.walk import hub_blobs
from weightshare.errors import CorruptError, DiskError
from weightshare.manifest.model import FileEntry

REPAIR = "`weightshare verify --repair` fetches what is damaged or missing, and nothing else."

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a named pipe in the file's place must not hang us
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


@dataclass(slots=True)
class OpenFile:
    """An open file of a release.

    Attributes:
        entry: what was signed about it.
        location: where it lies.
        fd: the descriptor, read-only; the owner closes it.
        stamp: (device, inode, size, mtime, ctime) when it was opened, times in ns.
    """

    entry: FileEntry
    location: Path
    fd: int
    stamp: tuple[int, int, int, int, int]

    @property
    def path(self) -> str:
        """The path in the release."""
        return self.entry.path

    def changed(self) -> str:
        """What changed since the file was opened, in words; empty when nothing did."""
        now = _stamp(os.fstat(self.fd))
        if now[2] != self.stamp[2]:
            return f"it had {self.stamp[2]} bytes, now it has {now[2]}"
        return "" if now == self.stamp else "it was written to, or its owner or mode changed"

    def close(self) -> None:
        """Close the descriptor; harmless when it is closed."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


def open_file(
    entry: FileEntry, folder: Path, locations: Mapping[str, Path], *, growing: bool = False
) -> OpenFile:
    """Open a release's file for reading.

    A symbolic link is followed only if `locations` records, for this path, where the file really lies, or if it leads
    from a snapshot of a Hub cache into that cache's blobs; the place itself must then be no link.

    Args:
        entry: what was signed about it.
        folder: the release's folder.
        locations: where files really lie, by path.
        growing: it is still being written, so its length says nothing yet.

    Raises:
        CorruptError: missing, no regular file, or not as long as was signed. Facts: `path`, `expected`,
            `found`.
        DiskError: the system would not open it.
    """
    location = locations.get(entry.path) or _through_snapshot(folder, folder / entry.path)
    try:
        if not hasattr(os, "O_NOFOLLOW") and location.is_symlink():
            raise OSError(errno.ELOOP, "is a symbolic link")
        fd = os.open(location, _FLAGS)
    except OSError as error:
        found = {
            errno.ENOENT: "missing",
            errno.ENOTDIR: "missing",
            errno.ELOOP: "a symbolic link",
            errno.EMLINK: "a symbolic link",  # FreeBSD
            errno.ENXIO: "not a regular file",
        }.get(error.errno or 0)
        if found is None:
            raise DiskError(
                f"{entry.path}: cannot be opened: {error.strerror}.",
                hint=f"Check who may read {location}.",
                path=str(location),
            ) from error
        raise _corrupt(entry, found) from None
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise _corrupt(entry, "not a regular file")
        if facts.st_size != entry.size and not growing:
            raise CorruptError(
                f"{entry.path}: expected {entry.size} bytes, found {facts.st_size}.",
                hint=REPAIR,
                path=entry.path,
                pieces=[],
                expected=entry.size,
                found=facts.st_size,
            )
    except BaseException:
        os.close(fd)
        raise
    return OpenFile(entry, location, fd, _stamp(facts))


def _through_snapshot(folder: Path, location: Path) -> Path:
    """The blob that a file of a Hub cache's snapshot is a link to; any other place as it is."""
    blobs = hub_blobs(folder)
    if blobs is None or not location.is_symlink():
        return location
    target = location.parent / os.readlink(location)  # noqa: PTH115
    return target if Path(os.path.normpath(target)).parent == blobs else location


def _stamp(facts: os.stat_result) -> tuple[int, int, int, int, int]:
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def _corrupt(entry: FileEntry, found: str) -> CorruptError:
    return CorruptError(
        f"{entry.path}: expected a file of {entry.size} bytes, found it is {found}.",
        hint=REPAIR,
        path=entry.path,
        pieces=[],
        expected=entry.size,
        found=found,
    )
