"""The journal survives a kill at any byte."""

from __future__ import annotations

import os
from pathlib import Path

from weightshare.content.journal import Journal

RECORDS = {0: b"a" * 32, 7: b"b" * 32, 1 << 20: b"c" * 32}
SIZE = 36


def written(path: Path, records: dict[int, bytes]) -> Path:
    with Journal(path) as journal:
        for piece, digest in records.items():
            journal.note(piece, digest)
    return path


def test_records_are_read_back(tmp_path: Path) -> None:
    path = written(tmp_path / "pieces", RECORDS)
    assert Journal(path).known == RECORDS
    assert path.stat().st_size == SIZE * len(RECORDS)


def test_the_last_record_of_a_piece_counts_and_the_same_is_written_once(tmp_path: Path) -> None:
    path = written(tmp_path / "pieces", RECORDS)
    written(path, {7: b"d" * 32, 0: b"a" * 32})
    assert Journal(path).known == {**RECORDS, 7: b"d" * 32}
    assert path.stat().st_size == SIZE * (len(RECORDS) + 1)


def test_a_torn_record_is_dropped_and_written_over(tmp_path: Path) -> None:
    path = written(tmp_path / "pieces", RECORDS)
    whole = path.read_bytes()
    for cut in range(SIZE * 2, SIZE * 3):
        path.write_bytes(whole[:cut])
        assert Journal(path).known == {0: b"a" * 32, 7: b"b" * 32}
        written(path, {9: b"e" * 32})
        assert Journal(path).known == {0: b"a" * 32, 7: b"b" * 32, 9: b"e" * 32}


def test_a_disk_that_refuses_is_no_error(tmp_path: Path) -> None:
    written(tmp_path / "missing" / "pieces", RECORDS)


def test_forgotten(tmp_path: Path) -> None:
    path = written(tmp_path / "pieces", RECORDS)
    with Journal(path) as journal:
        journal.forget()
        assert journal.known == {}
        assert not path.exists()
        journal.note(1, b"f" * 32)
    assert Journal(path).known == {1: b"f" * 32}


def test_a_piece_that_is_dropped_is_unknown_next_time(tmp_path: Path) -> None:
    path = written(tmp_path / "pieces", RECORDS)
    with Journal(path) as journal:
        journal.drop(7)
        journal.drop(8)
        assert 7 not in journal.known
    assert Journal(path).known.keys() == {0, 1 << 20}


def test_blocks_are_replaced_as_a_whole_and_damage_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "pieces"
    blocks = {3: [True, False, True], 1 << 20: [False] * 1023 + [True]}
    with Journal(path) as journal:
        journal.keep_blocks({9: [True]})
        journal.keep_blocks(blocks)
    assert Journal(path).blocks == blocks
    kept = (tmp_path / "blocks").read_bytes()
    for cut in range(len(kept)):
        (tmp_path / "blocks").write_bytes(kept[:cut])
        found = Journal(path).blocks
        assert found.items() <= blocks.items()


def test_a_file_is_vouched_for_as_it_was(tmp_path: Path) -> None:
    path, file = tmp_path / "pieces", tmp_path / "file"
    file.write_bytes(b"one")
    with Journal(path) as journal:
        assert not journal.believes(5, file.stat())
        journal.vouch(5, file.stat())
    file.write_bytes(b"longer")
    with Journal(path) as journal:
        assert journal.believes(5, file.stat()), "written to since, as a fetch does until it is killed"
        assert not journal.sealed(5)
        assert not journal.believes(4, file.stat())
        journal.seal(5, file.stat())
    with Journal(path) as journal:
        assert journal.sealed(5)
        assert journal.believes(5, file.stat())
        file.write_bytes(b"LONGER")
        os.utime(file, ns=(1, 1))
        assert not journal.believes(5, file.stat())


def test_nothing_is_sealed_if_something_could_not_be_written_down(tmp_path: Path) -> None:
    path, file = tmp_path / "home" / "pieces", tmp_path / "file"
    path.parent.mkdir()
    file.touch()
    with Journal(path) as journal:
        journal.vouch(0, file.stat())
    (path.parent / "blocks.new").mkdir()
    with Journal(path) as journal:
        journal.keep_blocks({1: [True]})
        journal.seal(0, file.stat())
    assert not Journal(path).sealed(0)


def test_it_is_written_anew_when_most_of_it_is_out_of_date(tmp_path: Path) -> None:
    path = written(tmp_path / "pieces", RECORDS)
    for turn in range(2):
        with Journal(path) as journal:
            for number in range(1500):
                journal.note(7, number.to_bytes(32, "big"))
                journal.note(7, (number + turn).to_bytes(32, "little"))
    before = path.stat().st_size
    written(path, {9: b"e" * 32})
    assert path.stat().st_size < SIZE * 10 < before
    assert Journal(path).known == {**RECORDS, 7: (1500).to_bytes(32, "little"), 9: b"e" * 32}
