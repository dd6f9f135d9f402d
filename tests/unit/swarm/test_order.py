"""Which missing pieces are asked for before all others."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from weightshare.swarm.order import CROWD, LEAST, SECONDS, SHARE, Window, length

PIECE = 100


class Fixed:
    def __init__(self, pieces: Sequence[int]) -> None:
        self.now = tuple(pieces)

    def wanted(self) -> tuple[int, ...]:
        return self.now

    def readable(self, pieces: Collection[int]) -> None:
        raise AssertionError("nobody tells a window")


SLOW = 1.0
"""Bytes a second, far less than a piece."""


def front(
    window: Window, here: set[int], *, total: int, rate: float = SLOW, leeches: int = 0, asked: int = 0
) -> list[int]:
    return list(window.front(here, missing=total - len(here), rate=rate, leeches=leeches, asked=asked))


def test_it_slides_over_what_arrives() -> None:
    window = Window(Fixed(range(1000)), PIECE)
    assert front(window, set(), total=1000) == list(range(LEAST))
    assert front(window, {0, 2, 3, 500}, total=1000) == [1, *range(4, LEAST + 3)]
    assert front(window, set(range(996)), total=1000) == [996, 997, 998, 999]
    assert front(window, set(range(1000)), total=1000) == []


def test_it_grows_with_the_rate() -> None:
    window = Window(Fixed(range(1000)), PIECE)
    assert len(front(window, set(), total=1000, rate=20 * PIECE)) == 20 * SECONDS


def test_it_is_never_more_than_a_quarter_of_what_is_missing() -> None:
    window = Window(Fixed(range(1000)), PIECE)
    assert len(front(window, set(), total=1000, rate=1e9)) == 250
    assert len(front(window, set(range(900)), total=1000, rate=1e9)) == 25


def test_it_is_as_long_as_may_be_while_no_rate_is_known() -> None:
    window = Window(Fixed(range(1000)), PIECE)
    assert len(front(window, set(), total=1000, rate=0)) == 250


def test_it_is_longer_in_a_crowd() -> None:
    window = Window(Fixed(range(1000)), PIECE)
    assert len(front(window, set(), total=1000, leeches=3)) == 4 * CROWD


def test_it_is_longer_where_much_is_asked_for_at_once() -> None:
    window = Window(Fixed(range(1000)), PIECE)
    assert len(front(window, set(), total=1000, leeches=3, asked=5 * PIECE // 2)) == 10 * CROWD
    assert len(front(window, set(), total=1000, asked=100 * PIECE)) == LEAST


def test_in_a_crowd_that_is_large_it_is_all_that_is_missing_and_nothing_comes_first() -> None:
    window = Window(Fixed(range(100)), PIECE)
    assert front(window, {3}, total=100, leeches=7) == [0, 1, 2, *range(4, 100)]


def test_the_order_may_change() -> None:
    order = Fixed(range(1000))
    window = Window(order, PIECE)
    assert front(window, {0}, total=1000) == list(range(1, LEAST + 1))
    order.now = (500, 0, 2, 1)
    assert front(window, {0}, total=1000) == [500, 2, 1]


def test_pieces_that_were_lost_are_asked_for_again() -> None:
    window = Window(Fixed(range(2000)), PIECE)
    front(window, set(range(1500)), total=2000)
    front(window, set(range(1600)), total=2000)
    assert front(window, set(range(3, 1600)), total=2000) == [0, 1, 2, *range(1600, 1597 + LEAST)]


@pytest.mark.parametrize("missing", [0, 1, 3, 4, 100, 10_000])
@pytest.mark.parametrize("rate", [0.0, 3.0, 1e6])
def test_the_bounds(missing: int, rate: float) -> None:
    assert LEAST <= length(missing, rate, 0, 9) <= max(LEAST, missing // SHARE)
    for leeches in (1, 7, 500):
        assert length(missing, rate, leeches, 0) >= CROWD * (leeches + 1)
