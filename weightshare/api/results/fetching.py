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
