"""What the store holds, and what a seeder serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from weightshare.content.embargoes import Embargo
from weightshare.limits import Effective
from weightshare.swarm.reach import Reach


@dataclass(frozen=True, slots=True)
class ListedRelease:
    """A release in the store. `kind` is `published` (served in place) or `fetched`.

    `embargo` says who alone may have it, None for everybody.
    """

    release: str
    publisher: str
    publisher_name: str | None
    path: Path
    bytes: int
    complete: bool
    seeding: bool
    kind: str
    info_hash_v2: str
    embargo: Embargo | None = None
    info_hash_v1: str | None = None

    @property
    def info_hash(self) -> str:
        """What names it: the v2 info-hash, or that of an adopted v1 torrent."""
        return self.info_hash_v2 or self.info_hash_v1 or ""

    def to_json(self) -> dict[str, object]:
        """One element of `releases`."""
        return {
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "path": str(self.path),
            "bytes": self.bytes,
            "complete": self.complete,
            "seeding": self.seeding,
            "kind": self.kind,
            "info_hash_v2": self.info_hash_v2 or None,
            "info_hash_v1": self.info_hash_v1,
            "embargo": {"allow": list(self.embargo.allow), "opens": self.embargo.opens}
            if self.embargo
            else None,
        }


@dataclass(frozen=True, slots=True)
class Removed:
    """What `rm` took away: files deleted, files kept because another release or the user owns them, bytes freed."""

    release: str
    path: Path
    deleted: int
    kept: int
    freed: int

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "release": self.release,
            "path": str(self.path),
            "deleted": self.deleted,
            "kept": self.kept,
            "freed": self.freed,
        }


@dataclass(frozen=True, slots=True)
class SeedStatus:
    """How a running seeder stands: one line for a person, one object for a program.

    `limits` is what holds for it now, `resting` the releases that were given as often as their ratio allows.
    """

    port: int
    releases: tuple[str, ...]
    peers: int
    up_rate: float
    uploaded: int
    peers_by_release: tuple[tuple[str, int], ...] = ()
    limits: Effective = field(default_factory=Effective)
    resting: tuple[str, ...] = ()
    troubles: str = ""
    reach: Reach = field(default_factory=Reach)
