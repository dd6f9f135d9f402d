"""Which runs servers are asked for, when they are asked, and what they may take of a cap."""

from __future__ import annotations

import pytest

from tests.builders_metainfo import hashed_all
from weightshare.manifest.metainfo import build_info, parse_info
from weightshare.manifest.pieces import PieceMap
from weightshare.swarm import supply
from weightshare.swarm.supply import ENOUGH, HEAD_START, Chooser, Help, Run, help_for, share_of
from weightshare.units import KIB

PIECE = 16 * KIB
# a: pieces 0 to 9, the last one of 5 bytes; b: piece 10; c: 11 to 30
FILES = {"a": bytes(9 * PIECE + 5), "b": b"b", "c": bytes(20 * PIECE)}
PLACES = PieceMap(parse_info(build_info("t", PIECE, hashed_all(FILES, PIECE, hybrid=False), hybrid=False)))
EVERY = range(31)


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply, "RUN", 4 * PIECE)


def all_runs(chooser: Chooser, here: set[int], taken: set[int], **how: object) -> list[range]:
    """All runs there are, one after the other."""
    runs = []
    while (run := chooser.next(here, taken, **how)) is not None:  # type: ignore[arg-type]
        runs.append(run.pieces)
        taken |= set(run.pieces)
    return runs


def test_runs_come_from_the_end_and_keep_within_a_file() -> None:
    runs = all_runs(Chooser(PLACES, EVERY), set(), set())
    assert runs[:2] == [range(27, 31), range(23, 27)]
    assert range(10, 11) in runs
    assert sorted(piece for run in runs for piece in run) == list(EVERY)
    assert all(PLACES.span_of(run[0]) is PLACES.span_of(run[-1]) for run in runs)


def test_the_last_run_of_a_file_has_its_bytes_and_no_more() -> None:
    run = Chooser(PLACES, range(10)).next(set(), set())
    # Five bytes count as a piece: the run is no longer than what may be asked for.
    assert run == Run("a", 6, 6 * PIECE, 3 * PIECE + 5, PIECE)
    assert run.pieces == range(6, 10)


def test_what_is_here_or_asked_of_others_is_left() -> None:
    runs = all_runs(Chooser(PLACES, EVERY), {28, 29}, {20})
    taken = [piece for run in runs for piece in run]
    assert not {20, 28, 29} & set(taken)
    assert range(30, 31) in runs
    assert len(taken) == len(set(taken)) == len(EVERY) - 3


def test_what_was_lost_is_wanted_again() -> None:
    chooser = Chooser(PLACES, EVERY)
    assert chooser.next(set(EVERY), set()) is None
    again = chooser.next(set(EVERY) - {30}, set())
    assert again is not None
    assert again.pieces == range(30, 31)


def test_what_nobody_has_comes_alone() -> None:
    runs = all_runs(Chooser(PLACES, EVERY), set(), set(), first={3, 12, 13})
    assert runs == [range(12, 14), range(3, 4)]


def test_an_order_is_followed() -> None:
    runs = all_runs(Chooser(PLACES, EVERY), {12}, {13}, order=(10, 11, 12, 13, 14, 15))
    assert runs[:3] == [range(10, 11), range(11, 12), range(14, 18)]
    assert sorted(piece for run in runs for piece in run) == [p for p in EVERY if p not in (12, 13)]


def test_what_cannot_be_proven_is_not_asked_for() -> None:
    runs = all_runs(Chooser(PLACES, EVERY, lambda piece: piece < 11), set(), set())
    assert sorted(piece for run in runs for piece in run) == list(range(11))


@pytest.mark.parametrize(
    ("waited", "alone", "rate", "cap", "wanted"),
    [
        (0.0, False, 0.0, 0, Help.NOTHING),
        (HEAD_START - 0.1, False, 0.0, 0, Help.NOTHING),
        (HEAD_START, False, 0.0, 0, Help.ALL),
        (0.0, True, 0.0, 0, Help.ALL),
        (60.0, False, ENOUGH - 1.0, 0, Help.ALL),
        (60.0, False, float(ENOUGH), 0, Help.MISSING),
        (60.0, False, 900_000.0, 1_000_000, Help.MISSING),
        (60.0, False, 700_000.0, 1_000_000, Help.ALL),
    ],
)
def test_when_servers_help(waited: float, alone: bool, rate: float, cap: int, wanted: Help) -> None:
    assert help_for(waited=waited, alone=alone, rate=rate, cap=cap) is wanted


def test_a_cap_is_shared() -> None:
    assert share_of(0, 5.0) == 0
    assert share_of(1000, 0.0) == 900
    assert share_of(1000, 400.0) == 500
    assert share_of(1000, 10_000.0) == 100
    assert share_of(1, 0.0) == 1
