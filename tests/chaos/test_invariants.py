"""The looking-after sees what must never be: each of these is a lie, and is found."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.builders_checkpoints import contents, place
from tests.chaos.invariants import KILLED, Violation, Watch, claims, ended, expected, whole
from tests.chaos.plan import Injection, Kind, When

FILES = {"a": b"one", "b/c": b"two", "empty": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return place(tmp_path / "out", FILES)


@pytest.fixture
def truth(folder: Path) -> dict[str, str]:
    return contents(folder)


def test_a_whole_release_is_whole(folder: Path, truth: dict[str, str]) -> None:
    watch = Watch(folder, truth)
    watch.look()
    whole(watch, truth)
    claims({"releases": [{"complete": True, "path": str(folder)}]}, watch)


def test_a_wrong_file_under_its_name(folder: Path, truth: dict[str, str]) -> None:
    watch = Watch(folder, truth)
    watch.look()
    before = (folder / "a").stat()
    (folder / "a").write_bytes(b"owe")
    os.utime(folder / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(Violation, match="a has its final name and is not"):
        watch.look()


def test_a_file_that_we_changed_ourselves_is_excused_until_it_changes_again(
    folder: Path, truth: dict[str, str]
) -> None:
    watch = Watch(folder, truth)
    (folder / "a").write_bytes(b"owe")
    watch.excuse("a")
    assert watch.absent() == ["a"]
    (folder / "a").unlink()
    (folder / "a").write_bytes(b"eon")
    with pytest.raises(Violation, match="a has its final name"):
        watch.look()


def test_a_release_that_is_not_whole(folder: Path, truth: dict[str, str]) -> None:
    watch = Watch(folder, truth)
    watch.look()
    (folder / "b/c").unlink()
    with pytest.raises(Violation, match="not there: b/c"):
        whole(watch, truth)
    with pytest.raises(Violation, match="complete"):
        claims({"releases": [{"complete": True, "path": str(folder)}]}, watch)
    claims({"releases": [{"complete": False, "path": str(folder)}]}, watch)


def test_something_left_behind(folder: Path, truth: dict[str, str]) -> None:
    (folder / ".half").write_bytes(b"")
    with pytest.raises(Violation, match=r"left behind: \.half"):
        whole(Watch(folder, truth), truth)


@pytest.mark.parametrize(
    ("status", "out", "err", "says"),
    [
        (1, {"error": "bug", "exit_code": 1}, "", "documented nowhere"),
        (4, {"error": "corrupt", "exit_code": 4}, "", r"allowed \[0, 5\]"),
        (5, {"error": "stalled", "exit_code": 6}, "", "its JSON says 6"),
        (5, None, "", "no JSON"),
        (0, {"ok": False}, "", "its JSON says 4"),
        (0, {}, "Traceback (most recent call last):", "a traceback"),
        (-11, None, "", "status -11"),
    ],
)
def test_a_bad_end(status: int, out: object, err: str, says: str) -> None:
    text = "" if out is None else json.dumps(out)
    with pytest.raises(Violation, match=says):
        ended(status, text, err, frozenset({0, 5}))


def test_good_ends() -> None:
    assert ended(0, '{"bytes": 7}\n', "fetching", frozenset({0}))["bytes"] == 7
    assert ended(KILLED, "", "", frozenset({0, KILLED})) == {}
    assert ended(130, "", "", frozenset({0, 130})) == {}


@pytest.mark.parametrize(
    ("kind", "when", "statuses"),
    [
        (Kind.FETCH_KILLED, When.AT, {0, KILLED}),
        (Kind.FETCH_INTERRUPTED, When.AT, {0, 130}),
        (Kind.LINK_CUT, When.AT, {0, 5}),
        (Kind.DISK_FULL, When.BEFORE, {0, 6}),
        (Kind.STAGED_OVERWRITTEN, When.BEFORE, {0}),
        (Kind.STAGED_OVERWRITTEN, When.AT, {0, 6}),
        (Kind.LIAR, When.BEFORE, {0}),
        (Kind.STATE_GARBLED, When.BEFORE, {0}),
    ],
)
def test_what_a_fetch_may_end_with(kind: Kind, when: When, statuses: set[int]) -> None:
    assert expected([Injection(kind, when, 0.5, 1.0, 0)]) == statuses
