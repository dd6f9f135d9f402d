"""A part of one file becomes a part of another, by whichever way works; a source that lets us down is only a hint."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from weightshare.content.piece_copying import Copier, SourceLostError, shares_blocks
from weightshare.units import KIB, MIB


@pytest.fixture(params=["as it comes", "by hand"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by hand":
        monkeypatch.setattr(sys, "platform", "other")
        monkeypatch.delattr(os, "copy_file_range", raising=False)


@pytest.mark.usefixtures("way")
def test_parts_land_where_they_belong_and_the_rest_is_a_hole(tmp_path: Path) -> None:
    data = os.urandom(5 * MIB + 77)
    (tmp_path / "source").write_bytes(data)
    with Copier(tmp_path / "source", tmp_path / "target", 4 * MIB) as copier:
        copier.copy(0, 3 * MIB, 64 * KIB)
        copier.copy(5 * MIB, 4 * MIB - 77, 77)
    want = bytes(3 * MIB) + data[: 64 * KIB]
    found = (tmp_path / "target").read_bytes()
    assert found == want.ljust(4 * MIB - 77, b"\0") + data[-77:]
    assert (tmp_path / "target").stat().st_blocks * 512 < MIB


@pytest.mark.usefixtures("way")
def test_what_is_there_already_stays(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"new")
    (tmp_path / "target").write_bytes(b"something longer")
    with Copier(tmp_path / "source", tmp_path / "target", 5) as copier:
        copier.copy(0, 2, 3)
    assert (tmp_path / "target").read_bytes() == b"sonewhing longer"


@pytest.mark.usefixtures("way")
def test_a_source_that_has_become_shorter_is_lost(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(100))
    with Copier(tmp_path / "source", tmp_path / "target", 200) as copier:
        copier.copy(0, 0, 100)
        os.truncate(tmp_path / "source", 50)
        with pytest.raises(SourceLostError, match="shorter"):
            copier.copy(0, 0, 100)


def test_a_source_that_is_gone_or_no_file_is_lost_and_nothing_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("absent", "pipe", "."):
        with pytest.raises(SourceLostError):
            Copier(tmp_path / name, tmp_path / "target", 10)
    assert not (tmp_path / "target").exists()


def test_a_link_in_place_of_the_staged_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"bytes")
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / "target").symlink_to("precious")
    with pytest.raises(OSError, match=r"symbolic link|too many"):
        Copier(tmp_path / "source", tmp_path / "target", 5)
    assert (tmp_path / "precious").read_bytes() == b"mine"


def test_asking_whether_blocks_can_be_shared_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(64 * KIB))
    (tmp_path / "folder").mkdir()
    assert shares_blocks(tmp_path / "source", tmp_path / "folder", 16 * KIB) in (True, False)
    assert not shares_blocks(tmp_path / "absent", tmp_path / "folder", 16 * KIB)
    assert list((tmp_path / "folder").iterdir()) == []
