"""What came of torrents that are older than the format: fetched unsigned, checked again, or adopted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

UNSIGNED = (
    "nobody signed this torrent: nothing says who made these files, or that they are what the name says"
)
"""The warning in every output about an unsigned torrent."""

VOUCHED = "the signer vouches for these bytes, and does not say who made them or the torrent"
"""What an adoption means."""


@dataclass(frozen=True, slots=True)
class Unsigned:
    """An unsigned torrent that was fetched; `sha256` has the digest in hex of each file as it arrived, by path.

    Attributes:
        name: the torrent's.
        info_hash: hex; the v2 one where there is one.
        path: the folder that holds the files.
        bytes: size of all files.
        sha256: see above.
        received: bytes that came from the swarm.
        seconds: time it took.
        sums: the list of digests, for `sha256sum -c`.
        warnings: what the user has to know; never empty.
    """

    name: str
    info_hash: str
    path: Path
    bytes: int
    sha256: Mapping[str, str]
    received: int
    seconds: float
    sums: Path
    warnings: tuple[str, ...] = (UNSIGNED,)

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "unsigned": True,
            "name": self.name,
            "info_hash": self.info_hash,
            "path": str(self.path),
            "bytes": self.bytes,
            "files": [{"path": path, "sha256": digest} for path, digest in self.sha256.items()],
            "sha256sums": str(self.sums),
            "received": {"swarm": self.received},
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class UnsignedVerdict:
    """An unsigned torrent, held against what was recorded when it arrived; `bad` says what is wrong, by path."""

    name: str
    info_hash: str
    path: Path
    bytes: int
    files: int
    bad: Mapping[str, str]
    seconds: float
    warnings: tuple[str, ...] = (UNSIGNED,)

    @property
    def ok(self) -> bool:
        """Whether every file is as it arrived."""
        return not self.bad

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "unsigned": True,
            "ok": self.ok,
            "name": self.name,
            "info_hash": self.info_hash,
            "path": str(self.path),
            "bytes": self.bytes,
            "files": self.files,
            "bad": dict(self.bad),
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class ListedUnsigned:
    """An unsigned torrent of the store."""

    name: str
    info_hash: str
    path: Path
    bytes: int
    complete: bool

    def to_json(self) -> dict[str, object]:
        """One element of `unsigned`."""
        return {
            "unsigned": True,
            "name": self.name,
            "info_hash": self.info_hash,
            "path": str(self.path),
            "bytes": self.bytes,
            "complete": self.complete,
        }


@dataclass(frozen=True, slots=True)
class Adopted:
    """A manifest that was signed for a torrent that others made.

    Attributes:
        release: `ORG/MODEL@VERSION`.
        publisher: fingerprint of the signer.
        publisher_name: the name that key is pinned under.
        magnet: the link to post, with the signer's fingerprint in it.
        manifest: the signed manifest, to be posted beside the link.
        torrent: the `.torrent`, with the others' info dictionary.
        info_hash_v1: hex; the torrent's own.
        path: the folder whose bytes were hashed.
        files: how many.
        bytes: their size.
        seconds: time it took.
        warnings: what a careful signer wants to know.
    """

    release: str
    publisher: str
    publisher_name: str | None
    magnet: str
    manifest: Path
    torrent: Path
    info_hash_v1: str
    path: Path
    files: int
    bytes: int
    seconds: float
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "adopted": True,
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "magnet": self.magnet,
            "manifest": str(self.manifest),
            "torrent": str(self.torrent),
            "info_hash_v1": self.info_hash_v1,
            "info_hash_v2": None,
            "path": str(self.path),
            "files": self.files,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
        }
