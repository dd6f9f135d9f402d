"""Who is called again, and when."""

from __future__ import annotations

from itertools import pairwise

from weightshare.swarm.redialling import Redial

GIVEN, MET, OTHER = ("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)


def test_a_given_peer_is_called_as_long_as_it_is_away() -> None:
    redial = Redial([GIVEN])
    assert redial.due(0, []) == [GIVEN]
    assert redial.due(2, [GIVEN]) == []
    assert redial.due(4, [OTHER]) == [GIVEN]
    assert redial.due(100_000, []) == [GIVEN]


def test_a_peer_that_was_met_is_called_when_it_is_gone() -> None:
    redial = Redial([])
    redial.due(0, [MET])
    assert redial.due(2, []) == [MET]
    assert redial.due(3, []) == []
    assert redial.due(4, []) == [MET]


def test_more_and_more_seldom_and_at_last_no_more() -> None:
    redial = Redial([])
    redial.due(0, [MET])
    calls = [now for now in range(2, 4000, 2) if redial.due(now, [])]
    gaps = {second - first for first, second in pairwise(calls)}
    assert gaps == {2, 10}
    assert calls[-1] <= 3600


def test_it_is_not_missed_where_there_are_enough_others() -> None:
    redial = Redial([GIVEN])
    redial.due(0, [MET])
    crowd = [("10.0.1.0", port) for port in range(8)]
    assert redial.due(2, crowd) == [GIVEN]
    assert redial.due(4, crowd[:7]) == [GIVEN, MET, crowd[7]]


def test_not_everybody_is_remembered() -> None:
    redial = Redial([])
    redial.due(0, [("10.0.1.0", port) for port in range(1000)])
    assert len(redial.due(2, [])) == 64
