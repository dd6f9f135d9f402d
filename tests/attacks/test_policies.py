"""Sound releases by the right publisher, of a kind that wants a flag or a warning: pickle, code, older than seen."""

from __future__ import annotations

import pytest

from tests.attacks.arena import Arena
from tests.attacks.forge import ACME, checkpoint, release
from tests.builders_releases import pin


def _with(path: str, data: bytes = b"\x80\x04N.") -> dict[str, bytes]:
    return {**checkpoint(), path: data}


@pytest.mark.parametrize("path", ["pytorch_model.bin", "sub/optimizer.PT"])
def test_pickle_wants_a_flag(arena: Arena, path: str) -> None:
    pickled = release(contents=_with(path))
    arena.refuses(
        pickled.bait(),
        code=8,
        error="pickle",
        says=f"acme/tiny@1 holds '{path}', which can run code when loaded",
    )


def test_pickle_is_taken_with_the_flag(arena: Arena) -> None:
    outcome = arena.fetch(release(contents=_with("pytorch_model.bin")).bait(), "--allow-pickle")
    assert outcome.code == 0, outcome
    assert (arena.victim.destination / "pytorch_model.bin").read_bytes() == b"\x80\x04N."


def test_leaving_the_pickle_out_is_no_way_around(arena: Arena) -> None:
    """The user is told of the pickle although this fetch would not bring it: the release holds it all the same."""
    arena.refuses(
        release(contents=_with("pytorch_model.bin")).bait(),
        "--include",
        "*.json",
        code=8,
        error="pickle",
        says="'pytorch_model.bin'",
    )


def test_code_is_carried_and_said(arena: Arena) -> None:
    outcome = arena.fetch(release(contents=_with("modeling_tiny.py", b"import os\n")).bait())
    assert outcome.code == 0, outcome
    assert outcome.value["warnings"] == ["It carries code, which weightshare never runs: 'modeling_tiny.py'."]
    assert not (arena.victim.destination / "modeling_tiny.py").stat().st_mode & 0o111


def test_an_older_release_than_seen_is_taken_with_a_warning(arena: Arena) -> None:
    """The link was given by hand, and may well name an old release; nobody's latest is being hidden."""
    arena.victim.knows(pin(ACME, highest={"acme/tiny": 9}))
    older = release(sequence=5)
    outcome = arena.fetch(older.bait())
    assert outcome.code == 0, outcome
    assert outcome.value["warnings"] == [
        "acme/tiny@1 has sequence 5, and 9 was seen before: it is an older release."
    ]
    assert "acme/tiny=9" in (arena.victim.home / "known_publishers").read_text(), "what was seen never falls"


def test_what_was_seen_rises_only_with_what_passed_the_gate(arena: Arena) -> None:
    """A release that is refused must not make the next honest one look old."""
    pickled = release(contents=_with("pytorch_model.bin"), sequence=2**53 - 1)
    arena.refuses(pickled.bait(), code=8, error="pickle", says="pytorch_model.bin")
    outcome = arena.fetch(release().bait())
    assert outcome.value["warnings"] == []
    assert "acme/tiny=5" in (arena.victim.home / "known_publishers").read_text()


def test_a_file_that_stands_where_the_release_lands_is_left_alone(arena: Arena) -> None:
    """A release cannot overwrite what the user has, whoever signed it."""
    mine = arena.victim.destination / "config.json"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    outcome = arena.fetch(release().bait())
    assert (outcome.code, outcome.value["error"]) == (6, "file_in_the_way")
    assert mine.read_bytes() == b"mine"
    assert list(mine.parent.iterdir()) == [mine]
