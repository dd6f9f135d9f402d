"""What `fetch` brought, and whom it asks about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.api.results.verifying import MirrorVouch


@dataclass(frozen=True, slots=True)
class Received:
    """Where the bytes of a fetch came from: file bytes, each counted as often as it was taken.

    Attributes:
        swarm: from peers.
        hub: by HTTP, from the Hub and from web seeds.
        reused: were on this machine.
        sources: those of `hub` by who gave them: `hub`, or a web seed's host.
    """

    swarm: int = 0
    hub: int = 0
    reused: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """As a part of the JSON result; `from` is there when anything came by HTTP."""
        told: dict[str, object] = {"swarm": self.swarm, "hub": self.hub, "reused": self.reused}
        return told | ({"from": dict(self.sources)} if self.sources else {})


@dataclass(frozen=True, slots=True)
class InHubCache:
    """Where in the cache of huggingface_hub a release lies; by the publisher's word it is that repository's commit.

    `main` is the commit that this branch leads to in the cache, None if that is not known there.
    """

    cache: Path
    repo: str
    revision: str
    main: str | None

    def to_json(self) -> dict[str, object]:
        """As part of the result."""
        return {"cache": str(self.cache), "repo": self.repo, "revision": self.revision, "main": self.main}


@dataclass(frozen=True, slots=True)
class Fetched:
    """What `fetch` brought. `path` is the folder that holds the files; `complete` is false after `--include`.

    `parts` has, by path, the bytes of those files of which only pieces were asked for and are here, each proven.
    """

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
    parts: Mapping[str, int] = field(default_factory=dict)
    hub_cache: InHubCache | None = None
    info_hash_v1: str | None = None

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
            "received": self.received.to_json(),
            "info_hash_v2": self.info_hash_v2 or None,
            "info_hash_v1": self.info_hash_v1,
            "complete": self.complete,
            "parts": dict(self.parts),
            "hub_cache": self.hub_cache.to_json() if self.hub_cache else None,
            "mirrors": [mirror.to_json() for mirror in self.mirrors],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class RangeReady:
    """Some bytes of a release that are here, while others are still on their way.

    `proven` is false at first: the bytes can be read from `location`, where the swarm's engine has put them after a
    check of its own. Each range is reported once so, and once more with `proven` true when every piece of it was read
    back from the disk and its hash leads to the signed root. That is a moment later where the hashes of all pieces are
    known beforehand, from a `.torrent` or from peers; where they are not, a file is proven as a whole or not at all.
    Whoever uses the bytes before then, or reads them later, must hash what he uses.

    Attributes:
        path: the file in the release.
        begin: offset of the first byte.
        end: offset behind the last byte.
        tensor: the tensor that they are; empty for a whole file and for the header of a safetensors file.
        proven: see above.
        location: where the file lies during this report. It is moved at the end; an open descriptor outlasts that.
    """

    path: str
    begin: int
    end: int
    tensor: str
    proven: bool
    location: Path


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
            looked at; the release on this machine that has it, or the path of a file of another program that `scan`
            found; or `same as` and the path of an equal file in this one.
        pieces: bytes of single pieces that other releases on this machine have, by release; the rest comes from
            where `source` says.
    """

    path: str
    size: int
    source: str
    pieces: Mapping[str, int] = field(default_factory=dict)

    @property
    def from_peers(self) -> int:
        """Bytes that would come from peers."""
        return self.size - sum(self.pieces.values()) if self.source in ("peers", "begun") else 0


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
        """Bytes that would come from peers, at most: what an earlier fetch brought of a file is not counted off."""
        return sum(file.from_peers for file in self.files)

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
            "files": [
                {
                    "path": f.path,
                    "size": f.size,
                    "from": f.source,
                    "from_peers": f.from_peers,
                    "pieces": dict(f.pieces),
                }
                for f in self.files
            ],
            "warnings": list(self.warnings),
        }
