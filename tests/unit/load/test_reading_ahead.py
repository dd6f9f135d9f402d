"""Bytes are asked for before they are needed: in order, once, so far ahead and no further, and only from the disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from weightshare.load import reading_ahead
from weightshare.load.opened import OpenFile, open_file
from weightshare.load.proof import Stretch
from weightshare.load.reading_ahead import AHEAD, ReadAhead, ask
from weightshare.manifest.model import FileEntry
from weightshare.units import MIB


@pytest.fixture
def file(tmp_path: Path) -> OpenFile:
    (tmp_path / "a").write_bytes(os.urandom(4 * MIB))
    return open_file(FileEntry("a", 4 * MIB, bytes(32), bytes(32)), tmp_path, {})


def test_stretches_are_asked_for_in_order_and_so_far_ahead(
    file: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(reading_ahead, "ask", lambda fd, offset, length: asked.append(offset))
    stretches = [Stretch(0, i, i * 4 * MIB, 4 * MIB, 256) for i in range(40)]
    ahead = ReadAhead([file], stretches)
    for taken in range(40):
        ahead.taken(4 * MIB)
        assert len(asked) <= (taken * 4 * MIB + AHEAD) // (4 * MIB) + 1
        assert len(asked) == 40 or len(asked) * 4 * MIB >= AHEAD + taken * 4 * MIB
    assert asked == [stretch.offset for stretch in stretches]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what is in its cache")
def test_only_what_is_not_in_the_cache_is_asked_for(file: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        os.preadv(file.fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        pass
    except OSError:
        pytest.skip("this file system does not say what is in the cache")
    os.fsync(file.fd)
    os.posix_fadvise(file.fd, 0, 0, os.POSIX_FADV_DONTNEED)
    asked: list[int] = []
    advise = os.posix_fadvise

    def noted(fd: int, offset: int, length: int, advice: int) -> None:
        asked.append(offset)
        advise(fd, offset, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", noted)
    ask(file.fd, 0, 4 * MIB)
    if not asked:
        pytest.skip("this file system keeps everything")
    os.pread(file.fd, 4 * MIB, 0)
    ask(file.fd, 0, 4 * MIB)
    assert asked == [0]
