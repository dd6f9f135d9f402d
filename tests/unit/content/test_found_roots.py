"""Roots of files that were found, and the memory of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, shard
from weightshare.content.finding import look
from weightshare.content.found_roots import Memory, Rooted, by_root, root_of_each
from weightshare.content.hashing import hash_files
from weightshare.progress import Progress
from weightshare.units import KIB

SIZE = 40 * KIB
FILES = {"a": shard(SIZE, 1), "b": shard(SIZE, 2), "c": shard(SIZE, 1)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return place(tmp_path / "models", FILES)


def rooted(folder: Path, memory: Memory) -> Rooted:
    """A scan of one folder."""
    found = root_of_each(look([folder], {SIZE}).candidates, memory.load(), learn=memory.learn)
    memory.learn(found.receipts)
    return found


def test_equal_files_have_one_root(folder: Path, tmp_path: Path) -> None:
    found = rooted(folder, Memory(tmp_path / "found.json"))
    root = hash_files([(folder / "a", SIZE)], 16 * KIB, hybrid=False)[0].pieces_root
    assert root is not None
    assert by_root(found.receipts)[root.hex()] == [folder / "a", folder / "c"]
    assert (found.hashed, found.bytes) == (3, 3 * SIZE)


def test_a_second_scan_hashes_only_what_changed(folder: Path, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "found.json")
    first = rooted(folder, memory)
    again = rooted(folder, memory)
    assert again.hashed == 0
    assert again.receipts == first.receipts
    (folder / "b").write_bytes(shard(SIZE, 3))
    os.utime(folder / "c")
    third = rooted(folder, memory)
    assert third.hashed == 2
    assert third.receipts[folder / "b"].root != first.receipts[folder / "b"].root
    assert third.receipts[folder / "c"].root == first.receipts[folder / "c"].root


def test_what_does_not_hold_any_more_is_forgotten(folder: Path, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "found.json")
    rooted(folder, memory)
    (folder / "a").unlink()
    (folder / "b").write_bytes(shard(SIZE, 4))
    assert list(memory.holding()) == [folder / "c"]
    memory.learn({})
    assert list(json.loads((tmp_path / "found.json").read_text())) == [str(folder / "c")]


def test_a_damaged_memory_costs_hashing_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "found.json")
    (tmp_path / "found.json").write_text("{")
    assert rooted(folder, memory).hashed == 3
    assert rooted(folder, memory).hashed == 0


def test_an_interrupted_scan_keeps_the_lots_that_were_hashed(folder: Path, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "found.json")
    shown: list[Progress] = []

    def stop_in_the_last(progress: Progress) -> None:
        shown.append(progress)
        if progress.done > 2 * SIZE:
            raise KeyboardInterrupt

    candidates = look([folder], {SIZE}).candidates
    with pytest.raises(KeyboardInterrupt):
        root_of_each(candidates, {}, stop_in_the_last, learn=memory.learn, at_once=SIZE)
    assert list(memory.holding()) == [folder / "a", folder / "b"]
    assert {progress.total for progress in shown} == {3 * SIZE}
    assert [p.done for p in shown] == sorted(p.done for p in shown)


def test_a_file_that_goes_or_changes_meanwhile_is_said_and_not_believed(folder: Path, tmp_path: Path) -> None:
    candidates = look([folder], {SIZE}).candidates
    (folder / "a").unlink()
    (folder / "b").write_bytes(b"short")
    os.utime(folder / "c", ns=(1, 1))
    found = root_of_each(candidates, {})
    assert found.receipts == {}
    assert found.hashed == 0
    assert [str(folder / name) in note for name, note in zip("abc", sorted(found.notes), strict=True)] == [
        True
    ] * 3
