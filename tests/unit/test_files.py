"""Atomic writes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from weightshare.files import write_atomically


def test_the_content_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "name"
    write_atomically(path, b"old")
    write_atomically(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_content_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "name"
    path.mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError, match="name"):
        write_atomically(path, b"new")
    assert list(tmp_path.iterdir()) == [path]
