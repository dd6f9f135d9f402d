"""Reads the info dictionary of a plain v1 torrent (BEP 3) of unknown origin, from its raw bytes.

libtorrent repairs names that it finds unsafe, and what is repaired is no longer what a signer or a user looked at. So
this walks the raw list, and refuses what breaks a rule. Pads (BEP 47, and those that BitComet knew before) count as
bytes of the torrent and are never written.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from weightshare.manifest import bencode
from weightshare.manifest.info import MAX_PIECE_LENGTH, V1File
from weightshare.manifest.info_texts import problem, text_of
from weightshare.manifest.paths import check_part, check_path, check_paths
from weightshare.units import MAX_FILES, MAX_INFO, MAX_JSON_INTEGER, MAX_PATH_DEPTH

_SHA1 = 20
_BITCOMET_PAD = "_____padding_file_"  # the engine takes any path with this for a pad


@dataclass(frozen=True)
class V1Info:
    """A v1 info dictionary that keeps every rule.

    Attributes:
        name: the folder's name; the file's, for a single-file torrent.
        piece_length: bytes; not always a power of two.
        entries: the list in its order, pads included; a single file stands in it under the torrent's name.
        single_file: whether it is one file with no folder around it.
        pieces: SHA-1 of each piece of all entries, one after the other.
        raw: the bencoded dictionary, as hashed.
    """

    name: str
    piece_length: int
    entries: tuple[V1File, ...]
    single_file: bool
    pieces: bytes
    raw: bytes

    @property
    def files(self) -> tuple[V1File, ...]:
        """The files without the pads, in the list's order."""
        return tuple(entry for entry in self.entries if not entry.pad)

    @property
    def size(self) -> int:
        """Bytes of all files, without pads."""
        return sum(file.size for file in self.files)

    @property
    def padded(self) -> bool:
        """Whether there are pads between the files."""
        return any(entry.pad and entry.size for entry in self.entries)

    @cached_property
    def v1_hash(self) -> bytes:
        """The info-hash: SHA-1 of the dictionary (20 bytes)."""
        return hashlib.sha1(self.raw, usedforsecurity=False).digest()


def parse_v1_info(raw: bytes) -> V1Info:
    """Read a v1 info dictionary of unknown origin.

    Raises:
        MetainfoError: it breaks the format or a limit, or is of version 2; its fact `field` says where.
        UnsafePathError: its name or a path breaks a rule.
    """
    info = bencode.decode(raw, limit=MAX_INFO, what="info dictionary")
    if not isinstance(info, dict):
        raise problem("", "it is no dictionary")
    if b"meta version" in info or b"file tree" in info:
        raise problem(
            "meta version", "it is a torrent of version 2 or a hybrid, where a plain v1 one is expected"
        )
    piece_length = info.get(b"piece length")
    if not isinstance(piece_length, int) or not 0 < piece_length <= MAX_PIECE_LENGTH:
        raise problem("piece length", f"bytes from 1 to {MAX_PIECE_LENGTH:,} are expected")
    name = text_of(info.get(b"name"), "name")
    _same_in_utf8(info, b"name", info.get(b"name"), "name.utf-8")
    check_part(name)
    single = b"files" not in info
    if single == (b"length" not in info):
        raise problem("files", "either `files` or `length` is expected")
    entries = (_single(info, name),) if single else _list(info[b"files"])
    files = [entry.path for entry in entries if not entry.pad]
    if not files:
        raise problem("files", "it holds no file")
    check_paths(files)
    total = sum(entry.size for entry in entries)
    if total > MAX_JSON_INTEGER:
        raise problem("files", "the sizes add up past 2^53-1")
    pieces, count = info.get(b"pieces"), -(-total // piece_length)
    if not isinstance(pieces, bytes) or len(pieces) != _SHA1 * count:
        found = f"{len(pieces)} bytes" if isinstance(pieces, bytes) else "no text"
        raise problem("pieces", f"{found}; {_SHA1} for each of {count:,} pieces are expected")
    return V1Info(name, piece_length, entries, single, pieces, raw)


def _single(info: dict[bytes, object], name: str) -> V1File:
    _refuse_attributes(info, "length", allowed=(b"",))
    return V1File(name, _size(info.get(b"length"), "length"))


def _list(entries: object) -> tuple[V1File, ...]:
    if not isinstance(entries, list):
        raise problem("files", "a list is expected")
    if len(entries) > 2 * (MAX_FILES + 1):
        raise problem("files", f"{len(entries):,} entries are too many")
    found = tuple(_entry(entry, index) for index, entry in enumerate(entries))
    if sum(not entry.pad for entry in found) > MAX_FILES:
        raise problem("files", f"more than {MAX_FILES:,} files")
    return found


def _entry(entry: object, index: int) -> V1File:
    where = f"files[{index}]"
    if not isinstance(entry, dict):
        raise problem(where, "a dictionary is expected")
    _refuse_attributes(entry, where, allowed=(b"", b"p"))
    size, parts = _size(entry.get(b"length"), f"{where}.length"), entry.get(b"path")
    if not isinstance(parts, list) or not 0 < len(parts) <= MAX_PATH_DEPTH:
        raise problem(f"{where}.path", f"a list of 1 to {MAX_PATH_DEPTH} names is expected")
    _same_in_utf8(entry, b"path", parts, f"{where}.path.utf-8")
    names = [text_of(part, f"{where}.path") for part in parts]
    for name in names:
        check_part(name)  # a part may not hold `/`, which would be gone once they are joined
    path = "/".join(names)
    check_path(path)
    return V1File(path, size, entry.get(b"attr") == b"p" or _BITCOMET_PAD in path)


def _size(value: object, where: str) -> int:
    if not isinstance(value, int) or not 0 <= value <= MAX_JSON_INTEGER:
        raise problem(where, "a size from 0 to 2^53-1 is expected")
    return value


def _refuse_attributes(entry: dict[bytes, object], where: str, *, allowed: tuple[bytes, ...]) -> None:
    if b"symlink path" in entry or entry.get(b"attr", b"") not in allowed:
        raise problem(where, "links, executable, hidden and other special files (`attr`) are refused")


def _same_in_utf8(entry: dict[bytes, object], key: bytes, value: object, where: str) -> None:
    # Some clients prefer `name.utf-8` and `path.utf-8`: another value there is another view of the files.
    if key + b".utf-8" in entry and entry[key + b".utf-8"] != value:
        raise problem(where, "it differs from the plain field")
