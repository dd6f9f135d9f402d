"""Who follows a fetch piece by piece, to use what has landed while the rest is on its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from weightshare.trust.gate import VerifiedManifest


@dataclass(frozen=True, slots=True)
class Underway:
    """A fetch that has come through the gate and is about to bring its first pieces.

    Attributes:
        verified: the signed manifest, verified.
        layers: piece layers by pieces root, as far as they are known; each leads to its root.
        locations: where each file lies while it is fetched, by path; a file that is not fetched is not among them.
        folder: where the files lie in the end.
    """

    verified: VerifiedManifest
    layers: Mapping[bytes, bytes]
    locations: Mapping[str, Path]
    folder: Path


class Follower(Protocol):
    """Told by the thread that fetches, which waits for it. What it raises ends the fetch, which resumes."""

    def begin(self, underway: Underway) -> None:
        """The fetch begins; called once, before any piece, and not at all if the whole release is here already."""

    def piece(self, path: str, number: int, *, proven: bool) -> None:
        """A piece of a file, counted from the file's start, can be read, or was read back and is the signed one.

        Each is told at most once. What can be read is a hint of when to look: whoever uses the bytes hashes them.
        """
