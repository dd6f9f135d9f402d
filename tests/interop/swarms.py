"""A release that makes clients differ, and what a test compares in the end."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.builders_checkpoints import contents, place, shard
from tests.integration import releases
from weightshare.manifest import bencode
from weightshare.manifest.metainfo import parse_torrent
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import KIB, MAX_TORRENT

PIECE = 64 * KIB

TWICE = 204_800
"""Bytes of the file that is there twice: we ask for one of the two."""

FILES = {
    "added_tokens.json": b"",
    "config.json": b'{"architectures": ["Nothing"]}',
    "exactly-one-piece.safetensors": shard(PIECE, 1),
    "le modèle à moi/文 件/poids.safetensors": shard(1500 * KIB + 17, 2),
    "model-00001-of-00002.safetensors": shard(1024 * KIB, 3),
    "model-00002-of-00002.safetensors": shard(1000 * KIB - 1, 4),
    "sub/deep/er/twice.safetensors": shard(TWICE, 5),
    "sub/twice.safetensors": shard(TWICE, 5),
    "sub-way/empty.txt": b"",
}


@dataclass(frozen=True)
class Release:
    """A published release.

    Attributes:
        published: as its maintainer has it.
        torrent: the `.torrent`.
        name: of the folder that a client makes.
        v1_hash: in hex, None for a v2-only torrent.
        v2_hash: in hex.
    """

    published: releases.Published
    torrent: Path
    name: str
    v1_hash: str | None
    v2_hash: str

    @property
    def magnet(self) -> str:
        return self.published.magnet

    @property
    def twin(self) -> Path:
        """The plain v1 torrent."""
        return Path(self.published.facts["v1_twin"])

    @property
    def twin_hash(self) -> str:
        """The info-hash of the plain v1 torrent, in hex."""
        document = bencode.decode(self.twin.read_bytes(), limit=MAX_TORRENT, what="the twin")
        assert isinstance(document, dict)
        return hashlib.sha1(bencode.encode(document[b"info"])).hexdigest()

    def pads(self) -> dict[str, int]:
        """The pads between its files, by path, with their sizes."""
        files = parse_torrent(self.torrent.read_bytes()).info.v1_files or ()
        return {file.path: file.size for file in files if file.pad}

    def copied_to(self, place: Path) -> Path:
        """Put the release's folder, the manifest included, where a client that seeds it looks for it."""
        return Path(shutil.copytree(self.published.folder, place / self.name))


def publish(place_: Path, *words: str) -> Release:
    """Publish the files from a maintainer's home below a folder."""
    folder = place(place_ / "model", FILES)
    published = releases.publish(place_ / "maintainer", folder, "--piece-length", "64K", *words)
    torrent = Path(published.facts["torrent"])
    info = parse_torrent(torrent.read_bytes()).info
    v1_hash = info.v1_hash.hex() if info.v1_hash else None
    return Release(published, torrent, info.name, v1_hash, info.v2_hash.hex())


def assert_same(folder: Path, release: Release, *, empty_files: bool = True) -> None:
    """The folder holds the release's files byte for byte, and the manifest; pads don't count."""
    found = {path: digest for path, digest in contents(folder).items() if not path.startswith(".pad/")}
    signed = contents(release.published.folder)
    if not empty_files:
        signed = {path: digest for path, digest in signed.items() if FILES[path]}
    assert found == signed, (
        f"missing or different: {signed.items() - found.items()}; more: {found.keys() - signed}"
    )
    assert (folder / MANIFEST_NAME).read_bytes() == (release.published.folder / MANIFEST_NAME).read_bytes()
