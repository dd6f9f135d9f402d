"""The journal survives a kill at any byte."""

from __future__ import annotations

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
