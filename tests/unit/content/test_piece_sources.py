"""Pieces are found by their hashes alone, wherever they stand and however long the pieces are on either side."""

from __future__ import annotations

import random
from array import array
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.builders_metainfo import hashed_all
from weightshare.content.piece_index import PieceIndex
from weightshare.content.piece_sources import SHA1_SIZE, Hashed, Run, Source, Wanted, layer_of
from weightshare.manifest.metainfo import Info, build_info, parse_info
from weightshare.manifest.pieces import PieceMap, v1_hashes
from weightshare.units import KIB

P = 64 * KIB
A, B, C, D = (random.Random(seed).randbytes(4 * P) for seed in range(4))
END = random.Random(9).randbytes(1234)


class Made:
    """A release of some files, with all that can be known of it."""

    def __init__(self, files: Mapping[str, bytes], piece_length: int = P, *, hybrid: bool = True) -> None:
        found = hashed_all(files, piece_length, hybrid=hybrid)
        self.files = files
        self.info: Info = parse_info(build_info("m", piece_length, found, hybrid=hybrid))
        self.layers = {f.pieces_root: f.piece_layer for f in found if f.pieces_root and f.piece_layer}
        self.spans = [span for span in PieceMap(self.info).spans if span.count]

    def show(self, wanted: Wanted, *, name: str = "old", sure: bool = True, v1: bool = True) -> None:
        """Have a release look at this one."""
        sha1 = v1_hashes(self.info) if v1 else b""
        for span in self.spans:
            wanted.look(
                Source(Path(span.file.path), span.file.size, name, sure),
                Hashed(
                    self.info.piece_length,
                    layer_of(span, self.info.piece_length, self.layers),
                    sha1[span.first * SHA1_SIZE : (span.first + span.count) * SHA1_SIZE],
                ),
            )


def brought(old: Made, new: Made, runs: list[Run]) -> int:
    """The bytes that runs surely bring, which must be the right ones."""
    for run in runs:
        at = (run.first - run.span.first) * new.info.piece_length
        right = new.files[run.span.file.path][at : at + run.size]
        found = old.files[str(run.source.path)][run.offset : run.offset + run.size]
        assert run.guess or found == right, run
    return sum(run.size for run in runs if not run.guess)


@pytest.mark.parametrize("length", [16 * KIB, 32 * KIB, P, 2 * P, 4 * P])
def test_a_piece_is_found_at_another_offset_in_another_file(length: int) -> None:
    old = Made({"a": A + B + C + END, "b": END}, length, hybrid=False)
    new = Made({"x/y": D + C + A, "z": B + END}, hybrid=False)
    wanted = Wanted(new.info, new.spans, new.layers)
    old.show(wanted)
    runs = wanted.runs()
    assert brought(old, new, runs) == 3 * len(A) + len(END)
    assert len([run for run in runs if not run.guess]) == 4


def test_pieces_of_zeros_are_all_found() -> None:
    zeros = bytes(4 * P)
    old, new = Made({"a": A + zeros}), Made({"b": zeros + zeros + D})
    wanted = Wanted(new.info, new.spans, new.layers)
    old.show(wanted)
    assert brought(old, new, wanted.runs()) == 8 * P


@pytest.mark.parametrize("size", [1, 16 * KIB, 16 * KIB + 1, 40_000, P - 1, P])
def test_a_file_no_longer_than_a_piece_is_the_end_of_a_longer_one(size: int) -> None:
    tail = random.Random(size).randbytes(size)
    long, short = Made({"long": A + tail}), Made({"short": tail})
    for old, new in ((long, short), (short, long)):
        wanted = Wanted(new.info, new.spans, new.layers)
        old.show(wanted, v1=False)
        (run,) = wanted.runs()
        assert brought(old, new, [run]) == size


def test_what_starts_alike_and_is_shorter_is_another_piece() -> None:
    old, new = Made({"a": A + END}), Made({"a": A + END[:-1], "b": A[:P] + END})
    wanted = Wanted(new.info, new.spans, new.layers)
    old.show(wanted)
    assert brought(old, new, wanted.runs()) == len(A) + P + len(END)


def test_what_is_here_already_is_not_looked_for() -> None:
    made = Made({"a": A})
    wanted = Wanted(made.info, made.spans, made.layers, had={0, 2})
    made.show(wanted)
    assert [(run.first, run.count) for run in wanted.runs()] == [(1, 1), (3, 1)]


def test_the_first_release_that_has_a_piece_is_the_one_it_comes_from() -> None:
    made = Made({"a": A})
    wanted = Wanted(made.info, made.spans, made.layers)
    Made({"b": B + A}).show(wanted, name="first")
    made.show(wanted, name="second")
    assert {(run.source.release, run.offset) for run in wanted.runs()} == {("first", len(B))}


def test_without_layers_a_hybrid_is_found_by_sha_1_and_its_sha_256_is_the_other_s() -> None:
    old, new = Made({"a": A + B, "z": END}), Made({"a": A + D, "b": B, "z": END})
    wanted = Wanted(new.info, new.spans, {})
    old.show(wanted)
    assert brought(old, new, wanted.runs()) == len(A) + len(B) + len(END)
    # The short file's hash is in the file tree: nothing of it rests on SHA-1.
    assert wanted.by_v1 == {piece for span in new.spans[:2] for piece in span.pieces} - set(range(4, 8))
    right = Wanted(new.info, new.spans, new.layers)
    assert all(wanted.digest(piece) == right.digest(piece) for piece in wanted.by_v1)


def test_sha_1_of_other_piece_lengths_says_nothing() -> None:
    old, new = Made({"a": A}, 2 * P), Made({"a": A})
    wanted = Wanted(new.info, new.spans, {})
    old.show(wanted)
    assert wanted.runs() == []


def test_between_longer_pieces_that_match_the_rest_is_guessed() -> None:
    changed = B[:P] + bytes([B[P] ^ 1]) + B[P + 1 :]
    old, new = Made({"a": A + B + C}, 4 * P), Made({"a": D + A + changed + C})
    wanted = Wanted(new.info, new.spans, new.layers)
    old.show(wanted)
    runs = wanted.runs()
    assert [(run.first, run.count, run.offset, run.guess) for run in runs] == [
        (4, 4, 0, False),
        (8, 4, 4 * P, True),
        (12, 4, 8 * P, False),
    ]


def test_an_index_of_many_hashes_finds_each_of_them() -> None:
    hashes = random.Random(1).randbytes(20 * 1000) + bytes(20) + bytes(20)
    index = PieceIndex(hashes, 20, array("I", range(5000, 6002)))
    assert all(list(index.find(hashes[row * 20 : row * 20 + 20])) == [5000 + row] for row in range(1000))
    assert sorted(index.find(bytes(20))) == [6000, 6001]
    assert list(index.find(bytes(19) + b"\1")) == []
