"""A receipt holds for exactly the file it was made for, in the state it was in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from weightshare.content.receipts import Receipt, load_receipts, save_receipts
from weightshare.errors import StoreError

ROOT = bytes(range(32))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    return path


def test_holds_while_nothing_changes(file: Path) -> None:
    receipt = Receipt.of(file, ROOT)
    assert receipt.root == ROOT.hex()
    assert receipt.still_holds(file)
    file.read_bytes()
    assert receipt.still_holds(file.stat())
    assert Receipt.of(file, None).root is None


def _same_size_same_time(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _copy_in_place(path: Path) -> None:
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def _link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("elsewhere")
    path.with_name("elsewhere").write_bytes(b"weights")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "change",
    [
        _same_size_same_time,
        _copy_in_place,
        _link,
        _folder,
        Path.unlink,
        lambda path: path.write_bytes(b"weights"),
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: os.truncate(path, 3),
    ],
)
def test_any_change_makes_it_stale(file: Path, change: Callable[[Path], object]) -> None:
    receipt = Receipt.of(file, ROOT)
    change(file)
    assert not receipt.still_holds(file)


@pytest.mark.parametrize("field", ["dev", "inode", "size", "mtime_ns", "ctime_ns"])
def test_every_field_counts(file: Path, field: str) -> None:
    receipt = Receipt.of(file, ROOT)
    assert not replace(receipt, **{field: getattr(receipt, field) + 1}).still_holds(file)


def test_only_a_file_can_be_proven(tmp_path: Path) -> None:
    assert not Receipt.of(tmp_path, ROOT).still_holds(tmp_path)


def test_made_from_a_descriptor_it_binds_the_file_that_was_read(file: Path) -> None:
    with file.open("rb") as opened:
        file.unlink()
        file.write_bytes(b"another")
        receipt = Receipt.of(file, ROOT, found=os.fstat(opened.fileno()))
        assert receipt.still_holds(os.fstat(opened.fileno()))
        assert not receipt.still_holds(file)


def test_saved_and_loaded(file: Path, tmp_path: Path) -> None:
    receipts = {"sub/é.bin": Receipt.of(file, ROOT), "empty": Receipt.of(file, None)}
    save_receipts(tmp_path / "receipts.json", receipts)
    assert load_receipts(tmp_path / "receipts.json") == receipts
    save_receipts(tmp_path / "receipts.json", {})
    assert load_receipts(tmp_path / "receipts.json") == {}
    assert load_receipts(tmp_path / "absent") == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "receipts.json"]


@pytest.mark.parametrize(
    "damage",
    [
        *("", "{", "[]", "7", "\udcff", '{"a": 1}', '{"a": {}}', '{"a": {"dev": 1}}'),
        '{"a": {"dev": "1", "inode": 1, "size": 1, "mtime_ns": 1, "ctime_ns": 1, "root": null}}',
        '{"a": {"dev": 1, "inode": 1, "size": 1, "mtime_ns": 1, "ctime_ns": 1, "root": "abc"}}',
        '{"a": {"dev": 1, "inode": 1, "size": 1, "mtime_ns": 1, "ctime_ns": 1, "root": 7}}',
    ],
)
def test_damage_means_no_receipts(tmp_path: Path, damage: str) -> None:
    (tmp_path / "receipts.json").write_bytes(damage.encode(errors="surrogateescape"))
    assert load_receipts(tmp_path / "receipts.json") == {}


def test_a_file_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "receipts.json").mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        load_receipts(tmp_path / "receipts.json")
