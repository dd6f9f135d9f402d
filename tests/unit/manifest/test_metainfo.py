"""Reading info dictionaries of hostile origin; that honest ones equal libtorrent's is tested in interop."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from tests.builders_metainfo import hashed_all
from weightshare.errors import MetainfoError, UnsafePathError
from weightshare.manifest import bencode
from weightshare.manifest.metainfo import (
    HashedFile,
    Info,
    build_info,
    build_torrent,
    build_v1_torrent,
    default_piece_length,
    parse_info,
    parse_torrent,
)
from weightshare.units import GIB, KIB, MAX_FILES, MIB

PIECE = 32 * KIB
FILES = {
    "a.bin": b"a" * (2 * PIECE + 1),
    "b-empty": b"",
    "sub/c.json": b"{}",
    "sub-x": b"x" * PIECE,
    "weightshare.json": b"manifest",
}
Change = Callable[[dict[bytes, Any]], object]


def _info(hybrid: bool = True, files: dict[str, bytes] = FILES) -> dict[bytes, Any]:
    raw = build_info("m7b", PIECE, hashed_all(files, PIECE, hybrid=hybrid), hybrid=hybrid)
    decoded = bencode.decode(raw, limit=len(raw), what="info")
    assert isinstance(decoded, dict)
    return decoded


def _parse(info: dict[bytes, Any]) -> Info:
    return parse_info(bencode.encode(info))


def _leaf(info: dict[bytes, Any], *parts: bytes) -> dict[bytes, Any]:
    node = info[b"file tree"]
    for part in parts:
        node = node[part]
    leaf: dict[bytes, Any] = node[b""]
    return leaf


def _put(path: list[bytes], size: int = 0) -> Change:
    def change(info: dict[bytes, Any]) -> None:
        node = info[b"file tree"]
        for part in path:
            node = node.setdefault(part, {})
        node[b""] = {b"length": size} | ({b"pieces root": b"r" * 32} if size else {})

    return change


@pytest.mark.parametrize("hybrid", [True, False])
def test_reads_what_was_built(hybrid: bool) -> None:
    hashed = hashed_all(FILES, PIECE, hybrid=hybrid)
    raw = build_info("m7b", PIECE, hashed, hybrid=hybrid)
    info = parse_info(raw)
    assert (info.name, info.piece_length, info.hybrid, info.single_file) == ("m7b", PIECE, hybrid, False)
    assert [file.path for file in info.files] == [
        "a.bin",
        "b-empty",
        "sub/c.json",
        "sub-x",
        "weightshare.json",
    ]
    roots = {file.path: file.pieces_root for file in hashed}
    assert all(file.pieces_root == roots[file.path] for file in info.files)
    assert info.v2_hash == hashlib.sha256(raw).digest()
    assert info.v1_hash == (hashlib.sha1(raw).digest() if hybrid else None)
    assert info.size == sum(map(len, FILES.values()))


def test_pads_stand_before_the_next_file_with_bytes_and_only_in_the_v1_list() -> None:
    info = _parse(_info())
    assert info.v1_files is not None
    assert [(file.path, file.pad) for file in info.v1_files] == [
        ("a.bin", False),
        ("b-empty", False),
        (f".pad/{PIECE - 1}", True),
        ("sub/c.json", False),
        (f".pad/{PIECE - 2}", True),
        ("sub-x", False),
        ("weightshare.json", False),
    ]
    assert not any(file.path.startswith(".pad") for file in info.files)


def test_pads_of_one_size_have_paths_of_their_own() -> None:
    """Shards of equal size want equal pads, and rtorrent opens no torrent that names a file twice."""
    files = {f"shard-{number}": bytes([number]) * (PIECE - 5) for number in range(4)}
    raw = _info(files=files)
    assert _pads(raw) == [b".pad/5", b".pad/5-2", b".pad/5-3"]
    _parse(raw)
    for entry in raw[b"files"]:
        if entry.get(b"attr") == b"p":
            entry[b"path"] = [b".pad", b"5"]  # as libtorrent names them
    assert _pads(raw) == [b".pad/5"] * 3
    _parse(raw)


@pytest.mark.parametrize("name", [b"5-", b"5-02", b"5-x", b"5-2.py", b"6", b"05", b"5\n"])
def test_a_pad_has_no_other_name(name: bytes) -> None:
    raw = _info(files={f"shard-{number}": bytes([number]) * (PIECE - 5) for number in range(2)})
    (pad,) = (entry for entry in raw[b"files"] if entry.get(b"attr") == b"p")
    pad[b"path"] = [b".pad", name]
    with pytest.raises((MetainfoError, UnsafePathError)):
        _parse(raw)


def _pads(info: dict[bytes, Any]) -> list[bytes]:
    return [b"/".join(entry[b"path"]) for entry in info[b"files"] if entry.get(b"attr") == b"p"]


UNSAFE: dict[str, Change] = {
    "parent": _put([b".."]),
    "parent below": _put([b"sub", b".."]),
    "slash in a part": _put([b"x/../../etc"]),
    "slash in a harmless part": _put([b"x/y"]),
    "absolute": _put([b"/etc"]),
    "backslash": _put([b"..\\x"]),
    "drive": _put([b"C:"]),
    "device": _put([b"CON"]),
    "case twin": _put([b"A.BIN"]),
    "case twin folder": _put([b"SUB", b"y"]),
    "not UTF-8": _put([b"\xff\xfe"]),
    "not NFC": _put(["e\u0301".encode()]),
    "control character": _put([b"\x1b[2J"]),
    "long part": _put([b"x" * 256]),
    "long path": _put([b"x" * 200] * 6),
    "deep": _put([b"d"] * 17),
    "file and folder": _put([b"a.bin", b"below"]),
    "root is a file": lambda i: i[b"file tree"].update({b"": {b"length": 0}}),
    "name is a path": lambda i: i.update({b"name": b"../m7b"}),
    "name is empty": lambda i: i.update({b"name": b""}),
    "name is not UTF-8": lambda i: i.update({b"name": b"\xff"}),
    "name ends in a dot": lambda i: i.update({b"name": b"m7b."}),
}


@pytest.mark.parametrize("change", UNSAFE.values(), ids=UNSAFE.keys())
def test_unsafe_names_are_refused(change: Change) -> None:
    info = _info(hybrid=False)
    change(info)
    with pytest.raises(UnsafePathError) as caught:
        _parse(info)
    assert "\x1b" not in caught.value.message


def test_a_hybrid_holds_no_file_where_v1_clients_put_pads() -> None:
    files = FILES | {".pad/5": b"x"}
    with pytest.raises(UnsafePathError, match="pad files"):
        _info(files=files)
    assert _parse(_info(hybrid=False, files=files)).files[0].path == ".pad/5"


TREE: dict[str, Change] = {
    "link": lambda i: _leaf(i, b"a.bin").update({b"attr": b"l", b"symlink path": [b"sub-x"]}),
    "link target alone": lambda i: _leaf(i, b"a.bin").update({b"symlink path": [b".."]}),
    "executable": lambda i: _leaf(i, b"a.bin").update({b"attr": b"x"}),
    "hidden": lambda i: _leaf(i, b"a.bin").update({b"attr": b"h"}),
    "several attributes": lambda i: _leaf(i, b"a.bin").update({b"attr": b"px"}),
    "pad in the tree": lambda i: _leaf(i, b"a.bin").update({b"attr": b"p"}),
    "attributes of another type": lambda i: _leaf(i, b"a.bin").update({b"attr": 1}),
    "no length": lambda i: _leaf(i, b"a.bin").pop(b"length"),
    "negative length": lambda i: _leaf(i, b"a.bin").update({b"length": -1}),
    "length past 2^53": lambda i: _leaf(i, b"a.bin").update({b"length": 2**53}),
    "length as text": lambda i: _leaf(i, b"a.bin").update({b"length": b"5"}),
    "no root": lambda i: _leaf(i, b"a.bin").pop(b"pieces root"),
    "short root": lambda i: _leaf(i, b"a.bin").update({b"pieces root": b"r" * 31}),
    "root of an empty file": lambda i: _leaf(i, b"b-empty").update({b"pieces root": b"r" * 32}),
    "sizes add up too far": lambda i: [
        _leaf(i, name).update({b"length": 2**53 - 1}) for name in (b"a.bin", b"sub-x")
    ],
    "leaf is a text": lambda i: i[b"file tree"][b"a.bin"].update({b"": b"x"}),
    "node is a text": lambda i: i[b"file tree"].update({b"a.bin": b"x"}),
    "empty folder": lambda i: i[b"file tree"].update({b"c": {}}),
    "empty tree": lambda i: i.update({b"file tree": {}}),
    "no tree": lambda i: i.pop(b"file tree"),
    "no version": lambda i: i.pop(b"meta version"),
    "version 1": lambda i: i.update({b"meta version": 1}),
    "version 3": lambda i: i.update({b"meta version": 3}),
    "no name": lambda i: i.pop(b"name"),
    "another name in UTF-8": lambda i: i.update({b"name.utf-8": b"other"}),
    "no piece length": lambda i: i.pop(b"piece length"),
    "piece length no power of two": lambda i: i.update({b"piece length": 48 * KIB}),
    "piece length too small": lambda i: i.update({b"piece length": 8 * KIB}),
    "piece length zero": lambda i: i.update({b"piece length": 0}),
    "piece length negative": lambda i: i.update({b"piece length": -PIECE}),
    "piece length too large": lambda i: i.update({b"piece length": 256 * MIB}),
}


@pytest.mark.parametrize("change", TREE.values(), ids=TREE.keys())
def test_a_broken_tree_is_refused(change: Change) -> None:
    info = _info(hybrid=False)
    change(info)
    with pytest.raises(MetainfoError) as caught:
        _parse(info)
    assert caught.value.exit_code == 4


def _swap(info: dict[bytes, Any]) -> None:
    files = info[b"files"]
    files[0], files[1] = files[1], files[0]


V1: dict[str, Change] = {
    "order": _swap,
    "size": lambda i: i[b"files"][0].update({b"length": 2 * PIECE}),
    "name": lambda i: i[b"files"][0].update({b"path": [b"b.bin"]}),
    "file dropped": lambda i: i[b"files"].pop(),
    "file added": lambda i: i[b"files"].append({b"length": 0, b"path": [b"z"]}),
    "pad dropped": lambda i: i[b"files"].pop(2),
    "pad doubled": lambda i: i[b"files"].insert(2, dict(i[b"files"][2])),
    "pad too short": lambda i: i[b"files"][2].update({b"length": 1, b"path": [b".pad", b"1"]}),
    "pad where none is due": lambda i: i[b"files"].insert(
        0, {b"attr": b"p", b"length": PIECE, b"path": [b".pad", b"%d" % PIECE]}
    ),
    "pad of no bytes": lambda i: i[b"files"].insert(
        0, {b"attr": b"p", b"length": 0, b"path": [b".pad", b"0"]}
    ),
    "pad under another name": lambda i: i[b"files"][2].update({b"path": [b"payload"]}),
    "pad without its mark": lambda i: i[b"files"][2].pop(b"attr"),
    "file marked as a pad": lambda i: i[b"files"][0].update({b"attr": b"p"}),
    "file marked executable": lambda i: i[b"files"][0].update({b"attr": b"x"}),
    "file marked as a link": lambda i: i[b"files"][0].update({b"attr": b"l", b"symlink path": [b"x"]}),
    "another path in UTF-8": lambda i: i[b"files"][0].update({b"path.utf-8": [b"other"]}),
    "no path": lambda i: i[b"files"][0].pop(b"path"),
    "empty path": lambda i: i[b"files"][0].update({b"path": []}),
    "entry is a text": lambda i: i[b"files"].append(b"x"),
    "list is a text": lambda i: i.update({b"files": b"x"}),
    "pieces too few": lambda i: i.update({b"pieces": i[b"pieces"][:-20]}),
    "pieces uneven": lambda i: i.update({b"pieces": i[b"pieces"] + b"x"}),
    "pieces of another type": lambda i: i.update({b"pieces": []}),
    "no pieces": lambda i: i.pop(b"pieces"),
    "no list": lambda i: i.pop(b"files"),
    "list and length": lambda i: i.update({b"length": 5}),
    "length for a folder": lambda i: (i.pop(b"files"), i.update({b"length": 5})),
}


@pytest.mark.parametrize("change", V1.values(), ids=V1.keys())
def test_a_hybrid_whose_halves_differ_is_refused(change: Change) -> None:
    info = _info()
    change(info)
    with pytest.raises(MetainfoError):
        _parse(info)


def test_a_file_that_starts_within_a_piece_is_refused_whatever_else_fits() -> None:
    info = _info(files={"a": b"a" * 5, "b": b"b" * 7})
    del info[b"files"][1]
    info[b"pieces"] = info[b"pieces"][:20]
    with pytest.raises(MetainfoError, match="a pad is missing"):
        _parse(info)


def test_a_file_missing_at_the_end_of_the_v1_list_is_refused_whatever_else_fits() -> None:
    info = _info(files={"a": b"a" * 5, "z-empty": b""})
    del info[b"files"][-1]
    with pytest.raises(MetainfoError, match="'z-empty' of the tree is missing"):
        _parse(info)


def test_single_file_torrents_are_read_in_both_halves() -> None:
    info = _info(files={"model": b"x" * 100})
    info[b"name"] = b"model"
    with pytest.raises(MetainfoError, match="single file"):
        _parse(info)
    info[b"length"] = info.pop(b"files")[0][b"length"]
    parsed = _parse(info)
    assert parsed.single_file
    assert parsed.hybrid
    info[b"length"] = 99
    with pytest.raises(MetainfoError):
        _parse(info)


def test_the_file_limit_holds_with_one_more_for_the_manifest() -> None:
    def tree(count: int) -> bytes:
        return bencode.encode(
            {
                "file tree": {f"f{n:05}": {"": {"length": 0}} for n in range(count)},
                "meta version": 2,
                "name": "m",
                "piece length": PIECE,
            }
        )

    assert len(parse_info(tree(MAX_FILES + 1)).files) == MAX_FILES + 1
    with pytest.raises(MetainfoError, match="more than 10,000 files"):
        parse_info(tree(MAX_FILES + 2))


def _deep(levels: int) -> bytes:
    tree = b"d1:a" * levels + b"d0:d6:lengthi0eee" + b"e" * levels
    return b"d9:file tree" + tree + b"12:meta versioni2e4:name1:m12:piece lengthi32768ee"


def _long_folder() -> bytes:
    children = b"".join(b"5:%05dde" % n for n in range(99_999))
    name = b"x" * MIB
    tree = b"d%d:%sd%see" % (len(name), name, children)
    return b"d9:file tree" + tree + b"12:meta versioni2e4:name1:m12:piece lengthi32768ee"


def test_a_long_name_is_not_copied_for_every_file_below_it() -> None:
    name, children = b"x" * 20_000, b"".join(b"5:%05dd0:d6:lengthi0eee" % n for n in range(9_000))
    tree = b"d%d:%sd%see" % (len(name), name, children)
    raw = b"d9:file tree" + tree + b"12:meta versioni2e4:name1:m12:piece lengthi32768ee"
    tracemalloc.start()
    try:
        with pytest.raises(UnsafePathError, match="255 bytes"):
            parse_info(raw)
        assert tracemalloc.get_traced_memory()[1] < 50 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "raw",
    [
        _deep(17),
        _deep(60),
        _deep(100_000),
        _long_folder(),
        b"d9:file tree" + b"d" * (8 * MIB - 12),
        b"d9:file treed" + b"".join(b"7:%07dde" % n for n in range(600_000)) + b"ee",
        b"d5:filesl" + b"de" * (4 * MIB - 8) + b"ee",
        b"x" * (8 * MIB + 1),
        b"le",
        b"i2e",
    ],
    ids=[
        "17 deep",
        "60 deep",
        "10^5 deep",
        "long folder",
        "open",
        "wide",
        "many files",
        "large",
        "list",
        "integer",
    ],
)
def test_hostile_dictionaries_are_refused_fast(raw: bytes) -> None:
    with pytest.raises((MetainfoError, UnsafePathError)):
        parse_info(raw)


# ---- the file around it


def _torrent() -> tuple[bytes, dict[bytes, Any]]:
    hashed = hashed_all(FILES, PIECE)
    raw = build_torrent(build_info("m7b", PIECE, hashed, hybrid=True), hashed)
    decoded = bencode.decode(raw, limit=len(raw), what="torrent")
    assert isinstance(decoded, dict)
    return raw, decoded


def test_torrent_round_trip() -> None:
    hashed = hashed_all(FILES, PIECE)
    info = build_info("m7b", PIECE, hashed, hybrid=True)
    trackers = ("http://a.example/announce", "udp://b.example:1")
    raw = build_torrent(info, hashed, trackers=trackers, web_seeds=["http://c.example/"], comment="hello")
    torrent = parse_torrent(raw)
    assert torrent.info.raw == info
    assert torrent.trackers == trackers
    assert torrent.web_seeds == ("http://c.example/",)
    assert torrent.piece_layers == {file.pieces_root: file.piece_layer for file in hashed if file.piece_layer}
    assert raw == build_torrent(
        info, hashed, trackers=trackers, web_seeds=["http://c.example/"], comment="hello"
    )


def test_a_url_list_that_is_one_text_and_an_announce_alone_are_read() -> None:
    _, document = _torrent()
    document |= {b"announce": b"http://a.example", b"url-list": b"http://c.example/"}
    torrent = parse_torrent(bencode.encode(document))
    assert (torrent.trackers, torrent.web_seeds) == (("http://a.example",), ("http://c.example/",))


def _flip(document: dict[bytes, Any]) -> None:
    for root, layer in document[b"piece layers"].items():
        document[b"piece layers"][root] = bytes([layer[0] ^ 1]) + layer[1:]


def _cut(document: dict[bytes, Any]) -> None:
    for root, layer in document[b"piece layers"].items():
        document[b"piece layers"][root] = layer[:-32]


def _swap_root(document: dict[bytes, Any]) -> None:
    # What libtorrent's torrent_info accepts: the tree says one root, the layers lead to another.
    _leaf(document[b"info"], b"a.bin")[b"pieces root"] = b"r" * 32
    document[b"piece layers"] = dict.fromkeys([b"r" * 32], *document[b"piece layers"].values())


AROUND: dict[str, Change] = {
    "layer changed": _flip,
    "layer cut": _cut,
    "root changed": _swap_root,
    "layer missing": lambda d: d[b"piece layers"].clear(),
    "layers missing": lambda d: d.pop(b"piece layers"),
    "layer of no file": lambda d: d[b"piece layers"].update({b"x" * 32: b"y" * 64}),
    "layers are a list": lambda d: d.update({b"piece layers": []}),
    "no info": lambda d: d.pop(b"info"),
    "info is a text": lambda d: d.update({b"info": b"x"}),
    "tracker with an escape": lambda d: d.update({b"announce": b"http://a/\x1b[2J"}),
    "tracker not UTF-8": lambda d: d.update({b"announce": b"\xff"}),
    "tiers are texts": lambda d: d.update({b"announce-list": [b"http://a"]}),
    "web seed with a space": lambda d: d.update({b"url-list": [b"http://a/ b"]}),
    "web seed is a number": lambda d: d.update({b"url-list": 5}),
}


@pytest.mark.parametrize("change", AROUND.values(), ids=AROUND.keys())
def test_a_broken_torrent_file_is_refused(change: Change) -> None:
    _, document = _torrent()
    change(document)
    with pytest.raises(MetainfoError):
        parse_torrent(bencode.encode(document))


def test_missing_layers_pass_only_on_request_and_wrong_ones_never() -> None:
    _, document = _torrent()
    _flip(document)
    with pytest.raises(MetainfoError, match="do not lead"):
        parse_torrent(bencode.encode(document), allow_missing_layers=True)
    document[b"piece layers"].clear()
    assert parse_torrent(bencode.encode(document), allow_missing_layers=True).piece_layers == {}


# ---- what the writer refuses


@pytest.mark.parametrize(
    "file",
    [
        HashedFile("a", 5, None),
        HashedFile("a", 0, b"r" * 32),
        HashedFile("a", 5, b"r" * 31),
        HashedFile("a", 5, b"r" * 32, b"l" * 32),
        HashedFile("a", PIECE + 1, b"r" * 32, b"l" * 32),
        HashedFile("a", 5, b"r" * 32, b"", b"s" * 40, b"s" * 20),
        HashedFile("a", 5, b"r" * 32, b"", b"s" * 20, b""),
        HashedFile("a", -1, None),
    ],
)
def test_hashes_that_do_not_fit_are_refused(file: HashedFile) -> None:
    with pytest.raises(ValueError, match="'a'"):
        build_info("m", PIECE, [file], hybrid=True)


def test_the_writer_refuses_what_the_reader_would() -> None:
    with pytest.raises(UnsafePathError):
        _info(files={"../x": b"y"})
    with pytest.raises(UnsafePathError):
        build_info("a/b", PIECE, hashed_all({"x": b"y"}, PIECE), hybrid=True)
    with pytest.raises(ValueError, match="piece length"):
        build_info("m", 5, [], hybrid=True)
    with pytest.raises(ValueError, match="0 files"):
        build_info("m", PIECE, [], hybrid=True)
    with pytest.raises(ValueError, match="single-file"):
        build_info("x", PIECE, hashed_all({"x": b"y"}, PIECE), hybrid=True)
    with pytest.raises(ValueError, match="2 pieces"):
        build_v1_torrent("m", PIECE, [("x", PIECE + 1)], b"s" * 20)


@pytest.mark.parametrize(
    ("total", "length"),
    [
        (0, 64 * KIB),
        (512 * MIB - 1, 64 * KIB),
        (512 * MIB, 128 * KIB),
        (GIB, 256 * KIB),
        (14 * GIB, 2 * MIB),
        (32 * GIB, 8 * MIB),
        (64 * GIB, 16 * MIB),
        (1024 * GIB, 16 * MIB),
    ],
)
def test_default_piece_length_makes_about_four_thousand_pieces(total: int, length: int) -> None:
    assert default_piece_length([total // 3, total - total // 3]) == length


@pytest.mark.parametrize(
    ("sizes", "length"),
    [
        # 513 pieces of 64 KiB; of 128 KiB there are 257.
        ([32 * MIB + 88], 128 * KIB),
        ([5, 32 * MIB + 88], 128 * KIB),
        ([32 * MIB], 64 * KIB),
        ([32 * MIB + 64 * KIB + 1], 64 * KIB),
        # 5,121 of 2 MiB, 2,561 of 4 MiB; of 8 MiB there are 1,281.
        ([10 * GIB + 88], 8 * MIB),
        # 4,097 of 16 MiB and 8,193 of 8 MiB.
        ([64 * GIB + 88], 16 * MIB),
        # 513 of 16 MiB in one file, of a length that no longer one follows; of 8 MiB there are 1,026.
        ([8 * GIB + 8 * MIB + 88, 60 * GIB], 8 * MIB),
    ],
)
def test_default_piece_length_leaves_no_hash_alone(sizes: list[int], length: int) -> None:
    assert default_piece_length(sizes) == length
