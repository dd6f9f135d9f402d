"""Our torrents beside libtorrent's, made from the same files: one info-hash, one set of piece layers."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from tests.builders_metainfo import hashed_all
from weightshare.manifest import bencode
from weightshare.manifest.metainfo import (
    build_info,
    build_torrent,
    build_v1_torrent,
    parse_info,
    parse_torrent,
    v1_layout,
)
from weightshare.units import KIB

lt = pytest.importorskip("libtorrent")

PIECE = 64 * KIB


def _bytes(count: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(count)


FOLDERS = {
    "several": {
        "a.bin": _bytes(5 * PIECE + 17, 1),
        "b.safetensors": _bytes(3 * PIECE, 2),
        "c": _bytes(100, 3),
        "config.json": _bytes(16 * KIB, 4),
        "one-piece": _bytes(PIECE, 5),
        "weightshare.json": _bytes(333, 6),
    },
    "empty files": {
        "a-empty": b"",
        "b": _bytes(PIECE + 1, 7),
        "c-empty": b"",
        "d-empty": b"",
        "e": _bytes(5, 8),
        "z-empty": b"",
    },
    "nested and non-ASCII": {
        "modèle/poids-é.bin": _bytes(2 * PIECE + 5, 9),
        "模型/一/二.safetensors": _bytes(PIECE - 1, 10),
        "sub/deep/er/x": _bytes(7 * 16 * KIB, 11),
        "sub/y": _bytes(1, 12),
        "🦙.bin": _bytes(40, 13),
    },
    "one file in its folder": {"model.safetensors": _bytes(2 * PIECE + 1, 14)},
    "one small file": {"model.safetensors": _bytes(10, 15)},
    "ends on a piece": {"a": _bytes(3, 16), "b": _bytes(2 * PIECE, 17)},
    "same content twice": {"a": _bytes(3 * PIECE, 18), "b": _bytes(3 * PIECE, 18)},
}


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        target = folder / "rel" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _libtorrent(folder: Path, files: dict[str, bytes], flags: int) -> dict[bytes, Any]:
    # Entries are added by hand: list_files() makes a single-file torrent of a folder with one file.
    storage = lt.file_storage()
    for path in sorted(files, key=str.encode):
        storage.add_file(f"rel/{path}", len(files[path]))
    creator = lt.create_torrent(storage, PIECE, flags)
    lt.set_piece_hashes(creator, str(folder))
    generated: dict[bytes, Any] = creator.generate()
    return generated


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("hybrid", [True, False], ids=["hybrid", "v2-only"])
@pytest.mark.parametrize("files", FOLDERS.values(), ids=FOLDERS.keys())
def test_same_info_hash_and_layers(tmp_path: Path, files: dict[str, bytes], hybrid: bool) -> None:
    _write(tmp_path, files)
    flag = lt.create_torrent.canonical_files_no_tail_padding if hybrid else lt.create_torrent.v2_only
    theirs = _libtorrent(tmp_path, files, int(flag))
    their_info: bytes = lt.bencode(theirs[b"info"])

    ours = hashed_all(files, PIECE, hybrid=hybrid)
    info = build_info("rel", PIECE, ours, hybrid=hybrid)
    torrent = parse_torrent(build_torrent(info, ours))

    assert info == their_info
    assert torrent.info.v2_hash == hashlib.sha256(their_info).digest()
    assert torrent.info.v1_hash == (hashlib.sha1(their_info).digest() if hybrid else None)
    assert torrent.piece_layers == theirs.get(b"piece layers", {})
    loaded = lt.load_torrent_buffer(torrent.raw)
    assert loaded.info_hashes.v2.to_bytes() == torrent.info.v2_hash
    assert torrent.info.v1_hash in (None, loaded.info_hashes.v1.to_bytes())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("files", FOLDERS.values(), ids=FOLDERS.keys())
def test_reads_libtorrents_default_hybrid_with_its_pad_at_the_end(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    _write(tmp_path, files)
    info = parse_info(lt.bencode(_libtorrent(tmp_path, files, 0)[b"info"]))
    assert info.hybrid
    assert {file.path: file.size for file in info.files} == {p: len(data) for p, data in files.items()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_folder_beside_a_longer_name_loads_where_libtorrents_own_does_not(tmp_path: Path) -> None:
    files = {"sub/c": _bytes(PIECE + 1, 19), "sub-y": _bytes(5, 20), "sub.x": _bytes(10, 21)}
    _write(tmp_path, files)
    theirs = _libtorrent(tmp_path, files, int(lt.create_torrent.canonical_files_no_tail_padding))
    with pytest.raises(RuntimeError, match="does not match"):
        lt.load_torrent_buffer(lt.bencode(theirs))

    ours = hashed_all(files, PIECE)
    torrent = build_torrent(build_info("rel", PIECE, ours, hybrid=True), ours)
    assert [file.path for file in parse_torrent(torrent).info.files] == ["sub/c", "sub-y", "sub.x"]
    assert lt.load_torrent_buffer(torrent).info_hashes.has_v1()


def test_pads_of_one_size_load_and_differ_from_libtorrents_in_their_paths_alone(tmp_path: Path) -> None:
    """libtorrent names such pads alike, and rtorrent opens no torrent that names a file twice."""
    ours = hashed_all({name: _bytes(PIECE + 9, 21) for name in ("a", "b", "c")}, PIECE)
    loaded = lt.load_torrent_buffer(build_torrent(build_info("rel", PIECE, ours, hybrid=True), ours))
    assert loaded.info_hashes.has_v1()
    assert loaded.info_hashes.has_v2()
    pads = [entry.path for entry in v1_layout([(file.path, file.size) for file in ours], PIECE) if entry.pad]
    assert pads == [f".pad/{PIECE - 9}", f".pad/{PIECE - 9}-2"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_private_flag_is_libtorrents(tmp_path: Path) -> None:
    files = FOLDERS["several"]
    _write(tmp_path, files)
    storage = lt.file_storage()
    for path, data in files.items():
        storage.add_file(f"rel/{path}", len(data))
    creator = lt.create_torrent(storage, PIECE, int(lt.create_torrent.v2_only))
    creator.set_priv(True)
    lt.set_piece_hashes(creator, str(tmp_path))
    ours = hashed_all(files, PIECE, hybrid=False)
    info = build_info("rel", PIECE, ours, hybrid=False, private=True)
    assert info == lt.bencode(creator.generate()[b"info"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_v1_twin_is_libtorrents(tmp_path: Path) -> None:
    files = FOLDERS["several"]
    _write(tmp_path, files)
    storage = lt.file_storage()
    for path, data in files.items():
        storage.add_file(f"rel/{path}", len(data))
    creator = lt.create_torrent(storage, PIECE, int(lt.create_torrent.v1_only))
    lt.set_piece_hashes(creator, str(tmp_path))
    theirs = creator.generate()[b"info"]

    whole = b"".join(files.values())
    pieces = b"".join(hashlib.sha1(whole[i : i + PIECE]).digest() for i in range(0, len(whole), PIECE))
    twin = build_v1_torrent("rel", PIECE, [(p, len(data)) for p, data in files.items()], pieces)
    loaded = lt.load_torrent_buffer(twin)
    document = bencode.decode(twin, limit=len(twin), what="twin")
    assert isinstance(document, dict)
    # libtorrent pads the files of a v1 torrent too; ours runs across them, as every old client expects.
    assert [f for f in theirs[b"files"] if f.get(b"attr") != b"p"] == document[b"info"][b"files"]
    assert loaded.info_hashes.has_v1()
    assert not loaded.info_hashes.has_v2()


def test_libtorrent_takes_trackers_and_web_seeds() -> None:
    ours = hashed_all(FOLDERS["several"], PIECE)
    raw = build_torrent(
        build_info("rel", PIECE, ours, hybrid=True),
        ours,
        trackers=["http://a.example/announce", "udp://b.example:1/announce"],
        web_seeds=["http://c.example/"],
        comment="for people",
    )
    loaded = lt.load_torrent_buffer(raw)
    assert list(loaded.trackers) == list(parse_torrent(raw).trackers)
    assert loaded.url_seeds == list(parse_torrent(raw).web_seeds)
