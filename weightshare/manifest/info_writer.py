"""Writes the info dictionary to the byte: the same files give the info-hash that libtorrent gives them.

Three things are ours. The v1 list of a hybrid follows the order of the v2 tree, as BEP 52 demands; libtorrent
orders it by plain path and then refuses its own torrent where `sub-x` stands beside `sub/x`. No pad follows the
last file, since a pad is there to align the file after it (BEP 47). And no two pads have one path: rtorrent does not
open a torrent that names a file twice, and shards of equal size want pads of equal size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weightshare.manifest import bencode
from weightshare.manifest.info import PAD_FOLDER, V1File, check_names, check_piece_length
from weightshare.manifest.text import quoted
from weightshare.units import KIB, MAX_FILES, MAX_JSON_INTEGER, MIB

_HASHES_AT_ONCE = 512
_PIECES = 4096
_SHORTEST_BY_DEFAULT = 64 * KIB
_LONGEST_BY_DEFAULT = 16 * MIB


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file with all hashes that a torrent needs.

    Attributes:
        path: relative, `/`-separated.
        size: bytes.
        pieces_root: the v2 root (32 bytes), None when empty.
        piece_layer: the v2 piece hashes, concatenated; empty when the file is no longer than one piece.
        v1_pieces: SHA-1 of each aligned piece, the last one padded with zeros; empty when v2-only.
        v1_last_unpadded: SHA-1 of the last piece as it is (20 bytes), for the torrent's last file; may be
            empty when the file ends on a piece boundary.
    """

    path: str
    size: int
    pieces_root: bytes | None
    piece_layer: bytes = b""
    v1_pieces: bytes = b""
    v1_last_unpadded: bytes = b""


def default_piece_length(sizes: Iterable[int]) -> int:
    """The piece length in bytes for a release with files of these sizes: the power of two for about 4,000 pieces.

    A peer passes a piece on once it has all of it, so a crowd waits for its first pieces, and at the end for its last:
    a four-thousandth of the release each, whatever its size. Shorter than 64 KiB saves nobody a noticeable time; longer
    than 16 MiB is refused by other clients, and keeps the `.torrent` of a terabyte at 2 MiB. Another length is taken
    where this one leaves a file with a lone hash.
    """
    sizes = tuple(sizes)
    wished = _SHORTEST_BY_DEFAULT
    while wished < _LONGEST_BY_DEFAULT and sum(sizes) >= 2 * wished * _PIECES:
        wished *= 2
    longer = [wished << step for step in range(1, 9) if wished << step <= _LONGEST_BY_DEFAULT]
    shorter = [wished >> step for step in (1, 2) if wished >> step >= _SHORTEST_BY_DEFAULT]
    for length in (wished, *longer, *shorter):
        if not any(lone_hash(size, length) for size in sizes):
            return length
    return wished


def lone_hash(size: int, piece_length: int) -> bool:
    """Whether a file's piece layer ends in a request for a single hash, which libtorrent 2.1 gets wrong.

    Clients ask for 512 piece hashes at a time. When one alone is left over, libtorrent takes the answer for a wrong
    one and hangs up, so the file cannot be fetched by whoever begins with a magnet link.

    Args:
        size: of the file, in bytes.
        piece_length: of the torrent, in bytes.
    """
    pieces = -(-size // piece_length)
    return pieces > _HASHES_AT_ONCE and pieces % _HASHES_AT_ONCE == 1


def tree_order(path: str) -> tuple[bytes, ...]:
    """The sort key of the v2 tree: raw bytes, part by part; `a/b` before `a.txt`, unlike as plain text."""
    return tuple(part.encode() for part in path.split("/"))


def build_info(
    name: str, piece_length: int, files: Sequence[HashedFile], *, hybrid: bool, private: bool = False
) -> bytes:
    """The bencoded info dictionary for these files, always as a folder named `name`.

    Args:
        name: the folder's name.
        piece_length: bytes; a power of two from 16 KiB to 128 MiB.
        files: in any order.
        hybrid: whether to add the v1 list; each file then needs its v1 hashes.
        private: whether only the torrent's trackers may name peers (BEP 27).

    Raises:
        UnsafePathError: a path or the name breaks a rule.
        ValueError: the files' hashes do not fit their sizes, or the files are too many.
    """
    check_piece_length(piece_length)
    ordered = sorted(files, key=lambda file: tree_order(file.path))
    if not 0 < len(ordered) <= MAX_FILES + 1:
        raise ValueError(f"{len(ordered)} files; between 1 and {MAX_FILES + 1} are expected")
    check_names(name, [file.path for file in ordered], hybrid=hybrid)
    if len(ordered) == 1 and ordered[0].path == name:
        raise ValueError(f"the only file is named {quoted(name)} like its folder: a single-file torrent")
    tree: dict[bytes, object] = {}
    for file in ordered:
        _check_hashes(file, piece_length, hybrid=hybrid)
        node = tree
        for part in tree_order(file.path):
            child = node.setdefault(part, {})
            assert isinstance(child, dict)  # noqa: S101 -- for mypy; only dictionaries are put in
            node = child
        leaf: dict[bytes, object] = {b"length": file.size}
        if file.pieces_root is not None:
            leaf[b"pieces root"] = file.pieces_root
        node[b""] = leaf
    info: dict[bytes, object] = {
        b"file tree": tree,
        b"meta version": 2,
        b"name": name.encode(),
        b"piece length": piece_length,
    }
    if private:
        info[b"private"] = 1
    if hybrid:
        info[b"files"] = [
            {b"length": entry.size, b"path": entry.path.split("/")} | ({b"attr": b"p"} if entry.pad else {})
            for entry in v1_layout([(file.path, file.size) for file in ordered], piece_length)
        ]
        info[b"pieces"] = _v1_pieces(ordered, piece_length)
    return bencode.encode(info)


def v1_layout(files: Sequence[tuple[str, int]], piece_length: int) -> list[V1File]:
    """The v1 list of a hybrid: the files in the given order, and a pad before each that needs one."""
    layout: list[V1File] = []
    pads: Counter[int] = Counter()
    offset = 0
    for path, size in files:
        short = -offset % piece_length
        if size and short:
            pads[short] += 1
            layout.append(V1File(pad_path(short, pads[short]), short, pad=True))
            offset += short
        layout.append(V1File(path, size))
        offset += size
    return layout


def pad_path(size: int, serial: int = 1) -> str:
    """The path of a pad of so many bytes: `.pad/N` as BEP 47 recommends, for the next of that size `.pad/N-2`."""
    return f"{PAD_FOLDER}/{size}" + (f"-{serial}" if serial > 1 else "")


def _v1_pieces(ordered: Sequence[HashedFile], piece_length: int) -> bytes:
    pieces = b"".join(file.v1_pieces for file in ordered)
    last = next((file for file in reversed(ordered) if file.size), None)
    if last is None or last.size % piece_length == 0:
        return pieces
    if len(last.v1_last_unpadded) != 20:
        raise ValueError(
            f"{quoted(last.path)} is the last file and lacks the hash of its last piece unpadded"
        )
    return pieces[:-20] + last.v1_last_unpadded


def _check_hashes(file: HashedFile, piece_length: int, *, hybrid: bool) -> None:
    pieces = -(-file.size // piece_length)
    problem = ""
    if file.size < 0 or file.size > MAX_JSON_INTEGER:
        problem = "the size is out of range"
    elif (len(file.pieces_root) if file.pieces_root is not None else 0) != (32 if file.size else 0):
        problem = "a pieces root has 32 bytes, and an empty file has none"
    elif len(file.piece_layer) != (32 * pieces if pieces > 1 else 0):
        problem = f"the piece layer has {len(file.piece_layer)} bytes for {pieces} pieces"
    elif hybrid and len(file.v1_pieces) != 20 * pieces:
        problem = f"{len(file.v1_pieces)} bytes of v1 hashes for {pieces} pieces"
    if problem:
        raise ValueError(f"{quoted(file.path)}: {problem}")
