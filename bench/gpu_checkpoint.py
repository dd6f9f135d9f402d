"""A checkpoint for the GPU's benchmark, with what a proof of it needs and no signature: it is thrown away.

It imports neither torch nor what signs, so that it works on a machine with little installed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from weightshare.content.hashing import hash_files
from weightshare.manifest.model import FileEntry
from weightshare.units import MIB

PIECE = 4 * MIB
ROW = 4096
"""Columns of every tensor, of two bytes."""


def make(folder: Path, size: int, files: int, tensor: int = 64 * MIB) -> None:
    """Shards of about `size` bytes in all, of bf16 tensors of `tensor` bytes, on disk and in the page cache."""
    block = os.urandom(tensor)
    each = max(1, size // files // len(block))
    for number in range(1, files + 1):
        header: dict[str, Any] = {}
        for i in range(each):
            place = [i * len(block), (i + 1) * len(block)]
            shape = [len(block) // ROW // 2, ROW]
            header[f"s{number}.t{i}"] = {"dtype": "BF16", "shape": shape, "data_offsets": place}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with (folder / f"model-{number:05}.safetensors").open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for i in range(each):
                turn = 4099 * (number * each + i) % len(block)  # no two tensors are the same
                file.write(block[turn:])
                file.write(block[:turn])
            file.flush()
            os.fsync(file.fileno())
    prove(folder)


def prove(folder: Path) -> None:
    """Hash all shards of a folder and put beside them what a proof needs."""
    paths = shards(folder)
    hashes = hash_files([(path, path.stat().st_size) for path in paths], PIECE, hybrid=False)
    facts = [
        [path.name, found.size, found.sha256.hex(), (found.pieces_root or b"").hex(), found.piece_layer.hex()]
        for path, found in zip(paths, hashes, strict=True)
    ]
    (folder / "proof.json").write_text(json.dumps(facts))


def shards(folder: Path) -> list[Path]:
    """The shards, in order."""
    return sorted(folder.glob("*.safetensors"))


def total(folder: Path) -> int:
    """Bytes of all shards."""
    return sum(path.stat().st_size for path in shards(folder))


def verified(folder: Path) -> tuple[Any, Mapping[bytes, bytes]]:
    """What the loader takes: something in place of a verified manifest, and the piece layers."""
    facts = json.loads((folder / "proof.json").read_text())
    entries = tuple(
        FileEntry(name, size, bytes.fromhex(sha256), bytes.fromhex(root))
        for name, size, sha256, root, _ in facts
    )
    manifest = SimpleNamespace(files=entries, torrent=SimpleNamespace(piece_length=PIECE), release="bench")
    layers = {bytes.fromhex(root): bytes.fromhex(layer) for _, _, _, root, layer in facts if layer}
    return SimpleNamespace(manifest=manifest, release="bench"), layers


def warm(folder: Path) -> None:
    """Bring all shards into the page cache, by eight threads."""

    def read(job: tuple[Path, int]) -> None:
        with job[0].open("rb", buffering=0) as file:
            os.preadv(file.fileno(), [bytearray(16 * MIB)], job[1])

    jobs = [(path, start) for path in shards(folder) for start in range(0, path.stat().st_size, 16 * MIB)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, jobs))


def chill(folder: Path) -> bool:
    """Have the kernel drop all shards from the page cache; False where that cannot be, as in memory."""
    memory = Path("/dev/shm")
    if not hasattr(os, "posix_fadvise") or (memory.exists() and memory.stat().st_dev == folder.stat().st_dev):
        return False
    for path in shards(folder):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True
