"""Ranges are told once when they can be read and once when they are proven."""

from __future__ import annotations

import random

import pytest

from tests.builders_metainfo import hashed_all
from weightshare.content.range_watch import RangeWatch, Standing
from weightshare.manifest.merkle import HASH_SIZE
from weightshare.manifest.metainfo import build_info, parse_info
from weightshare.manifest.pieces import PieceMap
from weightshare.manifest.ranges import ByteRange
from weightshare.units import BLOCK

FILES = {"a": random.Random(1).randbytes(51_200), "b": b"b"}  # a: 4 pieces
HASHED = hashed_all(FILES, BLOCK)
PIECES = PieceMap(parse_info(build_info("m", BLOCK, HASHED, hybrid=False)))
LAYER = HASHED[0].piece_layer
READABLE, PROVEN = Standing.READABLE, Standing.PROVEN


class Told:
    """A watch, and what it told."""

    def __init__(self, *, layers: bool = False) -> None:
        root = HASHED[0].pieces_root
        assert root is not None
        self.watch = RangeWatch(PIECES, {root: LAYER} if layers else None)
        self.events: list[tuple[str, Standing]] = []

    def add(self, begin: int, end: int, name: str = "x", path: str = "a") -> None:
        self.watch.add(ByteRange(path, begin, end, name), self._hear)

    def _hear(self, wanted: ByteRange, standing: Standing) -> None:
        self.events.append((wanted.tensor, standing))


def test_a_range_is_readable_with_its_last_piece() -> None:
    told = Told()
    told.add(BLOCK - 1, 2 * BLOCK + 1)
    told.watch.readable([0, 2, 3])
    assert told.events == []
    told.watch.readable([1])
    assert told.events == [("x", READABLE)]


def test_nothing_is_told_twice() -> None:
    told = Told()
    told.add(0, 2 * BLOCK)
    for _ in range(2):
        told.watch.readable([0, 1])
        told.watch.proven([0, 1])
    assert told.events == [("x", READABLE), ("x", PROVEN)]


def test_what_is_proven_can_be_read() -> None:
    told = Told()
    told.add(0, 2 * BLOCK)
    told.watch.proven([0, 1])
    told.watch.readable([0, 1])
    assert told.events == [("x", READABLE), ("x", PROVEN)]


def test_a_range_that_is_here_already_is_told_at_once() -> None:
    told = Told()
    told.watch.readable([0, 1])
    told.watch.proven([0])
    told.add(0, 1, "proven")
    told.add(0, BLOCK + 1, "readable")
    told.add(0, 2 * BLOCK + 1, "neither")
    assert told.events == [("proven", READABLE), ("proven", PROVEN), ("readable", READABLE)]


def test_an_empty_range_lacks_nothing() -> None:
    told = Told()
    told.add(BLOCK, BLOCK)
    assert told.events == [("x", READABLE), ("x", PROVEN)]


def test_each_of_two_who_wait_for_the_same_bytes_is_told() -> None:
    told = Told()
    told.add(0, 1, "one")
    told.add(0, 1, "two")
    told.watch.readable([0])
    assert told.events == [("one", READABLE), ("two", READABLE)]


def test_a_piece_is_proven_alone_where_its_layer_is_known() -> None:
    told = Told(layers=True)
    told.add(BLOCK, 2 * BLOCK)
    span = PIECES.spans[0]
    told.watch.hashed(span, 1, LAYER[:HASH_SIZE])  # another piece's hash
    assert told.events == []
    told.watch.hashed(span, 1, LAYER[HASH_SIZE : 2 * HASH_SIZE])
    assert told.events == [("x", READABLE), ("x", PROVEN)]


def test_without_the_layer_a_hash_proves_nothing() -> None:
    told = Told()
    told.add(BLOCK, 2 * BLOCK)
    told.watch.hashed(PIECES.spans[0], 1, LAYER[HASH_SIZE : 2 * HASH_SIZE])
    told.watch.hashed(PIECES.spans[0], 1, b"")
    assert told.events == []


def test_one_who_is_told_may_ask_for_more() -> None:
    """As a header's end is known from its beginning."""
    told = Told()
    told.watch.add(ByteRange("a", 0, 8), lambda *_: told.add(0, BLOCK + 1, "header"))
    told.watch.readable([0])
    told.watch.readable([1])
    assert told.events == [("header", READABLE)]


def test_bytes_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="'b'"):
        Told().add(0, 2, path="b")
