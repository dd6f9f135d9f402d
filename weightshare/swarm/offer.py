"""What a session is given to serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Offer:
    """A release that may be served: its files were proven, or their receipts still match.

    Attributes:
        name: the release, for reports.
        torrent: the `.torrent` with piece layers.
        locations: where each file lies, by its place in the file tree.
        trackers: where to announce, as far as the network allows.
        web_seeds: likewise.
        release: the v2 info-hash in hex that uploads are counted for; the torrent's own where it is empty.
    """

    name: str
    torrent: bytes
    locations: Mapping[int, Path]
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    release: str = ""
