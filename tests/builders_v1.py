"""Plain v1 torrents as others make them, put together by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weightshare.manifest import bencode

PIECE = 32 * 1024


def entry(path: str, size: int, **more: object) -> dict[str, Any]:
    """One entry of a v1 list."""
    return {"length": size, "path": path.split("/"), **more}


def v1_info(
    name: str, files: Mapping[str, bytes], *, piece: int = PIECE, pads: bool = False, **more: object
) -> dict[str, Any]:
    """An info dictionary over these files, in their order; with pads (BEP 47) each begins a piece of its own."""
    entries: list[dict[str, Any]] = []
    stream = b""
    for path, data in files.items():
        short = -len(stream) % piece
        if pads and short:
            entries.append(entry(f".pad/{short}", short, attr="p"))
            stream += bytes(short)
        entries.append(entry(path, len(data)))
        stream += data
    return {
        "files": entries,
        "name": name,
        "piece length": piece,
        "pieces": sha1_pieces(stream, piece),
        **more,
    }


def single_info(name: str, data: bytes, piece: int = PIECE) -> dict[str, Any]:
    """An info dictionary of one file with no folder around it."""
    return {"length": len(data), "name": name, "piece length": piece, "pieces": sha1_pieces(data, piece)}


def sha1_pieces(stream: bytes, piece: int) -> bytes:
    """SHA-1 of each piece."""
    return b"".join(hashlib.sha1(stream[at : at + piece]).digest() for at in range(0, len(stream), piece))


def files_of(folder: Path, order: Sequence[str] = ()) -> dict[str, bytes]:
    """The files of a folder by path, those in `order` first."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {path: found[path] for path in [*order, *(path for path in found if path not in order)]}


def torrent_file(place: Path, info: Mapping[str, Any], *, trackers: Sequence[str] = ()) -> Path:
    """A `.torrent` around an info dictionary."""
    document: dict[str, Any] = {"info": dict(info)}
    if trackers:
        document["announce"] = trackers[0]
    place.write_bytes(bencode.encode(document))
    return place


def info_hash(info: Mapping[str, Any]) -> str:
    """The v1 info-hash in hex."""
    return hashlib.sha1(bencode.encode(dict(info))).hexdigest()


def magnet(info: Mapping[str, Any]) -> str:
    """A link as such torrents were posted with: a `btih`, and a name."""
    return f"magnet:?xt=urn:btih:{info_hash(info)}&dn={info['name']}"
