"""Which pieces hold which bytes."""

from __future__ import annotations

import pytest

from tests.builders_metainfo import hashed_all
from weightshare.manifest.metainfo import build_info, parse_info
from weightshare.manifest.pieces import PieceMap
from weightshare.manifest.ranges import ByteRange, RangeMap
from weightshare.units import BLOCK


def range_map() -> RangeMap:
    files = {"a": b"x" * (2 * BLOCK + 5), "b": b"", "c/d": b"y" * BLOCK, "e": b"z"}
    return RangeMap(PieceMap(parse_info(build_info("m", BLOCK, hashed_all(files, BLOCK), hybrid=True))))


@pytest.mark.parametrize(
    ("path", "begin", "end", "pieces"),
    [
        ("a", 0, 1, [0]),
        ("a", 0, BLOCK, [0]),
        ("a", 0, BLOCK + 1, [0, 1]),
        ("a", BLOCK - 1, BLOCK + 1, [0, 1]),
        ("a", BLOCK, 2 * BLOCK, [1]),
        ("a", 0, 2 * BLOCK + 5, [0, 1, 2]),
        ("a", BLOCK, BLOCK, []),
        ("a", 2 * BLOCK + 5, 2 * BLOCK + 5, []),
        ("b", 0, 0, []),
        ("c/d", BLOCK - 1, BLOCK, [3]),
        ("e", 0, 1, [4]),
    ],
)
def test_the_pieces_of_a_range(path: str, begin: int, end: int, pieces: list[int]) -> None:
    assert list(range_map().pieces_of(ByteRange(path, begin, end))) == pieces


@pytest.mark.parametrize(
    "wanted",
    [ByteRange("x", 0, 0), ByteRange("a", -1, 1), ByteRange("a", 2, 1), ByteRange("e", 0, 2)],
)
def test_bytes_that_are_not_there(wanted: ByteRange) -> None:
    with pytest.raises(ValueError, match=repr(wanted.path)):
        range_map().pieces_of(wanted)


def test_pieces_come_where_they_are_first_needed() -> None:
    ranges = [ByteRange("c/d", 0, 5), ByteRange("a", BLOCK, BLOCK + 1), ByteRange("a", 0, 2 * BLOCK + 5)]
    assert range_map().in_order(ranges) == (3, 1, 0, 2)
