"""Piece layers read back from the engine's resume data count only if they lead to the roots."""

from __future__ import annotations

import random

import pytest

from tests.builders_metainfo import hashed_all
from weightshare.manifest import bencode
from weightshare.manifest.merkle import HASH_SIZE
from weightshare.manifest.metainfo import Info, build_info, parse_info
from weightshare.swarm.piece_layers import Tree, layers_in, trees_in
from weightshare.units import KIB

P = 32 * KIB
FILES = hashed_all({"a": random.Random(1).randbytes(5 * P + 1), "b": b"short"}, P)


@pytest.fixture
def info() -> Info:
    return parse_info(build_info("m", P, FILES, hybrid=True))


def tree(layer: bytes, *, above: int = 0, missing: int | None = None) -> Tree:
    """A tree of which the piece layer is known, and some nodes above it."""
    count = len(layer) // HASH_SIZE
    bits = [True] * above + [False] * (7 - above) + [n != missing for n in range(count)]
    bits += [False] * (-len(bits) % 8)
    mask = bytes(
        sum(bit << 7 - place for place, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8)
    )
    rows = [layer[n * HASH_SIZE : (n + 1) * HASH_SIZE] for n in range(count) if n != missing]
    return Tree(bytes(HASH_SIZE * above) + b"".join(rows), mask)


@pytest.mark.parametrize("above", [0, 3, 7])
def test_a_layer_is_found_among_the_other_nodes(info: Info, above: int) -> None:
    file = FILES[0]
    trees = [Tree(), tree(file.piece_layer, above=above), Tree(), Tree()]
    assert layers_in(trees, info, [1, 3]) == {file.pieces_root: file.piece_layer}


def test_what_is_not_whole_or_leads_elsewhere_is_no_layer(info: Info) -> None:
    layer = FILES[0].piece_layer
    wrong = layer[HASH_SIZE:] + layer[:HASH_SIZE]
    for bad in (tree(layer, missing=2), tree(wrong), Tree(), Tree(layer, b"\xff"), Tree(b"", b"\xff\xff")):
        assert layers_in([bad], info, [0, 1]) == {}
    assert layers_in([], info, [0, 1]) == {}


def test_trees_are_read_in_the_engine_s_order() -> None:
    document = {b"trees": [{b"hashes": b"x" * 32, b"mask": b"\x80"}, {b"hashes": b""}, b"no tree"]}
    assert trees_in(bencode.encode(document)) == [Tree(b"x" * 32, b"\x80"), Tree(), Tree()]
    assert trees_in(b"") == []
    assert trees_in(bencode.encode({b"trees": 3})) == []
