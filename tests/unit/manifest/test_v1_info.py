"""The list of a plain v1 torrent: taken as it is or refused, and seen as the engine sees it."""

from __future__ import annotations

from typing import Any

import libtorrent as lt
import pytest

from tests.builders_v1 import PIECE, entry, info_hash, sha1_pieces, single_info, v1_info
from weightshare.errors import MetainfoError, UnsafePathError
from weightshare.manifest import bencode
from weightshare.manifest.metainfo import build_info
from weightshare.manifest.plain import build_plain_torrent, read_plain, read_plain_torrent
from weightshare.manifest.v1_info import parse_v1_info

FILES = {"params.json": b"{}", "sub/consolidated.00.pth": bytes(70_000), "empty": b""}


def parse(info: dict[str, Any]) -> Any:
    return parse_v1_info(bencode.encode(info))


def listed(*paths: str, **more: object) -> dict[str, Any]:
    """An info dictionary of files of ten bytes."""
    stream = bytes(10 * len(paths))
    entries = [entry(path, 10, **more) for path in paths]
    return {"files": entries, "name": "m", "piece length": PIECE, "pieces": sha1_pieces(stream, PIECE)}


@pytest.mark.parametrize("pads", [False, True], ids=["plain", "padded"])
def test_a_list_reads_as_the_engine_reads_it(pads: bool) -> None:
    info = v1_info("mistral", FILES, pads=pads)
    found = parse(info)
    assert [(file.path, file.size) for file in found.files] == [(p, len(d)) for p, d in FILES.items()]
    assert found.v1_hash.hex() == info_hash(info)
    assert found.padded is pads
    layout = lt.torrent_info(build_plain_torrent(bencode.encode(info))).layout()
    theirs = [
        (layout.file_path(i), layout.file_size(i))
        for i in range(layout.num_files())
        if not layout.file_flags(i) & lt.file_storage.flag_pad_file
    ]
    assert [(f"mistral/{file.path}", file.size) for file in found.files] == theirs


def test_a_single_file_stands_under_the_torrents_name() -> None:
    found = parse(single_info("sd-v1-4.ckpt", bytes(100)))
    assert found.single_file
    assert [(file.path, file.size) for file in found.files] == [("sd-v1-4.ckpt", 100)]


def test_what_bitcomet_takes_for_a_pad_is_one() -> None:
    found = parse(listed("a", "_____padding_file_0_if you see this file"))
    assert [file.path for file in found.files] == ["a"]


UNSAFE = {
    "upwards": listed("../a"),
    "upwards inside": listed("a/../../b"),
    "itself": listed("./a"),
    "an empty part": listed("a//b"),
    "case twins": listed("Model.pth", "model.pth"),
    "a file and a folder": listed("a", "a/b"),
    "a device": listed("nul.txt"),
    "a drive": listed("c:/x"),
    "a backslash": listed("..\\x"),
    "an escape": listed("a\x1b[2J"),
    "the name upwards": {**listed("a"), "name": ".."},
    "the name with a slash": {**listed("a"), "name": "../x"},
    "a slash in a part": {**listed("a"), "files": [{"length": 10, "path": ["../x"]}]},
    "not UTF-8": {**listed("a"), "files": [{"length": 10, "path": [b"\xff"]}]},
    "an unsafe pad": {**listed("a"), "files": [{"length": 10, "path": ["..", "x"], "attr": "p"}]},
}
BROKEN = {
    "a link": listed("a", **{"attr": "l", "symlink path": ["etc", "passwd"]}),
    "a link without a flag": listed("a", **{"symlink path": ["etc", "passwd"]}),
    "an executable": listed("a", attr="x"),
    "a link among pads": listed("a", attr="pl"),
    "two views of a path": listed("a", **{"path.utf-8": ["b"]}),
    "two views of the name": {**listed("a"), "name.utf-8": "n"},
    "no files": {**listed("a"), "files": []},
    "only pads": listed("a", attr="p"),
    "no path": {**listed("a"), "files": [{"length": 10, "path": []}]},
    "a negative size": {**listed("a"), "files": [entry("a", -1)]},
    "a list and a length": {**listed("a"), "length": 10},
    "neither": {"name": "m", "piece length": PIECE, "pieces": b""},
    "too few pieces": {**listed("a"), "pieces": b""},
    "half a piece": {**listed("a"), "pieces": bytes(30)},
    "no piece length": {**listed("a"), "piece length": 0},
    "version 2": {**listed("a"), "meta version": 2},
    "a tree": {**listed("a"), "file tree": {}},
    "too many": listed(*(f"f{number}" for number in range(10_001))),
}


@pytest.mark.parametrize("what", UNSAFE)
def test_an_unsafe_name_is_refused(what: str) -> None:
    with pytest.raises(UnsafePathError):
        parse(UNSAFE[what])


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_the_format_is_refused(what: str) -> None:
    with pytest.raises(MetainfoError):
        parse(BROKEN[what])


def test_a_torrent_of_version_2_is_read_by_the_other_reader() -> None:
    from tests.builders_metainfo import hashed_all

    raw = build_info("m", 32 * 1024, hashed_all({"a": b"x" * 10}, 32 * 1024), hybrid=True)
    plain = read_plain(raw)
    assert plain.v1 is None
    assert plain.v1_hash is not None
    assert plain.info_hash == (plain.v2_hash or b"").hex()
    assert not plain.signed


def test_a_torrent_file_tells_where_to_ask_and_nonsense_in_it_is_passed_over() -> None:
    document = {
        "announce": "udp://tracker.example:1337",
        "announce-list": [
            ["http://other.example/announce", "udp://tracker.example:1337"],
            [b"\xff", "x y"],
            7,
        ],
        "info": listed("a"),
        "url-list": ["https://mirror.example/", "ftp://no.example/"],
    }
    found = read_plain_torrent(bencode.encode(document))
    assert found.trackers == ("udp://tracker.example:1337", "http://other.example/announce")
    assert found.web_seeds == ("https://mirror.example/",)
    assert found.magnet.v2_hash is None
