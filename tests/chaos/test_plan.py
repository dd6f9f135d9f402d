"""The plan comes from the seed alone, and is one that can be played."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.plan import (
    DISK,
    ENDS,
    SHAPES,
    STAGED,
    STATE,
    Injection,
    Kind,
    Round,
    When,
    round_of,
    shape_of,
)
from weightshare.manifest.metainfo import lone_hash
from weightshare.units import KIB, MIB

seeds = st.integers(0, (1 << 32) - 1)
numbers = st.integers(0, 1000)


def _all(plan: Round) -> list[Injection]:
    last = [] if plan.changed is None else [plan.changed]
    return [injection for run in plan.runs for injection in run.injections] + last


@given(seeds, numbers)
def test_a_seed_has_one_plan(seed: int, number: int) -> None:
    assert round_of(seed, number) == round_of(seed, number)
    assert shape_of(seed, number % SHAPES) == shape_of(seed, number % SHAPES)


def test_another_seed_has_another_plan() -> None:
    plans = {repr(round_of(seed, number)) for seed in range(10) for number in range(10)}
    assert len(plans) == 100


@given(seeds, numbers)
def test_what_ends_a_run_is_the_last_of_it(seed: int, number: int) -> None:
    for run in round_of(seed, number).runs:
        kinds = [injection.kind for injection in run.injections]
        assert not ENDS.intersection(kinds[:-1])
        moments = [injection.when for injection in run.injections]
        assert moments == sorted(moments, key=[When.BEFORE, When.EARLY, When.AT].index)
        shares = [injection.value for injection in run.injections if injection.when is When.AT]
        assert all(0 < share < 1 for share in shares)


@given(seeds, numbers)
def test_nothing_is_tampered_with_before_there_is_anything(seed: int, number: int) -> None:
    first = round_of(seed, number).runs[0]
    assert not [i for i in first.injections if i.when is When.BEFORE and i.kind in STATE | STAGED]


@given(seeds, numbers)
def test_a_run_is_over_in_bounded_time(seed: int, number: int) -> None:
    plan = round_of(seed, number)
    assert shape_of(seed, plan.shape).size / plan.rate <= 6.1
    for run in plan.runs:
        assert 4 <= run.timeout <= 30
        long = [injection for injection in run.injections if injection.seconds > 3]
        # What outlasts the fetch's patience is the last thing that happens to it, and it is the fetch that gives up.
        assert not long or (run.timeout <= 6 and long[-1] == run.injections[-1])
        assert sum(i.kind in DISK and i.when is When.BEFORE for i in run.injections) <= 1


@given(seeds, st.integers(0, SHAPES - 1))
def test_releases_are_small_and_of_all_kinds(seed: int, number: int) -> None:
    shape = shape_of(seed, number)
    sizes = [size for _, size in shape.files]
    assert 9 * MIB < shape.size < 45 * MIB
    assert 0 in sizes
    assert shape.piece_length in sizes
    assert shape.piece_length + 1 in sizes
    assert shape.piece_length >= 16 * KIB
    assert not shape.piece_length & shape.piece_length - 1
    assert not any(lone_hash(size, shape.piece_length) for size in sizes)
    assert not [path for path, _ in shape.files if re.search(r"^/|\.\.|//", path)]


def test_both_kinds_of_torrent_are_there() -> None:
    assert {shape_of(7, number).v2_only for number in range(SHAPES)} == {True, False}


def test_every_kind_comes_up_in_time() -> None:
    """Ten minutes are some sixty rounds; 200 injections must hit among more that are planned."""
    for seed in range(20):
        planned = Counter(
            injection.kind for number in range(60) for injection in _all(round_of(seed, number))
        )
        assert set(planned) == set(Kind)
        assert planned.total() > 400
