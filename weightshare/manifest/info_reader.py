"""Reads an info dictionary of unknown origin, from its raw bytes.

libtorrent's own file list is repaired (`..` becomes `_`, case twins are renamed, links are followed), and
what is repaired is no longer what was signed. So this walks the raw `file tree`, and refuses what breaks a
rule.

The v1 half of a hybrid must describe exactly the same files: the tree's order and sizes, and a pad file (BEP
47) before each non-empty file that would not start on a piece boundary. A pad after the last file is
accepted, since libtorrent writes one by default.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from weightshare.errors import MetainfoError, UnsafePathError
from weightshare.manifest import bencode
from weightshare.manifest.info import PAD_FOLDER, Info, TreeFile, V1File, check_names, check_piece_length
from weightshare.manifest.info_texts import problem, text_of
from weightshare.manifest.text import quoted
from weightshare.units import MAX_FILES, MAX_INFO, MAX_JSON_INTEGER, MAX_PART, MAX_PATH_DEPTH


def parse_info(raw: bytes) -> Info:
    """Read an info dictionary of unknown origin.

    Raises:
        MetainfoError: it breaks the format or a limit; its fact `field` says where.
        UnsafePathError: its name or a path breaks a rule.
    """
    info = bencode.decode(raw, limit=MAX_INFO, what="info dictionary")
    if not isinstance(info, dict):
        raise problem("", "it is no dictionary")
    version = info.get(b"meta version")
    if version != 2:
        raise MetainfoError(
            f"The info dictionary's `meta version` is {quoted(str(version))}, not 2.",
            hint="Only BitTorrent v2 and hybrid torrents carry hashes to rely on; v1 has SHA-1 alone.",
            field="meta version",
            v1=version is None and b"file tree" not in info,
        )
    piece_length = info.get(b"piece length")
    if not isinstance(piece_length, int):
        raise problem("piece length", "an integer is expected")
    try:
        check_piece_length(piece_length)
    except ValueError as error:
        raise problem("piece length", str(error)) from error
    name = text_of(info.get(b"name"), "name")
    _same_in_utf8(info, b"name", info.get(b"name"), "name.utf-8")
    tree = info.get(b"file tree")
    if not isinstance(tree, dict):
        raise problem("file tree", "a dictionary is expected")
    files = _walk(tree)
    v1_files = _v1_list(info)
    check_names(name, [file.path for file in files], hybrid=v1_files is not None)
    parsed = Info(name, piece_length, files, v1_files, raw)
    if sum(file.size for file in files) > MAX_JSON_INTEGER:
        raise problem("file tree", "the files' sizes add up past 2^53-1")
    if v1_files is not None:
        _compare(parsed, v1_files, single="length" if b"length" in info else "", pieces=info.get(b"pieces"))
    return parsed


def _walk(tree: dict[bytes, object]) -> tuple[TreeFile, ...]:
    """All files of the raw `file tree`, in its order; the decoder has already seen to the keys' order."""
    files: list[TreeFile] = []
    stack: list[tuple[str, dict[bytes, object], int]] = [("", tree, 0)]
    while stack:
        path, node, depth = stack.pop()
        leaf = node.get(b"")
        if leaf is not None:
            if len(node) > 1 or not path:
                raise UnsafePathError(
                    f"Unsafe path {quoted(path)}: it is a file and a folder at once.",
                    path=path,
                    reason="it is a file and a folder at once",
                )
            files.append(_leaf(path, leaf))
            continue
        if not node:
            raise problem("file tree", f"the folder {quoted(path)} is empty")
        if depth >= MAX_PATH_DEPTH:
            raise UnsafePathError(
                f"Unsafe path {quoted(path)}: more than {MAX_PATH_DEPTH} parts deep.",
                path=path,
                reason=f"more than {MAX_PATH_DEPTH} parts deep",
            )
        # Every node holds a file at least, so this bounds the files before their paths are even built.
        if len(files) + len(stack) + len(node) > MAX_FILES + 1:
            raise problem("file tree", f"more than {MAX_FILES:,} files beside the manifest")
        for part, child in reversed(node.items()):
            text = _part(part, path)
            if not isinstance(child, dict):
                raise problem("file tree", f"{quoted(text)} is no dictionary")
            stack.append((f"{path}/{text}" if path else text, child, depth + 1))
    if not files:
        raise problem("file tree", "it holds no file")
    return tuple(files)


def _leaf(path: str, leaf: object) -> TreeFile:
    where = f"file tree: {quoted(path)}"
    if not isinstance(leaf, dict):
        raise problem(where, "a dictionary is expected")
    _refuse_attributes(leaf, where, allowed=(b"",))
    size = leaf.get(b"length")
    if not isinstance(size, int) or not 0 <= size <= MAX_JSON_INTEGER:
        raise problem(where, "a `length` from 0 to 2^53-1 is expected")
    root = leaf.get(b"pieces root")
    if size == 0:
        if root is not None:
            raise problem(where, "an empty file has no `pieces root`")
        return TreeFile(path, 0, None)
    if not isinstance(root, bytes) or len(root) != 32:
        raise problem(where, "a `pieces root` of 32 bytes is expected")
    return TreeFile(path, size, root)


def _v1_list(info: dict[bytes, object]) -> tuple[V1File, ...] | None:
    if not any(key in info for key in (b"files", b"length", b"pieces")):
        return None
    if b"pieces" not in info or (b"files" in info) == (b"length" in info):
        raise problem("pieces", "half a v1 list: `pieces` and one of `files` and `length` belong together")
    if b"length" in info:
        _refuse_attributes(info, "length", allowed=(b"",))
        size = info[b"length"]
        if not isinstance(size, int) or size < 0:
            raise problem("length", "a size is expected")
        return (V1File(text_of(info[b"name"], "name"), size),)
    entries = info[b"files"]
    if not isinstance(entries, list):
        raise problem("files", "a list is expected")
    if len(entries) > 2 * (MAX_FILES + 1):
        raise problem("files", f"{len(entries):,} entries are too many")
    return tuple(_v1_entry(entry, index) for index, entry in enumerate(entries))


def _v1_entry(entry: object, index: int) -> V1File:
    where = f"files[{index}]"
    if not isinstance(entry, dict):
        raise problem(where, "a dictionary is expected")
    _refuse_attributes(entry, where, allowed=(b"", b"p"))
    size, parts = entry.get(b"length"), entry.get(b"path")
    if not isinstance(size, int) or not 0 <= size <= MAX_JSON_INTEGER:
        raise problem(f"{where}.length", "a size from 0 to 2^53-1 is expected")
    if not isinstance(parts, list) or not 0 < len(parts) <= MAX_PATH_DEPTH:
        raise problem(f"{where}.path", f"a list of 1 to {MAX_PATH_DEPTH} names is expected")
    _same_in_utf8(entry, b"path", parts, f"{where}.path.utf-8")
    path = "/".join(_part(part, where) for part in parts)
    pad = entry.get(b"attr") == b"p"
    if pad and not re.fullmatch(rf"{re.escape(PAD_FOLDER)}/{size}(-[1-9][0-9]{{0,6}})?", path, re.ASCII):
        raise problem(f"{where}.path", f"a pad file of {size} bytes is named {PAD_FOLDER}/{size}")
    return V1File(path, size, pad)


def _compare(info: Info, v1_files: Sequence[V1File], *, single: str, pieces: object) -> None:
    """Hold the v1 list against the tree: a v1 client must get the same files as a v2 client."""
    if bool(single) != info.single_file:
        raise problem("files", "the v1 list and the tree differ on whether this is a single file")
    expected = iter(info.files)
    offset = 0
    for index, entry in enumerate(v1_files):
        where = f"files[{index}]"
        short = -offset % info.piece_length
        if entry.pad:
            if entry.size != short or not short:
                raise problem(where, f"a pad of {entry.size} bytes where {short} are missing to a piece")
        else:
            file = next(expected, None)
            if file is None:
                raise problem(where, f"{quoted(entry.path)} is not in the tree")
            if (entry.path, entry.size) != (file.path, file.size):
                raise problem(
                    where,
                    f"{quoted(entry.path)} of {entry.size} bytes, "
                    f"where the tree has {quoted(file.path)} of {file.size}",
                )
            if entry.size and short:
                raise problem(where, f"{quoted(entry.path)} starts within a piece; a pad is missing")
        offset += entry.size
    missing = next(expected, None)
    if missing is not None:
        raise problem("files", f"{quoted(missing.path)} of the tree is missing")
    count = -(-offset // info.piece_length)
    if not isinstance(pieces, bytes) or len(pieces) != 20 * count:
        found = f"{len(pieces)} bytes" if isinstance(pieces, bytes) else "no text"
        raise problem("pieces", f"{found}; 20 for each of {count} pieces are expected")


def _refuse_attributes(entry: dict[bytes, object], where: str, *, allowed: tuple[bytes, ...]) -> None:
    attributes = entry.get(b"attr", b"")
    if b"symlink path" in entry or attributes not in allowed:
        raise problem(where, "links, executable, hidden and other special files (`attr`) are refused")


def _same_in_utf8(entry: dict[bytes, object], key: bytes, value: object, where: str) -> None:
    # Some v1 clients prefer `name.utf-8` and `path.utf-8`: another value there is another view of the files.
    twin = key + b".utf-8"
    if twin in entry and entry[twin] != value:
        raise problem(where, "it differs from the plain field")


def _part(part: object, where: str) -> str:
    text = text_of(part, where)
    if not text or "/" in text or len(text) > MAX_PART:
        reason = f"a part is empty, holds `/`, or is longer than {MAX_PART} bytes"
        raise UnsafePathError(f"Unsafe name {quoted(text)}: {reason}.", path=text, reason=reason)
    return text
