"""Signed releases made on the fly from a folder, for tests that load them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from weightshare.content.hashing import hash_files
from weightshare.manifest.model import FileEntry, Manifest, ModelFacts, Publisher, TorrentFacts
from weightshare.trust.gate import VerifiedManifest, verify
from weightshare.trust.keys import FileSigner, create_key
from weightshare.trust.pins import Pin
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.signing import sign

PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Release:
    """A folder, the manifest that was verified for it, and the piece layers that its torrent would carry."""

    folder: Path
    verified: VerifiedManifest
    layers: Mapping[bytes, bytes]

    def entry(self, path: str) -> FileEntry:
        return next(entry for entry in self.verified.manifest.files if entry.path == path)


def release_of(folder: Path, keys: Path, *, piece_length: int = PIECE, hybrid: bool = False) -> Release:
    """Hash, sign and verify a folder as it is now. `keys` is a folder for the key, made once."""
    keys.mkdir(exist_ok=True)
    if not (keys / "key").exists():
        create_key(keys / "key", "test")
    signer = FileSigner.load(keys / "key")
    paths = sorted(
        (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()),
        key=lambda path: path.encode(),
    )
    sizes = [(folder / path, (folder / path).stat().st_size) for path in paths]
    hashes = hash_files(sizes, piece_length, hybrid=False, workers=1)
    key = signer.public_key
    manifest = Manifest(
        files=tuple(
            FileEntry(path, found.size, found.sha256, found.pieces_root)
            for path, found in zip(paths, hashes, strict=True)
        ),
        publisher=Publisher("acme", (key.fingerprint,)),
        model=ModelFacts("acme/model", "1", 1, "2026-01-01T00:00:00Z"),
        torrent=TorrentFacts("model", piece_length, hybrid),
    )
    known = KnownPublishers(()).add(Pin("acme", key.fingerprint, key))
    verified = verify(sign(manifest, signer).to_bytes(), known)
    layers = {
        found.pieces_root: found.piece_layer for found in hashes if found.pieces_root and found.piece_layer
    }
    return Release(folder, verified, layers)


def without_layers(release: Release) -> Release:
    return replace(release, layers={})


def flip(path: Path, offset: int) -> None:
    """Change one bit of a file, in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))
