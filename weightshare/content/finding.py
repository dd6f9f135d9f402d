"""Finds files on this disk that may be some known file's bytes, by their sizes: nothing is opened or written."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG

MAX_ENTRIES = 5_000_000
"""Entries of folders that are looked at in one go; a disk with more is looked at in parts."""

_NOTES = 20  # folders and files that are named; more are counted
_OURS = ".weightshare"
_PSEUDO = frozenset({Path("/proc"), Path("/sys"), Path("/dev")})
# Half a download has its final size already (Ollama) or none to speak of, and another content every second.
_UNFINISHED = re.compile(r"\.(incomplete|part|partial|download)$|-partial(-\d+)?$")


@dataclass(slots=True)
class Looked:
    """What a walk saw.

    Attributes:
        seen: files and bytes, by the folder that was named.
        candidates: files that have one of the sizes, with their status.
        notes: what could not be looked at.
    """

    seen: dict[Path, tuple[int, int]] = field(default_factory=dict)
    candidates: dict[Path, os.stat_result] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _left_out: int = 0

    def note(self, text: str) -> None:
        """Say what went wrong, twenty times at most."""
        if len(self.notes) < _NOTES:
            self.notes.append(text)
        else:
            self._left_out += 1

    def all_notes(self) -> tuple[str, ...]:
        """What went wrong, and how much more did."""
        more = (f"{self._left_out:,} more could not be read",) if self._left_out else ()
        return (*self.notes, *more)


def look(
    folders: Iterable[Path],
    sizes: Collection[int],
    *,
    leave_out: Iterable[Path] = (),
    limit: int = MAX_ENTRIES,
) -> Looked:
    """Walk through folders and keep the files of certain sizes; nothing is opened.

    A link to a file is followed; one to a folder is not, but for those that are named: no loop is possible, and nothing
    outside is walked through. A file that has several names counts once, by the first.

    Args:
        folders: where to look, one that is not there is passed over.
        sizes: in bytes, other than 0.
        leave_out: folders that are not entered.
        limit: entries to look at in all.
    """
    looked = Looked()
    walk = _Walk(looked, frozenset(sizes), limit)
    for folder in leave_out:
        with suppress(OSError):
            found = folder.stat()
            walk.been.add((found.st_dev, found.st_ino))
    for folder in folders:
        try:
            found = folder.stat()
        except FileNotFoundError:
            continue
        except OSError as error:  # another user's, as where Ollama's service keeps its models
            looked.note(f"{folder}: {error.strerror or error}")
            continue
        if S_ISDIR(found.st_mode):
            walk.run(folder)
    if walk.left < 0:
        looked.note(f"stopped after {limit:,} entries; name the folders to look in")
    return looked


@dataclass(slots=True)
class _Walk:
    """A walk under way: the folders and files that it has been to, by device and inode."""

    looked: Looked
    sizes: frozenset[int]
    left: int
    been: set[tuple[int, int]] = field(default_factory=set)
    had: set[tuple[int, int]] = field(default_factory=set)

    def run(self, named: Path) -> None:
        files = size = 0
        pending = [named]
        while pending and self.left >= 0:
            folder = pending.pop()
            try:
                found = folder.stat()
                if (found.st_dev, found.st_ino) in self.been or folder in _PSEUDO:
                    continue
                self.been.add((found.st_dev, found.st_ino))
                with os.scandir(folder) as entries:
                    inside = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self.looked.note(f"{folder}: {error.strerror or error}")
                continue
            self.left -= len(inside)
            below = []
            for entry in inside:
                try:
                    is_folder, length = self._entry(entry)
                except (OSError, RuntimeError) as error:
                    self.looked.note(f"{entry.path}: {getattr(error, 'strerror', None) or error}")
                    continue
                if is_folder:
                    below.append(Path(entry.path))
                elif length is not None:
                    files, size = files + 1, size + length
            pending += reversed(below)
        self.looked.seen[named] = (files, size)

    def _entry(self, entry: os.DirEntry[str]) -> tuple[bool, int | None]:
        """Whether it is a folder to enter, and the size of a file that was not met before."""
        if entry.name.startswith(_OURS) or _UNFINISHED.search(entry.name):
            return False, None
        if entry.is_dir(follow_symlinks=False):
            return True, None
        path = Path(entry.path)
        if entry.is_symlink():
            with suppress(FileNotFoundError):  # leads nowhere: nothing is lost
                path = path.resolve(strict=True)
                return False, self._file(path, path.stat())
            return False, None
        return False, self._file(path, entry.stat(follow_symlinks=False))

    def _file(self, path: Path, found: os.stat_result) -> int | None:
        if not found.st_ino:  # Windows: what scandir knows has neither device nor inode
            found = path.stat()
        if S_ISDIR(found.st_mode) or not S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) in self.had:
            return None
        self.had.add((found.st_dev, found.st_ino))
        if found.st_size in self.sizes:
            self.looked.candidates[path] = found
        return found.st_size
