"""Files by size: what is walked through, what is followed, and what is not."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from pathlib import Path

import pytest

from tests.builders_checkpoints import place
from weightshare.content.finding import Looked, look

SIZE = 1000
HIT = bytes(SIZE)


def names(looked: Looked, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in looked.candidates]


def test_only_files_of_these_sizes_are_candidates(tmp_path: Path) -> None:
    place(tmp_path, {"a/b/c": HIT, "a/d": HIT + b"!", "e": HIT, "f": b""})
    looked = look([tmp_path], {SIZE})
    assert names(looked, tmp_path) == ["e", "a/b/c"]
    assert looked.seen == {tmp_path: (4, 3 * SIZE + 1)}
    assert looked.all_notes() == ()


def test_a_folder_that_is_not_there_is_passed_over(tmp_path: Path) -> None:
    assert look([tmp_path / "no"], {SIZE}).seen == {}


def test_links_to_files_are_followed_and_count_once(tmp_path: Path) -> None:
    place(tmp_path, {"blobs/1": HIT, "elsewhere": HIT})
    snapshot = tmp_path / "snapshots"
    snapshot.mkdir()
    (snapshot / "model").symlink_to("../blobs/1")
    (snapshot / "again").hardlink_to(tmp_path / "blobs/1")
    (snapshot / "nowhere").symlink_to("gone")
    assert names(look([snapshot], {SIZE}), tmp_path) == ["snapshots/again"]
    (snapshot / "again").unlink()
    looked = look([snapshot], {SIZE})
    assert names(looked, tmp_path) == ["blobs/1"], "by its own name, which is no link"
    assert looked.all_notes() == ()


def test_links_to_folders_are_not_followed_but_for_the_one_that_is_named(tmp_path: Path) -> None:
    place(tmp_path, {"outside/1": HIT, "inside/2": HIT})
    (tmp_path / "inside/loop").symlink_to(tmp_path / "inside")
    (tmp_path / "inside/out").symlink_to(tmp_path / "outside")
    assert names(look([tmp_path / "inside"], {SIZE}), tmp_path) == ["inside/2"]
    (tmp_path / "models").symlink_to(tmp_path / "outside")
    assert names(look([tmp_path / "models"], {SIZE}), tmp_path) == ["models/1"]


def test_a_folder_inside_another_is_walked_through_once(tmp_path: Path) -> None:
    place(tmp_path, {"a/1": HIT})
    looked = look([tmp_path / "a", tmp_path], {SIZE})
    assert looked.seen == {tmp_path / "a": (1, SIZE), tmp_path: (0, 0)}


def test_what_is_ours_unfinished_or_no_file_is_left_out(tmp_path: Path) -> None:
    place(
        tmp_path,
        {
            "home/models/1": HIT,
            ".weightshare-staging/2": HIT,
            "blobs/abc.incomplete": HIT,
            "blobs/sha256-abc-partial": HIT,
            "blobs/sha256-abc-partial-12": HIT,
        },
    )
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
    assert names(look([tmp_path], {SIZE}, leave_out=[tmp_path / "home"]), tmp_path) == []


def test_a_walk_ends(tmp_path: Path) -> None:
    place(tmp_path, {f"{folder}/{name}": HIT for folder in "abc" for name in "12"})
    looked = look([tmp_path], {SIZE}, limit=4)
    assert 0 < len(looked.candidates) < 6
    assert "stopped after 4 entries" in looked.all_notes()[0]


def test_what_must_not_be_read_is_said_and_the_rest_goes_on() -> None:
    with tempfile.TemporaryDirectory() as made:  # pytest's own folders are closed to others
        root = Path(made)
        root.chmod(0o755)
        place(root, {"open/1": HIT, "closed/2": HIT})
        (root / "closed").chmod(0)
        try:
            found, notes = _as_nobody([root / "closed/below", root / "closed", root / "open"])
        finally:
            (root / "closed").chmod(0o755)
        assert found == [str(root / "open/1")]
        assert len(notes) == 2
        assert all(str(root / "closed") in note and "Permission denied" in note for note in notes)


def test_of_a_thousand_errors_twenty_are_named() -> None:
    looked = Looked()
    for number in range(1000):
        looked.note(f"{number}")
    assert looked.all_notes()[-2:] == ("19", "980 more could not be read")


def _as_nobody(folders: list[Path]) -> tuple[list[str], list[str]]:
    """What somebody sees to whom permissions apply."""
    if os.geteuid() != 0:
        looked = look(folders, {SIZE})
        return [str(path) for path in looked.candidates], list(looked.all_notes())
    try:
        context = multiprocessing.get_context("fork")
    except ValueError:
        pytest.skip("no fork here")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_nobody, args=(theirs, folders))
    process.start()
    assert ours.poll(30)
    found, notes = ours.recv()
    process.join(30)
    return found, notes


def _nobody(pipe: object, folders: list[Path]) -> None:
    os.setuid(65534)
    looked = look(folders, {SIZE})
    pipe.send(([str(path) for path in looked.candidates], list(looked.all_notes())))  # type: ignore[attr-defined]
