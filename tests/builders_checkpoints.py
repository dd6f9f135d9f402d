"""Small checkpoint folders, made by hand: real safetensors files whose bytes do not compress into a pattern."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path

from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import KIB

_PREFIX = 128  # length field and header together


def shard(size: int, seed: int = 0) -> bytes:
    """A safetensors file of `size` bytes in all: one tensor of bytes that are the same for the same seed."""
    items = size - _PREFIX
    if items < 0:
        raise ValueError(f"a shard has at least {_PREFIX} bytes")
    header = {"weight": {"dtype": "U8", "shape": [items], "data_offsets": [0, items]}}
    text = json.dumps(header).encode().ljust(_PREFIX - 8)
    return len(text).to_bytes(8, "little") + text + random.Random(seed).randbytes(items)


def place(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a folder, made if absent; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def tiny(seed: int = 0, size: int = 300 * KIB) -> dict[str, bytes]:
    """What the smallest sensible checkpoint holds: a shard, a config, a card."""
    return {
        "model.safetensors": shard(size, seed),
        "config.json": b'{"architectures": ["Nothing"]}',
        "README.md": b"# a model for tests\n",
    }


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder by its path, links followed, the signed manifest at its root left out."""
    return {
        path.relative_to(folder).as_posix(): digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST_NAME
    }


def digest(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
