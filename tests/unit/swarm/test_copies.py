"""Distributed copies of what is wanted."""

from __future__ import annotations

import pytest

from weightshare.swarm.copies import availability, first_missing


@pytest.mark.parametrize(
    ("counts", "wanted", "here", "copies", "missing"),
    [
        ([1, 1, 1, 1], range(4), set(), 1.0, None),
        ([1, 0, 1, 1], range(4), set(), 0.75, 1),
        ([1, 0, 1, 1], range(4), {1}, 1.0, None),
        ([1, 0, 1, 1], {0, 2}, set(), 1.0, None),
        ([3, 2, 2, 5], range(4), set(), 2.5, None),
        ([1, 1], range(4), set(), 0.5, 2),
        ([], range(4), {0}, 0.25, 1),
        ([], (), set(), 1.0, None),
    ],
)
def test_the_rarest_and_the_share_that_is_there_more_often(
    counts: list[int], wanted: range, here: set[int], copies: float, missing: int | None
) -> None:
    assert availability(counts, wanted, here) == copies
    assert first_missing(counts, wanted, here) == missing
