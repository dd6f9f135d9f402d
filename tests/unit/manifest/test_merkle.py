from __future__ import annotations

import hashlib

import pytest

from weightshare.manifest import merkle
from weightshare.units import BLOCK, KIB


def _pair(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(left + right).digest()


def test_pad_hash_is_a_tree_of_zero_leaves() -> None:
    zero = bytes(32)
    assert merkle.pad_hash(0) == zero
    assert merkle.pad_hash(1) == _pair(zero, zero)
    assert merkle.pad_hash(3) == merkle.root_of([zero] * 8)


def test_a_single_leaf_is_its_own_root() -> None:
    assert merkle.file_root_from_leaves(merkle.leaves_of(b"short")) == hashlib.sha256(b"short").digest()


def test_three_leaves_are_padded_with_one() -> None:
    a, b, c = (bytes([n]) * 32 for n in (1, 2, 3))
    assert merkle.root_of([a, b, c]) == _pair(_pair(a, b), _pair(c, bytes(32)))


def test_width_pads_further_than_the_next_power_of_two() -> None:
    a = b"\x01" * 32
    expected = _pair(_pair(a, bytes(32)), merkle.pad_hash(1))
    assert merkle.root_of([a], width=4) == expected


@pytest.mark.parametrize("count", [5, 8, 9, 16, 17, 31])
def test_root_from_pieces_is_the_root_from_leaves(count: int) -> None:
    piece_length = 64 * KIB
    leaves = merkle.leaves_of(b"".join(bytes([n]) * BLOCK for n in range(count)))
    pieces = [merkle.root_of(leaves[i : i + 4], width=4) for i in range(0, count, 4)]
    assert merkle.file_root(pieces, piece_length) == merkle.file_root_from_leaves(leaves)


@pytest.mark.parametrize(("count", "width"), [(0, None), (3, 2), (3, 6)])
def test_what_fits_no_layer_is_refused(count: int, width: int | None) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        merkle.root_of([bytes(32)] * count, width=width)


def test_split_layer_wants_whole_hashes() -> None:
    assert merkle.split_layer(b"a" * 32 + b"b" * 32) == [b"a" * 32, b"b" * 32]
    with pytest.raises(ValueError, match="32-byte"):
        merkle.split_layer(b"a" * 33)
