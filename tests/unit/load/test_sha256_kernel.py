"""The GPU's hash kernel, compiled as C, against hashlib and against the trees that the proofs are made of."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sha256_as_c import compiled, compiler, piece_hashes_by
from weightshare.load.piece_hashes import piece_hashes
from weightshare.load.tree_launches import Launch, launch_tree, scratch_size
from weightshare.units import BLOCK

NEEDS_COMPILER = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")


@pytest.fixture(scope="module")
def launch() -> Launch:
    found = compiled()
    assert found is not None
    return found


def at(data: bytes, offset: int, use: Callable[[int], list[bytes]]) -> list[bytes]:
    """Call with the address of a copy of the data that lies `offset` bytes behind a multiple of 64.

    The bytes around the copy are ones, so that reading beyond it does not go unnoticed.
    """
    memory = ctypes.create_string_buffer(b"\xff" * (len(data) + 256), len(data) + 256)
    start = ctypes.addressof(memory) + -ctypes.addressof(memory) % 64 + 64 + offset
    ctypes.memmove(start, data, len(data))
    return use(start)


def each(launch: Launch, data: bytes, size: int, count: int, offset: int = 0) -> list[bytes]:
    out = (ctypes.c_ubyte * (32 * count + 64))()
    ctypes.memset(out, 0xA5, len(out))
    start = ctypes.addressof(out) + -ctypes.addressof(out) % 16

    def use(address: int) -> list[bytes]:
        launch(address, len(data), size, count, start)
        return [ctypes.string_at(start + 32 * i, 32) for i in range(count)]

    found = at(data, offset, use)
    assert ctypes.string_at(start + 32 * count, 16) == b"\xa5" * 16
    return found


@NEEDS_COMPILER
@pytest.mark.parametrize("offset", [0, 8])
def test_every_length_around_a_block_and_a_leaf(launch: Launch, offset: int) -> None:
    random = Random(1)
    lengths = [*range(1, 200), *range(BLOCK - 130, BLOCK + 1)]
    for length in lengths:
        data = random.randbytes(length)
        assert each(launch, data, BLOCK, 1, offset) == [hashlib.sha256(data).digest()], length


@NEEDS_COMPILER
@pytest.mark.parametrize("byte", [0x00, 0x80, 0xFF])
def test_bytes_that_padding_could_be_mistaken_for(launch: Launch, byte: int) -> None:
    for length in (1, 3, 55, 56, 63, 64, 65, 119, 120, BLOCK - 9, BLOCK - 8, BLOCK):
        data = bytes([byte]) * length
        assert each(launch, data, BLOCK, 1) == [hashlib.sha256(data).digest()]


@NEEDS_COMPILER
def test_missing_leaves_are_zeros_and_idle_threads_write_nothing(launch: Launch) -> None:
    data = Random(2).randbytes(2 * BLOCK + 5)
    leaves = [hashlib.sha256(data[i : i + BLOCK]).digest() for i in range(0, len(data), BLOCK)]
    assert each(launch, data, BLOCK, 8) == [*leaves, *[bytes(32)] * 5]
    assert each(launch, b"", BLOCK, 3) == [bytes(32)] * 3


@NEEDS_COMPILER
@pytest.mark.parametrize("offset", [0, 8])
def test_nodes_are_hashes_of_pairs(launch: Launch, offset: int) -> None:
    data = Random(3).randbytes(64 * 130)
    assert each(launch, data, 64, 130, offset) == [
        hashlib.sha256(data[i : i + 64]).digest() for i in range(0, len(data), 64)
    ]


@NEEDS_COMPILER
@settings(max_examples=60, deadline=None)
@given(
    exponent=st.integers(0, 6),
    pieces=st.integers(1, 5),
    missing=st.integers(0, 2**20),
    offset=st.sampled_from([0, 8, 16, 24]),
    seed=st.integers(0, 2**32),
)
def test_piece_hashes_are_those_of_the_proofs(
    launch: Launch, exponent: int, pieces: int, missing: int, offset: int, seed: int
) -> None:
    """Random piece lengths and file lengths: shorter than a leaf, than a piece, exactly one, several."""
    width = 1 << exponent
    length = pieces * width * BLOCK - missing % (width * BLOCK)
    data = Random(seed).randbytes(length)
    expected = piece_hashes(memoryview(data), width * BLOCK, width)
    assert at(data, offset, lambda start: piece_hashes_by(launch, start, length, pieces, width)) == expected


@NEEDS_COMPILER
@pytest.mark.parametrize("length", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 4 * BLOCK, 5 * BLOCK - 7])
def test_a_file_shorter_than_a_piece_has_a_tree_of_its_own_width(launch: Launch, length: int) -> None:
    leaves = -(-length // BLOCK)
    width = 1 << max(0, leaves - 1).bit_length()
    data = Random(length).randbytes(length)
    expected = piece_hashes(memoryview(data), 1 << 20, width)
    assert len(expected) == 1
    assert at(data, 0, lambda start: piece_hashes_by(launch, start, length, 1, width)) == expected


@NEEDS_COMPILER
def test_a_changed_bit_anywhere_changes_its_piece_and_no_other(launch: Launch) -> None:
    random = Random(4)
    width, pieces = 2, 3
    data = bytearray(random.randbytes(pieces * width * BLOCK - 77))

    def hashes() -> list[bytes]:
        return at(bytes(data), 0, lambda start: piece_hashes_by(launch, start, len(data), pieces, width))

    whole = hashes()
    for place in (0, len(data) - 1, *random.sample(range(len(data)), 100)):
        data[place] ^= 1 << random.randrange(8)
        before, whole = whole, hashes()
        assert [i for i in range(pieces) if before[i] != whole[i]] == [place // (width * BLOCK)]


@pytest.mark.skipif(compiler("g++", "clang++") is None, reason="needs a C++ compiler (g++ or clang++)")
def test_the_text_is_c_plus_plus_too_as_a_gpu_takes_it() -> None:
    launch = compiled(compiler("g++", "clang++"), "c++")
    assert launch is not None
    data = Random(5).randbytes(BLOCK + 3)
    assert each(launch, data, BLOCK, 2) == [
        hashlib.sha256(data[:BLOCK]).digest(),
        hashlib.sha256(data[BLOCK:]).digest(),
    ]


@pytest.mark.skipif(compiler("gcc", "clang") is None, reason="needs gcc or clang")
def test_it_reads_and_writes_only_what_it_may() -> None:
    """With the compiler's own checks for undefined behaviour, which end the process."""
    launch = compiled(
        compiler("gcc", "clang"), "c", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"
    )
    assert launch is not None
    for length in (1, 63, 64, 65, BLOCK - 3, BLOCK):
        data = Random(length).randbytes(length)
        assert each(launch, data, BLOCK, 1, 8) == [hashlib.sha256(data).digest()]


def test_a_tree_that_cannot_be_is_refused_before_anything_is_launched() -> None:
    def never(*_: int) -> None:
        raise AssertionError("was launched")

    for data, length, pieces, width, scratch in (
        (4, 100, 1, 1, 16),  # bytes on no multiple of 8
        (8, 100, 1, 1, 8),  # scratch on no multiple of 16
        (8, 100, 1, 3, 16),  # no power of two
        (8, BLOCK + 1, 1, 1, 16),  # more bytes than pieces
        (8, BLOCK, 2, 1, 16),  # fewer
    ):
        with pytest.raises(ValueError, match=r"bytes|power"):
            launch_tree(never, data, length, pieces, width, scratch)


def test_launches_stay_within_their_scratch() -> None:
    made: list[tuple[int, int]] = []

    def note(_data: int, _length: int, _each: int, count: int, hashes: int) -> None:
        made.append((hashes, hashes + 32 * count))

    for pieces, width in ((1, 1), (1, 8), (5, 1), (3, 64)):
        made.clear()
        found = launch_tree(note, 64, pieces * width * BLOCK, pieces, width, 4096)
        assert max(end for _, end in made) == 4096 + scratch_size(pieces, width)
        assert all(end <= start for (_, end), (start, _) in pairwise(made))
        assert found == made[-1][0]
        assert made[-1][1] - found == 32 * pieces
