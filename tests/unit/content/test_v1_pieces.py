"""The pieces of a v1 torrent, from its files on disk."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.builders_checkpoints import place
from tests.builders_v1 import v1_info
from weightshare.content.hashing import hash_files
from weightshare.content.v1_pieces import aligned_for_twin, bad_pieces, read_pieces
from weightshare.content.v1_twin import join_twin
from weightshare.errors import CheckpointError
from weightshare.manifest import bencode
from weightshare.manifest.v1_info import V1Info, parse_v1_info

DRAW = random.Random(3)
FILES = {
    "b": DRAW.randbytes(40_000),
    "a": DRAW.randbytes(33_000),
    "empty": b"",
    "c/d": DRAW.randbytes(100_000),
}


def made(**how: object) -> V1Info:
    return parse_v1_info(bencode.encode(v1_info("m", FILES, **how)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("piece", "pads"), [(32_768, False), (32_768, True), (1000, False), (49_152, True), (1 << 20, False)]
)
def test_files_that_are_the_torrents_have_its_pieces(tmp_path: Path, piece: int, pads: bool) -> None:
    info = made(piece=piece, pads=pads)
    folder = place(tmp_path, FILES)
    found = read_pieces(info, {path: folder / path for path in FILES})
    assert found == info.pieces
    assert bad_pieces(info, found) == []


def test_one_pass_makes_the_same_pieces(tmp_path: Path) -> None:
    info, folder = made(piece=32_768), place(tmp_path, FILES)
    places = [(folder / path, len(data)) for path, data in FILES.items()]
    assert aligned_for_twin(info, 32_768)
    assert not aligned_for_twin(made(piece=32_768, pads=True), 32_768)
    hashes = hash_files(places, 32_768, hybrid=False, v1_twin=True)
    assert join_twin(places, 32_768, [one.v1_twin for one in hashes]) == info.pieces


def test_a_wrong_byte_is_told_by_piece_and_files(tmp_path: Path) -> None:
    info, folder = made(piece=32_768), place(tmp_path, FILES)
    data = bytearray(FILES["a"])
    data[0] ^= 1
    (folder / "a").write_bytes(data)
    found = read_pieces(info, {path: folder / path for path in FILES})
    assert bad_pieces(info, found) == [(1, ("b", "a"))]


def test_a_file_that_ends_early_is_an_error(tmp_path: Path) -> None:
    info, folder = made(piece=32_768), place(tmp_path, FILES)
    (folder / "a").write_bytes(b"short")
    with pytest.raises(CheckpointError, match="ends early"):
        read_pieces(info, {path: folder / path for path in FILES})
