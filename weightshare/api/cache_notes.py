"""What `fetch` put into a Hub cache, written down as it is done: only that is ours to replace or to remove.

One JSON object a line, in the release's folder of the store. A line is written before what it says is done: after a
crash we may take for ours what is not there, and never leave behind what we do not know of. What the disk lost with the
power stays in the cache as anybody's.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from weightshare.errors import DiskError, StoreError
from weightshare.hub.cache_layout import Cached

NAME = "hub-cache"


@dataclass(slots=True)
class Notes:
    """What is ours in a cache, of one release.

    Attributes:
        place: the file.
        cached: where the release is.
        paths: files of the snapshot that we made, with the blob that each is a link to; None for one that is none.
        blobs: those that we made.
        moved: whether we let `main` lead to the commit.
        before: where it led before that, None for nowhere.
    """

    place: Path
    cached: Cached
    paths: dict[str, str | None] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)
    moved: bool = False
    before: str | None = None

    @classmethod
    def begin(cls, folder: Path, cached: Cached) -> Self:
        """The notes in a release's folder of the store, which must exist; made if absent.

        Raises:
            DiskError: the disk refused.
            StoreError: they are damaged.
        """
        place = folder / NAME
        if place.exists():
            return cls.read(place)
        notes = cls(place, cached)
        notes._add(cache=str(cached.cache), repo=cached.repo, commit=cached.commit)
        return notes

    @classmethod
    def read(cls, place: Path) -> Self:
        """What was written down.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            first, *lines = place.read_text(encoding="utf-8").splitlines()
            said = json.loads(first)
            notes = cls(place, Cached(Path(said["cache"]), said["repo"], said["commit"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"The notes on what is in the Hub's cache, {place}, are damaged.",
                hint="Delete that file's folder and fetch the release again; files already there are re-used.",
                path=str(place),
            ) from error
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):  # the last line of a run that was killed
                notes._take(json.loads(line))
        return notes

    def will_link(self, path: str, blob: str | None) -> None:
        """A file of the snapshot is about to be made: a link to a blob, or where that is None the bytes themselves."""
        if path not in self.paths or self.paths[path] != blob:
            self._add(path=path, link=blob)

    def will_make(self, blob: str) -> None:
        """A blob is about to be made."""
        if blob not in self.blobs:
            self._add(blob=blob)

    def will_point(self, before: str | None) -> None:
        """`main` is about to lead to the commit, and led elsewhere before."""
        self._add(main=before)

    def _add(self, **said: str | None) -> None:
        try:
            with self.place.open("a", encoding="utf-8") as out:
                out.write(json.dumps(said) + "\n")
        except OSError as error:
            raise DiskError(
                f"{self.place} cannot be written: {error.strerror or error}.",
                hint="Check the disk; the same command resumes.",
                path=str(self.place),
            ) from error
        self._take(said)

    def _take(self, said: dict[str, str | None]) -> None:
        if "path" in said:
            self.paths[str(said["path"])] = said["link"]
        elif "blob" in said:
            self.blobs.add(str(said["blob"]))
        elif "main" in said:
            self.moved, self.before = True, said["main"]
