"""Which pieces hold which file."""

from __future__ import annotations

import pytest

from tests.builders_metainfo import hashed_all
from weightshare.manifest.metainfo import build_info, parse_info
from weightshare.manifest.pieces import PieceMap
from weightshare.units import BLOCK


def piece_map() -> PieceMap:
    files = {"a": b"x" * (2 * BLOCK + 5), "b": b"", "c/d": b"y" * BLOCK, "e": b"z"}
    return PieceMap(parse_info(build_info("m", BLOCK, hashed_all(files, BLOCK), hybrid=True)))


def test_every_file_begins_on_a_piece() -> None:
    assert [(s.file.path, s.first, s.count) for s in piece_map().spans] == [
        ("a", 0, 3),
        ("b", 3, 0),
        ("c/d", 3, 1),
        ("e", 4, 1),
    ]
    assert piece_map().total == 5


def test_the_bytes_of_a_piece() -> None:
    pieces = piece_map()
    found = [pieces.byte_range(piece) for piece in range(pieces.total)]
    assert [(span.file.path, offset, length) for span, offset, length in found] == [
        ("a", 0, BLOCK),
        ("a", BLOCK, BLOCK),
        ("a", 2 * BLOCK, 5),
        ("c/d", 0, BLOCK),
        ("e", 0, 1),
    ]


@pytest.mark.parametrize("piece", [-1, 5])
def test_a_piece_that_is_not_there(piece: int) -> None:
    with pytest.raises(IndexError):
        piece_map().span_of(piece)
