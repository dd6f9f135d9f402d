"""What a transfer says while it waits, and when it gives up, on a virtual clock."""

from __future__ import annotations

import pytest

from weightshare.errors import MetadataTimeoutError, NetworkError, NoPeersError, StalledError
from weightshare.progress import Phase
from weightshare.swarm.states import Observation, Watch


def run(watch: Watch, *looks: Observation) -> str:
    note = ""
    for look in looks:
        note = watch.see(look)
    return note


def look(
    now: float, done: int = 0, *, peers: int = 1, seeds: int = 1, missing: int | None = None
) -> Observation:
    return Observation(now, done, 1000, peers, seeds, missing)


def test_a_moving_transfer_has_a_rate_and_no_complaint() -> None:
    watch = Watch(Phase.FETCHING, 300, 0)
    note = run(watch, *(look(t, done=t * 100) for t in range(6)))
    assert note == ""
    assert watch.rate() == pytest.approx(100)


def test_the_rate_falls_to_zero_when_nothing_comes() -> None:
    watch = Watch(Phase.FETCHING, 300, 0)
    run(watch, look(0, 0), look(1, 500), look(5, 500), look(6, 500), look(9, 500))
    assert watch.rate() == 0


@pytest.mark.parametrize(
    ("phase", "seen", "reason"),
    [
        (Phase.METADATA, look(9, peers=0), "no peers"),
        (Phase.METADATA, look(9, peers=2), "peers, but none has sent the metadata"),
        (Phase.FETCHING, look(9, peers=0), "no peers"),
        (Phase.FETCHING, look(9, seeds=0, missing=7), "nobody has piece 7"),
        (Phase.FETCHING, look(9), "peers send nothing"),
    ],
)
def test_every_reason(phase: Phase, seen: Observation, reason: str) -> None:
    assert run(Watch(phase, 300, 0), look(0), seen) == reason


def test_a_tracker_that_fails_is_named_while_nobody_comes() -> None:
    seen = Observation(9, 0, None, 0, troubles="tracker: timed out")
    assert run(Watch(Phase.METADATA, 300, 0), look(0, peers=0), seen) == "no peers (tracker: timed out)"


@pytest.mark.parametrize(
    ("phase", "seen", "kind"),
    [
        (Phase.METADATA, look(30, peers=0), NoPeersError),
        (Phase.METADATA, look(30, peers=3), MetadataTimeoutError),
        (Phase.MANIFEST, look(30, peers=0), NoPeersError),
        (Phase.MANIFEST, look(30, peers=3), StalledError),
        (Phase.FETCHING, look(30, peers=0), NoPeersError),
        (Phase.FETCHING, look(30, peers=3), StalledError),
    ],
)
def test_every_end_of_patience(phase: Phase, seen: Observation, kind: type[NetworkError]) -> None:
    watch = Watch(phase, 30, 0)
    run(watch, look(0), look(29, peers=seen.peers))
    with pytest.raises(kind) as caught:
        watch.see(seen)
    assert type(caught.value) is kind
    assert caught.value.exit_code == 5
    assert caught.value.hint


def test_any_progress_begins_the_wait_anew() -> None:
    watch = Watch(Phase.FETCHING, 30, 0)
    run(watch, look(0, 0), look(29, 1), look(58, 2), look(87, 2))
    with pytest.raises(StalledError):
        watch.see(look(88, 2))


def test_a_timeout_of_zero_waits_for_ever() -> None:
    assert run(Watch(Phase.METADATA, 0, 0), look(0, peers=0), look(1e9, peers=0)) == "no peers"


def test_going_back_is_no_progress() -> None:
    """After a recheck fewer bytes are here; the wait must not begin anew with each one that comes back."""
    watch = Watch(Phase.FETCHING, 30, 0)
    run(watch, look(0, 500), look(10, 100), look(29, 400))
    with pytest.raises(StalledError):
        watch.see(look(30, 450))
