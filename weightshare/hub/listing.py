"""What the Hub says of the files of one commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file as the Hub's API lists it (`/api/models/REPO/tree/COMMIT`).

    Attributes:
        size: bytes.
        git: its git blob id, hex; of a large file that of the pointer git has in its place.
        sha256: of its bytes, hex, if it is a large file (Git LFS, Xet); None for one that git itself holds.
    """

    size: int
    git: str
    sha256: str | None = None


Listing = Mapping[str, HubFile]
"""By path in the repository, `/`-separated."""
