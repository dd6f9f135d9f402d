"""The `.torrent` file: an info dictionary, and around it what the info-hash does not cover.

The piece layers are checked against the tree's roots: libtorrent loads a torrent whose layers do not fit.
Trackers and web seeds are somebody's word only; they say where to ask, never what is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weightshare.errors import MetainfoError
from weightshare.manifest import bencode, merkle
from weightshare.manifest.info import Info, check_names, check_piece_length
from weightshare.manifest.info_reader import parse_info
from weightshare.manifest.info_writer import HashedFile
from weightshare.manifest.text import quoted, unsafe_character
from weightshare.units import MAX_TORRENT

CREATED_BY = "weightshare"


@dataclass(frozen=True, slots=True)
class Torrent:
    """A `.torrent` whose info dictionary and piece layers hold.

    Attributes:
        info: the info dictionary.
        piece_layers: by `pieces root`, the concatenated piece hashes of every file longer than one piece.
        trackers: URLs, in order, each once.
        web_seeds: URLs (BEP 19).
        raw: the whole file.
    """

    info: Info
    piece_layers: Mapping[bytes, bytes]
    trackers: tuple[str, ...]
    web_seeds: tuple[str, ...]
    raw: bytes


def build_torrent(
    info: bytes,
    files: Sequence[HashedFile],
    *,
    trackers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
    comment: str = "",
    created_by: str = CREATED_BY,
) -> bytes:
    """The `.torrent` around an info dictionary; the same bytes for the same arguments.

    Args:
        info: the bencoded info dictionary, as of `build_info`.
        files: the files it was built from, with their piece layers.
        trackers: announce URLs, each a tier of its own (BEP 12).
        web_seeds: URLs of folders or files (BEP 19).
        comment: a line for people.
        created_by: the program.
    """
    layers = {f.pieces_root: f.piece_layer for f in files if f.pieces_root is not None and f.piece_layer}
    document = _frame(trackers, web_seeds, comment, created_by)
    document[b"info"] = bencode.Encoded(info)
    document[b"piece layers"] = layers
    return bencode.encode(document)


def build_v1_torrent(
    name: str,
    piece_length: int,
    files: Sequence[tuple[str, int]],
    pieces: bytes,
    *,
    trackers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
    comment: str = "",
    created_by: str = CREATED_BY,
) -> bytes:
    """A plain v1 torrent of the same files, for clients that choke on a v2 tree: no pads anywhere.

    Args:
        name: the folder's name.
        piece_length: bytes.
        files: path and size of each file, in the order in which they were hashed.
        pieces: SHA-1 of each piece of the concatenated files.
        trackers: announce URLs.
        web_seeds: URLs of folders.
        comment: a line for people.
        created_by: the program.

    Raises:
        UnsafePathError: a path or the name breaks a rule.
        ValueError: `pieces` does not fit the sizes.
    """
    check_piece_length(piece_length)
    check_names(name, [path for path, _ in files], hybrid=False)
    count = -(-sum(size for _, size in files) // piece_length)
    if len(pieces) != 20 * count:
        raise ValueError(f"{len(pieces)} bytes of hashes for {count} pieces")
    document = _frame(trackers, web_seeds, comment, created_by)
    document[b"info"] = {
        b"files": [{b"length": size, b"path": path.split("/")} for path, size in files],
        b"name": name,
        b"piece length": piece_length,
        b"pieces": pieces,
    }
    return bencode.encode(document)


def v1_paths(raw: bytes) -> tuple[str, ...]:
    """The paths that a plain v1 torrent of ours lists, in its order; only for what `build_v1_torrent` wrote.

    Raises:
        MetainfoError: it is none.
        UnsafePathError: a path breaks a rule.
    """
    document = bencode.decode(raw, limit=MAX_TORRENT, what="torrent file")
    try:
        info = document[b"info"]  # type: ignore[index]
        name = info[b"name"].decode()
        paths = tuple(b"/".join(file[b"path"]).decode() for file in info[b"files"])
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise _error("info", "a v1 torrent of several files is expected") from None
    check_names(name, paths, hybrid=False)
    return paths


def parse_torrent(raw: bytes, *, allow_missing_layers: bool = False) -> Torrent:
    """Read a `.torrent` of unknown origin.

    Args:
        raw: the whole file.
        allow_missing_layers: accept a file that lacks layers (they can be asked of peers); a layer that is
            there must hold all the same.

    Raises:
        MetainfoError: it breaks the format, or a piece layer does not lead to its root.
        UnsafePathError: its name or a path breaks a rule.
    """
    document = bencode.decode(raw, limit=MAX_TORRENT, what="torrent file")
    if not isinstance(document, dict) or not isinstance(document.get(b"info"), dict):
        raise _error("info", "a dictionary is expected", hint="Is this a .torrent file at all?")
    # Strict decoding makes this the very bytes that were read.
    info = parse_info(bencode.encode(document[b"info"]))
    layers = document.get(b"piece layers", {})
    if not isinstance(layers, dict):
        raise _error("piece layers", "a dictionary is expected")
    checked: dict[bytes, bytes] = {}
    for file in info.files:
        root = file.pieces_root
        if root is None or file.size <= info.piece_length or root in checked:
            continue
        layer = layers.get(root)
        if layer is None and allow_missing_layers:
            continue
        count = -(-file.size // info.piece_length)
        if not isinstance(layer, bytes) or len(layer) != merkle.HASH_SIZE * count:
            raise _error("piece layers", f"{quoted(file.path)} needs {count} hashes of 32 bytes")
        if merkle.file_root(merkle.split_layer(layer), info.piece_length) != root:
            raise _error("piece layers", f"the hashes of {quoted(file.path)} do not lead to its pieces root")
        checked[root] = layer
    strangers = layers.keys() - checked.keys()
    if strangers:
        raise _error("piece layers", f"{len(strangers)} layers belong to no file")
    return Torrent(info, checked, _trackers(document), _web_seeds(document), raw)


def _frame(
    trackers: Sequence[str], web_seeds: Sequence[str], comment: str, created_by: str
) -> dict[bytes, object]:
    document: dict[bytes, object] = {}
    if trackers:
        document[b"announce"] = trackers[0]
    if len(trackers) > 1:
        document[b"announce-list"] = [[tracker] for tracker in trackers]
    if web_seeds:
        document[b"url-list"] = list(web_seeds)
    if comment:
        document[b"comment"] = comment
    if created_by:
        document[b"created by"] = created_by
    return document


def _trackers(document: dict[bytes, object]) -> tuple[str, ...]:
    tiers = document.get(b"announce-list", [])
    if not isinstance(tiers, list) or not all(isinstance(tier, list) for tier in tiers):
        raise _error("announce-list", "a list of lists is expected")
    urls = [url for tier in tiers for url in tier]
    if not urls and b"announce" in document:
        urls = [document[b"announce"]]
    return _urls(urls, "announce-list")


def _web_seeds(document: dict[bytes, object]) -> tuple[str, ...]:
    urls = document.get(b"url-list", [])
    return _urls(urls if isinstance(urls, list) else [urls], "url-list")


def _urls(values: list[object], where: str) -> tuple[str, ...]:
    urls: dict[str, None] = {}
    for value in values:
        try:
            url = value.decode("utf-8") if isinstance(value, bytes) else None
        except UnicodeDecodeError:
            url = None
        if url is None or unsafe_character(url) or " " in url:
            raise _error(where, "a URL is expected")
        if url:
            urls[url] = None
    return tuple(urls)


def _error(where: str, problem: str, hint: str = "") -> MetainfoError:
    return MetainfoError(f"The torrent file, field `{where}`: {problem}.", hint=hint, field=where)
