"""What a release is, as frozen dataclasses: the statement that a publisher signs.

The statement is an in-toto Statement v1 whose predicate type is `urn:weightshare:release:v1`.
`Manifest.from_payload` is the only way in from bytes and checks every rule of the format;
`Manifest.to_payload` writes the same bytes for the same manifest on every machine. A `Manifest` is well
formed, not trusted: see `trust.gate.VerifiedManifest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:weightshare:release:v1"
MANIFEST_NAME = "weightshare.json"
ADOPTION = "torrent.adopts"
"""The critical extension of a manifest for a v1 torrent that was not made with it."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a release.

    Attributes:
        path: relative, `/`-separated, NFC.
        size: bytes.
        sha256: digest of the whole file (32 bytes).
        pieces_root: BitTorrent v2 Merkle root over 16 KiB leaves (32 bytes), None for an empty file (BEP 52).
        media_type: RFC 6838 type.
    """

    path: str
    size: int
    sha256: bytes
    pieces_root: bytes | None
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who says so.

    Attributes:
        name: the publisher's name, the `ORG` of its models.
        keys: the fingerprints (`SHA256:…`) of the keys that may sign.
        root_version: for a team, the version of the root under which it signs; None for a single key.
    """

    name: str
    keys: tuple[str, ...]
    root_version: int | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Which model this is.

    Attributes:
        id: `ORG/MODEL`.
        version: free text without spaces or `/`, up to 100 characters.
        sequence: rises with every release of the model; a lower one than seen is a rollback.
        released: RFC 3339 time in UTC, whole seconds, ending in `Z`.
        summary: one line for people.
    """

    id: str
    version: str
    sequence: int
    released: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class TorrentFacts:
    """What the torrent must look like; it can't name its own info-hash, since it travels inside.

    Attributes:
        name: the torrent's.
        piece_length: bytes; of an adopted torrent, those of the piece hashes under each file's root.
        hybrid: whether it has a v1 part too.
        adopts: the v1 info-hash (20 bytes) of a torrent that others may have made, which this manifest is about and
            travels beside; None for one that it travels inside.
    """

    name: str
    piece_length: int
    hybrid: bool
    adopts: bytes | None = None


@dataclass(frozen=True, slots=True)
class License:
    """An SPDX expression, and the file that holds the text if there is one."""

    spdx: str
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The Hugging Face Hub repository and commit (40 hex) the files came from."""

    hub: str
    revision: str


@dataclass(frozen=True, slots=True)
class Weights:
    """What the shards hold: `format` (`safetensors`), parameter count, safetensors dtype names."""

    format: str
    parameters: int | None = None
    dtypes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A document among the files: a kind such as `model-card`, its path, its SHA-256 (32 bytes)."""

    kind: str
    path: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Revocation:
    """An earlier manifest (SHA-256 of its payload) that must not be used any more, and why."""

    manifest: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A release, well formed but not yet trusted. `files` are sorted by the UTF-8 bytes of their paths."""

    files: tuple[FileEntry, ...]
    publisher: Publisher
    model: ModelFacts
    torrent: TorrentFacts
    license: License | None = None
    source: Source | None = None
    weights: Weights | None = None
    documents: tuple[Document, ...] = ()
    supersedes: tuple[bytes, ...] = ()
    revokes: tuple[Revocation, ...] = ()
    critical: tuple[str, ...] = ()
    ext: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def from_payload(cls, payload: bytes) -> Manifest:
        """Read a statement; see `statement.parse`. Call it only once a signature over the payload holds.

        Raises:
            ManifestError: it breaks the format.
            UnsafePathError: it lists a path that no release may hold.
        """
        from weightshare.manifest.statement import parse

        return parse(payload)

    def to_payload(self) -> bytes:
        """The statement's bytes, the same on every machine; see `statement.serialise`."""
        from weightshare.manifest.statement import serialise

        return serialise(self)

    @property
    def size(self) -> int:
        """Bytes of all files, the manifest itself not counted."""
        return sum(entry.size for entry in self.files)

    @property
    def release(self) -> str:
        """The release's name for people and commands: `ORG/MODEL@VERSION`."""
        return f"{self.model.id}@{self.model.version}"
