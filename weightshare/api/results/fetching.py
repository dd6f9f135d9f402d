"""What `fetch` brought, and whom it asks about."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from weightshare.api.results.verifying import MirrorVouch


@dataclass(frozen=True, slots=True)
class Received:
    """Where the bytes of a fetch came from: file bytes, each counted as often as it was taken."""

    swarm: int = 0
    hub: int = 0
    reused: int = 0


@dataclass(frozen=True, slots=True)
class Fetched:
    """What `fetch` brought. `path` is the folder that holds the files; `complete` is false after `--include`."""

    release: str
    publisher: str
    publisher_name: str | None
    path: Path
    bytes: int
    files: int
    seconds: float
    received: Received
    info_hash_v2: str
    complete: bool = True
    warnings: tuple[str, ...] = ()
    mirrors: tuple[MirrorVouch, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "path": str(self.path),
            "bytes": self.bytes,
            "files": self.files,
            "seconds": round(self.seconds, 3),
            "received": {
                "swarm": self.received.swarm,
                "hub": self.received.hub,
                "reused": self.received.reused,
            },
            "info_hash_v2": self.info_hash_v2,
            "complete": self.complete,
            "mirrors": [mirror.to_json() for mirror in self.mirrors],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class StrangerInfo:
    """A publisher whom the user does not know, as shown before asking. `names` are claims, not facts."""

    fingerprint: str
    claimed_name: str
    release: str
    files: int
    bytes: int
    source: str = field(default="")
    team: str = field(default="")


@dataclass(frozen=True, slots=True)
class PreviewedFile:
    """A file that a fetch would bring.

    Attributes:
        path: in the release.
        size: bytes.
        source: `peers`; `begun` by an earlier fetch; `here`, proven before; `in the way`, a file that would be
            looked at; or the release on this machine that has it.
    """

    path: str
    size: int
    source: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What a fetch would do."""

    release: str
    publisher: str
    publisher_name: str | None
    path: Path
    files: tuple[PreviewedFile, ...]
    warnings: tuple[str, ...] = ()

    @property
    def from_peers(self) -> int:
        """Bytes that would come from peers, those of files that an earlier fetch began counted whole."""
        return sum(file.size for file in self.files if file.source in ("peers", "begun"))

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "path": str(self.path),
            "dry_run": True,
            "bytes": self.bytes,
            "from_peers": self.from_peers,
            "files": [{"path": f.path, "size": f.size, "from": f.source} for f in self.files],
            "warnings": list(self.warnings),
        }
