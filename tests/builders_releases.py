"""Small signed releases, whole and consistent, for tests to break one thing at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.builders_metainfo import hashed, hashed_all
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.metainfo import build_info
from weightshare.manifest.model import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    ModelFacts,
    Publisher,
    TorrentFacts,
)
from weightshare.trust.keys import FileSigner
from weightshare.trust.publishers import KnownPublishers, Pin
from weightshare.trust.signing import sign
from weightshare.units import KIB

PIECE = 32 * KIB
FILES: dict[str, bytes] = {
    "config.json": b"{}",
    "empty": b"",
    "model.safetensors": bytes(range(256)) * 300,
    "sub/notes.md": b"# notes",
}


def signer(seed: int = 1) -> FileSigner:
    """A key that is the same for the same seed; never one of a person."""
    return FileSigner(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32), f"test key {seed}")


def entries(files: Mapping[str, bytes] = FILES) -> tuple[FileEntry, ...]:
    """What a manifest says of these bytes."""
    return tuple(
        FileEntry(path, len(data), hashlib.sha256(data).digest(), hashed(path, data, PIECE).pieces_root)
        for path, data in sorted(files.items(), key=lambda item: item[0].encode())
    )


def manifest(
    key: FileSigner | None = None,
    *,
    files: Mapping[str, bytes] = FILES,
    publisher: str = "acme",
    model: str = "acme/m7b",
    sequence: int = 5,
    hybrid: bool = True,
) -> Manifest:
    """A manifest of these files, naming the key as its publisher's."""
    return Manifest(
        files=entries(files),
        publisher=Publisher(publisher, ((key or signer()).public_key.fingerprint,)),
        model=ModelFacts(model, "1.0", sequence, "2026-11-22T10:00:00Z", "a model for tests"),
        torrent=TorrentFacts("m7b", PIECE, hybrid),
    )


@dataclass(frozen=True)
class Release:
    """A manifest, its envelope, and the torrent around both."""

    manifest: Manifest
    key: FileSigner
    files: Mapping[str, bytes]

    @cached_property
    def envelope(self) -> bytes:
        """The bytes of `weightshare.json`."""
        return sign(self.manifest, self.key).to_bytes()

    @property
    def parsed(self) -> Envelope:
        """The envelope, read back."""
        return Envelope.parse(self.envelope)

    def raw_info(self, changed: Mapping[str, bytes | None] | None = None, **kwargs: object) -> bytes:
        """The torrent's info dictionary; `changed` replaces or (with None) drops files behind the signature."""
        held = {**self.files, MANIFEST_NAME: self.envelope, **(changed or {})}
        files = {path: data for path, data in held.items() if data is not None}
        facts = replace(self.manifest.torrent, **kwargs)  # type: ignore[arg-type]
        hashed_files = hashed_all(files, facts.piece_length, hybrid=facts.hybrid)
        return build_info(facts.name, facts.piece_length, hashed_files, hybrid=facts.hybrid)


def release(key: FileSigner | None = None, files: Mapping[str, bytes] = FILES, **facts: object) -> Release:
    """A release that passes every check for whoever pins its key."""
    key = key or signer()
    return Release(manifest(key, files=files, **facts), key, files)  # type: ignore[arg-type]


def pin(key: FileSigner, name: str = "acme", **fields: object) -> Pin:
    """A pin of a key under a name."""
    public = key.public_key
    return Pin(name, public.fingerprint, public, **fields)  # type: ignore[arg-type]


def knows(*pins: Pin) -> KnownPublishers:
    """A user who knows these publishers."""
    return KnownPublishers(pins)
