"""Which missing pieces are asked for before all others."""

from __future__ import annotations

import pytest

from weightshare.swarm.order import CROWD, LEAST, Wanted, Window, sizes

PIECE = 100


class Fixed:
    def __init__(self, head: range, body: range) -> None:
        self.now = Wanted(tuple(head), tuple(body))

    def wanted(self) -> Wanted:
        return self.now


def front(window: Window, here: set[int], *, total: int, rate: float = 0.0, leeches: int = 0) -> list[int]:
    return list(window.front(here, missing=total - len(here), rate=rate, leeches=leeches))


def test_it_slides_over_what_arrives() -> None:
    window = Window(Fixed(range(0), range(1000)), PIECE)
    assert front(window, set(), total=1000) == [0, 1, 2, 3]
    assert front(window, {0, 2, 3, 500}, total=1000) == [1, 4, 5, 6]
    assert front(window, set(range(996)), total=1000) == [996, 997, 998, 999]
    assert front(window, set(range(1000)), total=1000) == []


def test_it_grows_with_the_rate() -> None:
    window = Window(Fixed(range(0), range(1000)), PIECE)
    assert len(front(window, set(), total=1000, rate=20 * PIECE)) == 60


def test_it_is_never_more_than_a_quarter_of_what_is_missing() -> None:
    window = Window(Fixed(range(0), range(1000)), PIECE)
    assert len(front(window, set(), total=1000, rate=1e9)) == 250
    assert len(front(window, set(range(900)), total=1000, rate=1e9)) == 25


def test_it_is_longer_in_a_crowd() -> None:
    window = Window(Fixed(range(0), range(1000)), PIECE)
    assert len(front(window, set(), total=1000, leeches=3)) == 4 * CROWD


def test_in_a_crowd_that_is_too_large_only_the_head_is_in_front() -> None:
    window = Window(Fixed(range(20), range(20, 400)), PIECE)
    assert front(window, set(), total=400, leeches=7) == list(range(20))
    assert front(window, set(range(20)), total=400, leeches=7) == []


def test_the_order_may_change() -> None:
    order = Fixed(range(0), range(1000))
    window = Window(order, PIECE)
    assert front(window, {0}, total=1000) == [1, 2, 3, 4]
    order.now = Wanted((500, 0), (2, 1))
    assert front(window, {0}, total=1000) == [500, 2, 1]


def test_pieces_that_were_lost_are_asked_for_again() -> None:
    window = Window(Fixed(range(0), range(2000)), PIECE)
    front(window, set(range(1500)), total=2000)
    front(window, set(range(1600)), total=2000)
    assert front(window, set(range(3, 1600)), total=2000) == [0, 1, 2, 1600]


@pytest.mark.parametrize("missing", [0, 1, 3, 4, 100, 10_000])
@pytest.mark.parametrize("rate", [0.0, 3.0, 1e6])
@pytest.mark.parametrize("leeches", [0, 1, 7, 500])
def test_the_bounds(missing: int, rate: float, leeches: int) -> None:
    head, ahead = sizes(missing, rate, leeches)
    assert ahead <= max(LEAST, missing // 4)
    assert head <= max(LEAST, missing // 4)
    if leeches and ahead:
        assert ahead >= CROWD * (leeches + 1)
