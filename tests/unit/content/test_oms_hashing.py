from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.builders_checkpoints import place
from tests.builders_oms import FILES, bundle, key_files, resource, shards, statement
from weightshare.content.oms_hashing import BUFFER, check_model
from weightshare.content.verifier import FileReport
from weightshare.progress import Phase, Progress
from weightshare.trust import oms
from weightshare.trust.oms import Bundle, VerifiedModel
from weightshare.trust.oms_keys import EcPublicKey


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return place(tmp_path / "m", FILES)


def signed(tmp_path: Path, *, files: dict[str, bytes] | None = None, **serialization: Any) -> VerifiedModel:
    files = FILES if files is None else files
    algorithm = serialization.get("hash_type", "sha256")
    if "shard_size" in serialization:
        resources = shards(files, serialization["shard_size"])
    else:
        resources = [resource(path, data, algorithm) for path, data in sorted(files.items())]
    said = statement(resources, **serialization)
    return oms.verify(Bundle.parse(bundle(said)), EcPublicKey.load(key_files(tmp_path)[1]))


def bad(reports: tuple[FileReport, ...]) -> list[tuple[str, str]]:
    return [(report.path, report.problem) for report in reports if not report.ok]


SHARDS: dict[str, Any] = {"method": "shards", "shard_size": 1000}


@pytest.mark.parametrize("how", [{}, {"hash_type": "blake2b"}, SHARDS], ids=["files", "blake2b", "shards"])
def test_what_was_signed_is_ok(tmp_path: Path, folder: Path, how: dict[str, Any]) -> None:
    seen: list[Progress] = []
    report = check_model(folder, signed(tmp_path, **how), observe=seen.append)
    assert bad(report.files) == []
    assert [file.path for file in report.files] == [
        path for path in sorted(FILES) if path != "empty" or how != SHARDS
    ]
    assert report.bytes == sum(map(len, FILES.values()))
    assert report.unlisted_empty == (("empty",) if how == SHARDS else ())
    assert (seen[0].done, seen[-1].done) == (0, report.bytes)
    assert {(progress.phase, progress.total) for progress in seen} == {(Phase.VERIFYING, report.bytes)}


def test_files_longer_than_the_buffer(tmp_path: Path) -> None:
    files = {"large": bytes(range(251)) * ((3 * BUFFER) // 251), "small": b"x"}
    folder = place(tmp_path / "m", files)
    assert bad(check_model(folder, signed(tmp_path, files=files), workers=1).files) == []
    size = BUFFER + 12_345
    model = signed(tmp_path, files=files, method="shards", shard_size=size)
    assert bad(check_model(folder, model).files) == []
    with (folder / "large").open("r+b") as file:
        file.seek(size)
        file.write(b"\xff")
    (report, _) = check_model(folder, model).files
    assert (report.problem, report.bad_pieces) == ("corrupt", (1,))


def test_each_difference_is_named(tmp_path: Path, folder: Path) -> None:
    model = signed(tmp_path)
    data = bytearray(FILES["model.safetensors"])
    data[1500] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    (folder / "config.json").unlink()
    (folder / "a" / "new.txt").write_bytes(b"")
    (folder / "a" / "c.txt").unlink()
    (folder / "a" / "c.txt").mkdir()
    report = check_model(folder, model)
    assert bad(report.files) == [
        ("a/c.txt", "missing"),
        ("config.json", "missing"),
        ("model.safetensors", "corrupt"),
        ("a/new.txt", "extra"),
    ]
    corrupt = next(file for file in report.files if file.problem == "corrupt")
    assert corrupt.expected == resource("", FILES["model.safetensors"])["digest"]
    assert corrupt.found == resource("", bytes(data))["digest"]


def test_bad_shards_are_named(tmp_path: Path, folder: Path) -> None:
    model = signed(tmp_path, **SHARDS)
    target = folder / "model.safetensors"
    data = bytearray(FILES["model.safetensors"])
    data[1500] ^= 1
    for content, problem, pieces in (
        (data, "corrupt", (1,)),
        (data + b"more", "wrong size", (1,)),
        (data[:2400], "wrong size", (1, 2)),
        (b"", "wrong size", (0, 1, 2)),
    ):
        target.write_bytes(content)
        report = next(file for file in check_model(folder, model).files if file.path == target.name)
        assert (report.problem, report.bad_pieces) == (problem, pieces)


def test_what_is_left_out_and_what_lies_beside(tmp_path: Path, folder: Path) -> None:
    model = signed(tmp_path, ignore_paths=["cache", "notes.txt"])
    place(
        folder,
        {
            "cache/a/b": b"1",
            "notes.txt": b"2",
            ".git/HEAD": b"3",
            ".gitattributes": b"4",
            "model.sig": b"5",
            "sub/notes.txt": b"6",
            "cached": b"7",
        },
    )
    extra = [("cached", "extra"), ("sub/notes.txt", "extra")]
    assert bad(check_model(folder, model, beside=["model.sig"]).files) == extra
    assert ("model.sig", "extra") in bad(check_model(folder, model).files)


def test_what_is_listed_is_checked_although_it_is_left_out(tmp_path: Path) -> None:
    files = {".git/config": b"listed", "cache/x": b"listed too"}
    folder = place(tmp_path / "m", {**files, "cache/y": b"not listed"})
    model = signed(tmp_path, files=files, ignore_paths=["cache"])
    assert bad(check_model(folder, model).files) == []
    (folder / ".git" / "config").write_bytes(b"changed")
    (folder / "cache" / "x").write_bytes(b"changed")
    assert bad(check_model(folder, model).files) == [(".git/config", "corrupt"), ("cache/x", "corrupt")]


def test_links_do_not_count_unless_the_signer_followed_them(tmp_path: Path, folder: Path) -> None:
    outside = place(tmp_path / "elsewhere", {"c.txt": FILES["a/c.txt"]})
    (folder / "config.json").rename(tmp_path / "config.json")
    (folder / "config.json").symlink_to(tmp_path / "config.json")
    (folder / "a" / "c.txt").unlink()
    (folder / "a").rmdir()
    (folder / "a").symlink_to(outside)
    (folder / "new").symlink_to("nowhere")
    refused = bad(check_model(folder, signed(tmp_path)).files)
    assert refused == [
        ("a/c.txt", "missing"),
        ("config.json", "not a regular file"),
        ("a", "extra"),
        ("new", "extra"),
    ]
    # Links to files count where the signer says so; those to folders never do.
    followed = bad(check_model(folder, signed(tmp_path, allow_symlinks=True)).files)
    assert followed == [("a/c.txt", "missing"), ("a", "extra"), ("new", "extra")]


def test_a_pipe_in_the_place_of_a_file_does_not_block(tmp_path: Path, folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    os.mkfifo(folder / "pipe")
    assert bad(check_model(folder, signed(tmp_path)).files) == [
        ("config.json", "not a regular file"),
        ("pipe", "extra"),
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_a_verdict(tmp_path: Path, folder: Path) -> None:
    (folder / "config.json").chmod(0)
    assert bad(check_model(folder, signed(tmp_path)).files) == [("config.json", "unreadable")]


@pytest.mark.timeout(30)
def test_an_interruption_ends_all_threads(tmp_path: Path) -> None:
    # A sparse file that takes minutes to hash, so that waiting for a thread that goes on would be noticed.
    folder = place(tmp_path / "m", {"endless": b"", "other": b""})
    os.truncate(folder / "endless", 1 << 38)
    model = signed(tmp_path, files={"endless": b"", "other": b""})
    started = threading.Event()

    def interrupt(progress: Progress) -> None:
        if progress.done:
            started.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_model(folder, model, workers=2, observe=interrupt)
    assert started.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("oms")]
