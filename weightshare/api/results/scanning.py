"""What `scan` found on this disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ScannedPlace:
    """A folder that was looked in: whose it is (empty for a named one), how many files and bytes it holds."""

    tool: str
    path: Path
    files: int
    bytes: int

    def to_json(self) -> dict[str, object]:
        """One element of `places`."""
        return {"tool": self.tool, "path": str(self.path), "files": self.files, "bytes": self.bytes}


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file of a known release, and where on this disk a file with its bytes lies; in a dry run, of its size."""

    path: str
    size: int
    places: tuple[Path, ...]

    @property
    def here(self) -> bool:
        """Whether there is one; an empty file is everywhere."""
        return not self.size or bool(self.places)


@dataclass(frozen=True, slots=True)
class ScannedRelease:
    """A known release.

    Attributes:
        release: `ORG/MODEL@VERSION`.
        publisher: fingerprint of the signer.
        publisher_name: as the user knows it.
        info_hash_v2: hex, None where only the manifest is known.
        files: its files.
        store: where the store has it whole, None if it does not.
        added: where it was recorded just now, None if it was not.
        problem: why it could not be, empty if nothing is wrong.
    """

    release: str
    publisher: str
    publisher_name: str | None
    info_hash_v2: str | None
    files: tuple[ScannedFile, ...]
    store: Path | None = None
    added: Path | None = None
    problem: str = ""

    @property
    def here(self) -> int:
        """How many of its files were found."""
        return sum(file.here for file in self.files)

    @property
    def whole(self) -> bool:
        """Whether all were."""
        return self.here == len(self.files)

    @property
    def found(self) -> bool:
        """Whether any was that is not empty."""
        return any(file.places for file in self.files)

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(file.size for file in self.files)

    @property
    def bytes_here(self) -> int:
        """Size of those that were found."""
        return sum(file.size for file in self.files if file.here)

    def to_json(self) -> dict[str, object]:
        """One element of `releases`."""
        return {
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "info_hash_v2": self.info_hash_v2,
            "files": [
                {"path": file.path, "size": file.size, "places": [str(place) for place in file.places]}
                for file in self.files
            ],
            "here": self.here,
            "bytes": self.bytes,
            "bytes_here": self.bytes_here,
            "store": None if self.store is None else str(self.store),
            "added": None if self.added is None else str(self.added),
            "problem": self.problem or None,
        }


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan saw and found.

    Attributes:
        places: where it looked.
        releases: what it looked for.
        candidates: files on this disk with the size of a known file.
        hashed: how many of them were hashed just now.
        hashed_bytes: their size.
        to_hash: how many a dry run would have hashed; these count as found by their size.
        to_hash_bytes: their size.
        dry_run: whether it was one.
        warnings: what could not be looked at, and releases that are not believed.
        seconds: how long it took.
    """

    places: tuple[ScannedPlace, ...]
    releases: tuple[ScannedRelease, ...]
    candidates: int
    hashed: int
    hashed_bytes: int
    to_hash: int
    to_hash_bytes: int
    dry_run: bool
    warnings: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "places": [place.to_json() for place in self.places],
            "releases": [release.to_json() for release in self.releases],
            "candidates": self.candidates,
            "hashed": {"files": self.hashed, "bytes": self.hashed_bytes},
            "to_hash": {"files": self.to_hash, "bytes": self.to_hash_bytes},
            "dry_run": self.dry_run,
            "warnings": list(self.warnings),
            "seconds": self.seconds,
        }
