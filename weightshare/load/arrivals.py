"""Which pieces of which files have arrived: what a fetch tells, and who waits for it in other threads."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Arrived:
    """A piece of a file, counted from the file's start. `proven` is what the fetch says: a hint of when to look."""

    path: str
    number: int
    proven: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The fetch is over: every file is proven and lies in `folder`."""

    folder: Path


class Aborted(Exception):  # noqa: N818  no error of anybody's
    """The load is not wanted any more: something else failed, or the user ended it."""


class Arrivals:
    """The way from the thread that fetches to one that uses what has landed: it never waits, and never fails.

    Args:
        sizes: bytes of each file, by path.
        piece_length: bytes.

    Attributes:
        ended: where everything lies, once the fetch is over.
    """

    def __init__(self, sizes: Mapping[str, int], piece_length: int) -> None:
        self._missing = {
            proven: {path: -(-size // piece_length) for path, size in sizes.items()}
            for proven in (False, True)
        }
        self._inbox: queue.SimpleQueue[Arrived | Ended | None] = queue.SimpleQueue()
        self.ended: Path | None = None

    # ---- from any thread

    def piece(self, path: str, number: int, *, proven: bool) -> None:
        """A piece has arrived; once for each piece and value of `proven`."""
        self._inbox.put(Arrived(path, number, proven))

    def end(self, folder: Path) -> None:
        """All has."""
        self._inbox.put(Ended(folder))

    def abort(self) -> None:
        """Nothing is wanted any more."""
        self._inbox.put(None)

    # ---- from the one that waits

    def take(self, *, wait: bool) -> list[Arrived]:
        """What came since the last call; with `wait`, at least one thing, or the end.

        Raises:
            Aborted: nothing is wanted any more.
        """
        found: list[Arrived] = []
        while True:
            try:
                message = self._inbox.get(block=wait)
            except queue.Empty:
                return found
            wait = False
            if message is None:
                raise Aborted
            if isinstance(message, Ended):
                self.ended = message.folder
                continue
            found.append(message)
            missing = self._missing[message.proven]
            if message.path in missing:
                missing[message.path] -= 1

    def here(self, paths: Iterable[str], *, proven: bool = False) -> bool:
        """Whether these files have arrived whole, or are proven by the fetch."""
        return self.ended is not None or not any(self._missing[proven].get(path) for path in paths)
