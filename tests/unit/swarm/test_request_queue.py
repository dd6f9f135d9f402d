"""The depth of the request queue follows rate, round trip and peers."""

from __future__ import annotations

import pytest

from weightshare.swarm.request_queue import CROWD, LEAST, MOST, Look, Pace, queue_depth, typical
from weightshare.units import MIB

MBIT = 125_000.0


@pytest.mark.parametrize(
    ("rate", "peers", "round_trip", "depth"),
    [
        # What was measured to be best: eight peers of a seeder at 200 Mbit/s, no path to speak of.
        (200 * MBIT, 8, 0.0, 17),
        (200 * MBIT, 8, 0.08, 32),
        (100 * MBIT, 16, 0.001, LEAST),
        (1000 * MBIT, 8, 0.001, 83),
        # One peer far away: the path is full, and a queue besides.
        (1000 * MBIT, 1, 0.1, 1412),
        # Loopback: as good as no limit.
        (350 * MIB, 1, 0.0001, 1907),
        (3000 * MIB, 1, 0.1, MOST),
        (0, 0, 0.0, LEAST),
    ],
)
def test_depth(rate: float, peers: int, round_trip: float, depth: int) -> None:
    assert queue_depth(rate, peers, round_trip) == depth


@pytest.mark.parametrize("rate", [10 * MBIT, 100 * MBIT, 10_000 * MBIT])
@pytest.mark.parametrize("peers", [1, 8, 64])
@pytest.mark.parametrize("round_trip", [0.0002, 0.04, 0.3])
def test_the_depth_never_holds_a_pair_below_its_share(rate: float, peers: int, round_trip: float) -> None:
    held_to = queue_depth(rate, peers, round_trip) * 16384 / round_trip
    assert held_to >= rate / peers or queue_depth(rate, peers, round_trip) == MOST


def test_the_longest_quarter_of_the_paths_does_not_count() -> None:
    assert typical([]) is None
    assert typical([0.2]) == 0.2
    assert typical([0.001, 0.001, 0.001, 0.3]) < 0.08  # type: ignore[operator]
    assert typical([0.001, 0.3, 0.3, 0.3]) == 0.3


def test_until_something_is_known_a_seeder_expects_one_and_a_fetch_a_crowd() -> None:
    seeder, fetch = Pace(expected=1, round_trip=0.001), Pace(expected=CROWD, round_trip=0.001)
    assert seeder.depth() > 64, "a lone peer on a fast path runs at full speed"
    assert fetch.depth() == LEAST


def test_peers_count_from_their_first_connection_and_a_while_after() -> None:
    pace = Pace(expected=1, round_trip=0.001)
    alone = pace.depth()
    shared = pace.see(Look(0.0, 0, connected=4, interested=0, wanted=0))
    assert LEAST <= shared < alone / 3
    # All of them hang up, to come again for the files.
    assert pace.see(Look(0.3, 0, connected=0, interested=0, wanted=0)) == shared
    assert pace.see(Look(11.0, 0, connected=0, interested=0, wanted=0)) == alone


def test_a_peer_that_only_gives_is_not_counted() -> None:
    pace = Pace(expected=1, round_trip=0.001)
    alone = pace.depth()
    assert pace.see(Look(0.0, 0, connected=50, interested=0, wanted=50)) == alone


def test_a_fast_link_is_believed_at_once_and_a_slow_one_after_a_while() -> None:
    def after(rate: float, seconds: int) -> int:
        pace = Pace(expected=1, round_trip=0.1)
        for second in range(seconds + 1):
            depth = pace.see(Look(float(second), int(rate * second), connected=2, interested=2, wanted=0))
        return depth

    assumed = Pace(expected=2, round_trip=0.1).depth()
    assert after(1000 * MBIT, 1) == queue_depth(1000 * MBIT, 2, 0.1)
    assert after(40 * MBIT, 2) == assumed
    assert after(40 * MBIT, 6) == queue_depth(40 * MBIT, 2, 0.1) < assumed


def test_an_idle_link_says_nothing() -> None:
    pace = Pace(expected=1, round_trip=0.1)
    assumed = pace.depth()
    for second in range(20):
        depth = pace.see(Look(float(second), 1000 * second, connected=1, interested=1, wanted=0))
    assert depth == assumed


def test_the_measured_round_trip_replaces_the_assumed_one() -> None:
    pace = Pace(expected=1, round_trip=0.1)
    look = Look(0.0, 0, connected=1, interested=1, wanted=0)
    assert pace.see(look, [0.3]) > pace.see(look, []) - 1 > pace.see(look, [0.0002])


def test_what_a_short_queue_held_back_it_does_not_hold_for_ever() -> None:
    """A link that could do more is seen at the rate the queue allows; the depth for that rate is a deeper one."""
    pace, depth, sent = Pace(expected=1, round_trip=0.2), LEAST, 0.0
    for second in range(200):
        sent += depth * 16384 / 0.2
        depth = max(depth, pace.see(Look(float(second), int(sent), 1, 1, 0), [0.2]))
    assert depth == MOST
