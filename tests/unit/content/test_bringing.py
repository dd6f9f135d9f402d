"""A file is brought as cheaply as the file system allows, and shared for good only where that was allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from weightshare.content.bringing import Way, bring


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"weights" * 1000)
    return path


@pytest.mark.parametrize("may_link", [True, False])
def test_the_bytes_are_there(source: Path, tmp_path: Path, may_link: bool) -> None:
    target = tmp_path / "target"
    way = bring(source, target, may_link=may_link)
    assert target.read_bytes() == source.read_bytes()
    shared = target.stat().st_ino == source.stat().st_ino
    assert shared is (way is Way.LINK)
    assert may_link or not shared


def test_what_is_not_linked_can_be_written_to_alone(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    bring(source, target, may_link=False)
    before = source.read_bytes()
    target.write_bytes(b"other")
    assert source.read_bytes() == before


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        bring(tmp_path / "absent", tmp_path / "target", may_link=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_not_written_over(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        bring(source, target, may_link=True)
    assert target.read_bytes() == b"mine"
