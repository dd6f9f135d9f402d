"""The machine alone, on a virtual clock: every transition, every refusal of one, every reason, every end of a wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightshare.errors import (
    MetadataTimeoutError,
    NetworkError,
    NoPeersError,
    NoSpaceError,
    StalledError,
    WeightshareError,
)
from weightshare.swarm.reasons import Aim, Observation, Reason, Shortage, describe, reason_for
from weightshare.swarm.states import AIMS, PHASES, TRANSITIONS, ForbiddenTransitionError, Machine, State

TIMEOUT = 30.0
MIB = 1024 * 1024
FULL = Shortage("staging/a.safetensors", 10 * MIB, 3 * MIB)

WAYS: dict[State, tuple[State, ...]] = {
    State.RESOLVING: (),
    State.GATING: (State.GATING,),
    State.PLANNING: (State.GATING, State.PLANNING),
    State.REUSING: (State.GATING, State.PLANNING, State.REUSING),
    State.DOWNLOADING: (State.GATING, State.PLANNING, State.REUSING, State.DOWNLOADING),
    State.PROVING: (State.GATING, State.PLANNING, State.REUSING, State.PROVING),
    State.DONE: (State.GATING, State.PLANNING, State.DONE),
}
CAN_STALL = [State.RESOLVING, State.GATING, State.DOWNLOADING]


def look(now: float, done: int = 0, **more: Any) -> Observation:
    return replace(Observation(now, done, 10 * MIB, peers=1, seeds=1), **more)


def machine_in(state: State, timeout: float = TIMEOUT) -> Machine:
    """A machine that came to a state by the shortest way, at 0 s."""
    machine = Machine(timeout, 0)
    if state is State.FAILED:
        machine.fail(OSError("broken"))
        return machine
    for step in WAYS[state]:
        machine.enter(step, 0)
    assert machine.state is state
    return machine


def stalled_in(state: State, timeout: float = TIMEOUT, **more: Any) -> Machine:
    machine = machine_in(state, timeout)
    machine.see(look(0, **more))
    machine.see(look(3, **more))
    assert machine.state is State.STALLED
    assert machine.working is state
    return machine


# ---- transitions


def go(machine: Machine, state: State) -> None:
    """Bring a machine into a state by whatever leads there."""
    if state is State.STALLED:
        machine.see(look(0))
        machine.see(look(9))
        if machine.state is not State.STALLED:
            raise ForbiddenTransitionError
    elif state is State.FAILED:
        machine.fail(OSError("broken"))
        if not isinstance(machine.error, OSError) or machine.error.args != ("broken",):
            raise ForbiddenTransitionError
    else:
        machine.enter(state, 9)


PLAIN = [state for state in State if state is not State.STALLED]
ALLOWED = [(a, b) for a in PLAIN for b in State if b in TRANSITIONS[a]]
FORBIDDEN = [(a, b) for a, b in product(PLAIN, State) if b not in TRANSITIONS[a]]


def test_the_table_names_every_state() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {state for state in State if not TRANSITIONS[state]} == {State.DONE, State.FAILED}
    assert {state for state in State if State.STALLED in TRANSITIONS[state]} == set(CAN_STALL) == set(AIMS)
    assert all(State.FAILED in after for after in TRANSITIONS.values() if after)
    assert set(PHASES) == set(State) - {State.STALLED, State.FAILED}


@pytest.mark.parametrize(("before", "after"), ALLOWED)
def test_every_allowed_transition(before: State, after: State) -> None:
    machine = machine_in(before)
    go(machine, after)
    assert machine.state is after


@pytest.mark.parametrize(("before", "after"), FORBIDDEN)
def test_every_forbidden_transition_is_refused(before: State, after: State) -> None:
    machine = machine_in(before)
    if (before, after) == (State.FAILED, State.FAILED):
        machine.fail(ValueError("later"))
        assert isinstance(machine.error, OSError), "the first failure is the one that counts"
        return
    with pytest.raises(ForbiddenTransitionError):
        go(machine, after)
    assert machine.state is before


@pytest.mark.parametrize("origin", CAN_STALL)
def test_a_stall_ends_where_it_began_or_goes_on_from_there(origin: State) -> None:
    for after in (state for state in State if state not in (State.STALLED, State.FAILED)):
        machine = stalled_in(origin)
        if after is origin or after in TRANSITIONS[origin]:
            machine.enter(after, 4)
            assert machine.state is after
            assert (machine.reason, machine.note) == (None, "")
        else:
            with pytest.raises(ForbiddenTransitionError):
                machine.enter(after, 4)
            assert machine.state is State.STALLED
            assert machine.note
    machine = stalled_in(origin)
    machine.fail(KeyboardInterrupt())
    assert machine.state is State.FAILED


@pytest.mark.parametrize("state", [State.STALLED, State.FAILED])
def test_what_needs_a_reason_is_not_entered_by_name(state: State) -> None:
    with pytest.raises(ForbiddenTransitionError):
        machine_in(State.DOWNLOADING).enter(state, 1)


def test_bytes_end_a_stall() -> None:
    machine = stalled_in(State.DOWNLOADING, peers=0)
    assert machine.note == "no peers"
    machine.see(look(4, MIB))
    assert machine.state is State.DOWNLOADING
    assert machine.note == ""


# ---- reasons

REASONS: list[tuple[State, dict[str, Any], Reason, str]] = [
    (State.RESOLVING, {"peers": 0}, Reason.NO_PEERS, "no peers"),
    (
        State.RESOLVING,
        {"peers": 0, "trackers": 2, "trouble": "torrent not registered"},
        Reason.NO_TRACKER,
        "no peers: no tracker answers (torrent not registered)",
    ),
    (
        State.DOWNLOADING,
        {"peers": 0, "trackers": 2, "answered": True, "trouble": "tracker t: timed out"},
        Reason.NO_PEERS,
        "no peers (tracker t: timed out)",
    ),
    (State.RESOLVING, {"peers": 0, "liars": 2}, Reason.NO_PEERS, "no peers but 2 with false metadata"),
    (State.RESOLVING, {}, Reason.NO_METADATA, "peers, but none has sent the metadata"),
    (
        State.RESOLVING,
        {"liars": 1},
        Reason.NO_METADATA,
        "peers, but none has sent the metadata; 1 gave false ones",
    ),
    (State.GATING, {"peers": 0}, Reason.NO_PEERS, "no peers"),
    (State.GATING, {}, Reason.SILENT, "peers send nothing"),
    (
        State.DOWNLOADING,
        {"useful": 3, "choking": 3, "peers": 4},
        Reason.CHOKED,
        "choked by all peers: they have it and serve others first",
    ),
    (State.DOWNLOADING, {"useful": 3, "choking": 2, "peers": 4}, Reason.SILENT, "peers send nothing"),
    (
        State.DOWNLOADING,
        {"seeds": 0, "missing": 7, "availability": 0.989},
        Reason.PIECE_MISSING,
        "nobody has piece 7 (availability 0.98)",
    ),
    (State.DOWNLOADING, {"seeds": 0, "missing": 7}, Reason.PIECE_MISSING, "nobody has piece 7"),
    (State.DOWNLOADING, {"full": FULL}, Reason.DISK_FULL, "the disk is full, 7.00 MiB more are needed"),
    (
        State.DOWNLOADING,
        {"full": replace(FULL, free=11 * MIB)},
        Reason.DISK_FULL,
        "the disk takes no more (is a quota used up?)",
    ),
    (
        State.DOWNLOADING,
        {"held_back": 1, "cap": MIB, "useful": 1},
        Reason.CAPPED,
        "capped by you at 1.00 MiB/s",
    ),
    (State.DOWNLOADING, {"held_back": 1}, Reason.CAPPED, "capped by you"),
    (State.DOWNLOADING, {}, Reason.SILENT, "peers send nothing"),
    (
        State.DOWNLOADING,
        {"peers": 0, "told_to_wait": True, "servers": "the Hub asks us to wait 12 s"},
        Reason.SERVERS_WAIT,
        "no peers; the Hub asks us to wait 12 s",
    ),
    (
        State.DOWNLOADING,
        {"peers": 0, "servers": "the Hub has no such repository"},
        Reason.NO_PEERS,
        "no peers; the Hub has no such repository",
    ),
]


@pytest.mark.parametrize(("state", "seen", "reason", "words"), REASONS)
def test_every_reason(state: State, seen: dict[str, Any], reason: Reason, words: str) -> None:
    machine = stalled_in(state, **seen)
    assert machine.reason is reason
    assert machine.note == words


def test_no_reason_was_forgotten() -> None:
    assert {reason for _, _, reason, _ in REASONS} == set(Reason)


def test_a_full_disk_is_said_at_once() -> None:
    machine = machine_in(State.DOWNLOADING)
    machine.see(look(0, MIB))
    machine.see(look(0.1, 2 * MIB, full=FULL))
    assert machine.state is State.STALLED
    assert machine.reason is Reason.DISK_FULL


def test_a_cap_that_limits_is_said_while_all_goes_well() -> None:
    machine = machine_in(State.DOWNLOADING)
    for second in range(4):
        machine.see(look(second, second * MIB, cap=MIB))
    assert machine.state is State.DOWNLOADING
    assert machine.reason is Reason.CAPPED
    assert machine.note == "capped by you at 1.00 MiB/s"
    machine.see(look(4, 3 * MIB + 10, cap=MIB))
    machine.see(look(5, 3 * MIB + 20, cap=MIB))
    assert machine.note == ""


def test_a_moving_transfer_has_a_rate_and_no_complaint() -> None:
    machine = machine_in(State.DOWNLOADING)
    for second in range(6):
        machine.see(look(second, second * 100))
    assert machine.note == ""
    assert machine.rate() == pytest.approx(100)


def test_the_rate_falls_to_zero_when_nothing_comes() -> None:
    machine = machine_in(State.DOWNLOADING)
    for now, done in [(0, 0), (1, 500), (5, 500), (6, 500), (9, 500)]:
        machine.see(look(now, done))
    assert machine.rate() == 0


# ---- patience

ENDS: list[tuple[State, dict[str, Any], type[WeightshareError], Reason, str]] = [
    (
        State.DOWNLOADING,
        {"peers": 0, "told_to_wait": True, "servers": "the Hub asks us to wait 12 s"},
        NoPeersError,
        Reason.SERVERS_WAIT,
        "no peers; the Hub asks us to wait 12 s; ",
    ),
    (State.RESOLVING, {"peers": 0}, NoPeersError, Reason.NO_PEERS, "could be reached."),
    (
        State.RESOLVING,
        {"peers": 0, "trackers": 1, "trouble": "not registered"},
        NoPeersError,
        Reason.NO_TRACKER,
        "no tracker answers (not registered)",
    ),
    (State.RESOLVING, {"peers": 3}, MetadataTimeoutError, Reason.NO_METADATA, "3 peer(s), but none sent"),
    (
        State.RESOLVING,
        {"peers": 0, "liars": 1},
        MetadataTimeoutError,
        Reason.NO_METADATA,
        "1 gave metadata of",
    ),
    (State.GATING, {"peers": 0}, NoPeersError, Reason.NO_PEERS, "nobody who has this release"),
    (State.GATING, {"peers": 3}, StalledError, Reason.SILENT, "peers send nothing"),
    (State.DOWNLOADING, {"peers": 0}, NoPeersError, Reason.NO_PEERS, "The last peer has been gone for 30 s"),
    (State.DOWNLOADING, {"peers": 3}, StalledError, Reason.SILENT, "1.00 MiB of 10.0 MiB are here"),
    (State.DOWNLOADING, {"useful": 1, "choking": 1}, StalledError, Reason.CHOKED, "choked by all peers"),
    (
        State.DOWNLOADING,
        {"seeds": 0, "missing": 7, "availability": 0.98},
        StalledError,
        Reason.PIECE_MISSING,
        "nobody has piece 7 (availability 0.98)",
    ),
    (State.DOWNLOADING, {"held_back": 1}, StalledError, Reason.CAPPED, "capped by you"),
    (State.DOWNLOADING, {"full": FULL}, NoSpaceError, Reason.DISK_FULL, "7.00 MiB more are needed"),
]


@pytest.mark.parametrize(("state", "seen", "kind", "reason", "words"), ENDS)
def test_every_end_of_patience(
    state: State, seen: dict[str, Any], kind: type[WeightshareError], reason: Reason, words: str
) -> None:
    machine = machine_in(state)
    machine.see(look(0, MIB, **seen))
    machine.see(look(TIMEOUT - 0.1, MIB, **seen))
    assert machine.note
    with pytest.raises(kind) as caught:
        machine.see(look(TIMEOUT, MIB, **seen))
    assert type(caught.value) is kind
    assert caught.value.exit_code == (5 if issubclass(kind, NetworkError) else 6)
    assert words in caught.value.message
    assert caught.value.message.endswith(".")
    assert caught.value.hint
    assert caught.value.facts["reason"] == reason.value
    assert machine.state is State.FAILED
    assert machine.error is caught.value


def test_no_reason_is_without_a_bound() -> None:
    assert {reason for _, _, _, reason, _ in ENDS} == set(Reason)


def test_any_progress_begins_the_wait_anew() -> None:
    machine = machine_in(State.DOWNLOADING)
    for now, done in [(0, 0), (29, 1), (58, 2), (87, 2)]:
        machine.see(look(now, done))
    with pytest.raises(StalledError):
        machine.see(look(88, 2))


def test_so_does_the_next_state() -> None:
    machine = stalled_in(State.GATING)
    for state in (State.PLANNING, State.REUSING, State.DOWNLOADING):
        machine.enter(state, 25)
    machine.see(look(25))
    machine.see(look(54))
    with pytest.raises(StalledError):
        machine.see(look(55))


def test_going_back_is_no_progress() -> None:
    """With bytes given up and come again the wait must not begin anew, or a bad disk would keep it up for ever."""
    machine = machine_in(State.DOWNLOADING)
    for now, done in [(0, 500), (10, 100), (29, 400)]:
        machine.see(look(now, done))
    with pytest.raises(StalledError):
        machine.see(look(30, 450))


def test_unless_what_was_waited_for_has_come() -> None:
    machine = machine_in(State.DOWNLOADING)
    machine.see(look(0, 500, full=FULL))
    machine.see(look(29, 100, full=FULL))
    machine.anew(100, 29)
    machine.see(look(58, 100))
    machine.see(look(58.5, 101))
    assert machine.state is State.DOWNLOADING


def test_a_timeout_of_zero_waits_for_ever() -> None:
    machine = stalled_in(State.RESOLVING, timeout=0, peers=0)
    machine.see(look(1e9, peers=0))
    assert machine.note == "no peers"


@pytest.mark.parametrize("state", [State.PLANNING, State.REUSING, State.PROVING])
def test_what_depends_on_nobody_else_has_no_patience_to_lose(state: State) -> None:
    machine = machine_in(state)
    machine.see(look(0, peers=0))
    machine.see(look(1e9, peers=0))
    assert machine.state is state


# ---- any sequence

sizes = st.integers(0, 12 * MIB)
few = st.integers(0, 3)
observations = st.builds(
    Observation,
    now=st.just(0.0),
    done=sizes,
    total=st.one_of(st.none(), sizes),
    peers=few,
    seeds=few,
    choking=few,
    useful=few,
    missing=st.one_of(st.none(), few),
    availability=st.one_of(st.none(), st.floats(0, 5)),
    liars=few,
    trackers=few,
    answered=st.booleans(),
    trouble=st.sampled_from(["", "timed out"]),
    cap=st.sampled_from([0, MIB]),
    held_back=few,
    full=st.one_of(st.none(), st.builds(Shortage, st.just("a"), sizes, sizes)),
)
steps = st.one_of(
    st.tuples(st.floats(0, 40), observations),
    st.tuples(st.floats(0, 40), st.sampled_from(list(State))),
    st.tuples(st.floats(0, 40), st.builds(OSError, st.just("broken"))),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(steps, max_size=30))
def test_no_sequence_breaks_the_table_or_leaves_a_stall_without_a_reason(
    sequence: list[tuple[float, Observation | State | OSError]],
) -> None:
    machine, now = Machine(TIMEOUT, 0), 0.0
    for wait, step in sequence:
        now += wait
        before, error = machine.state, machine.error
        try:
            if isinstance(step, Observation):
                machine.see(replace(step, now=now))
            elif isinstance(step, State):
                machine.enter(step, now)
            else:
                machine.fail(step)
        except (ForbiddenTransitionError, NetworkError, NoSpaceError):
            pass
        after = machine.state
        if before in (State.DONE, State.FAILED):
            assert (after, machine.error) == (before, error)
        assert (after is State.FAILED) == (machine.error is not None)
        if after is State.STALLED:
            assert machine.reason is not None
            assert machine.note
            assert machine.working in CAN_STALL
        elif machine.reason is not None and after is not State.FAILED:
            assert machine.reason is Reason.CAPPED, "else only a cap slows down what moves"


@given(observations, st.sampled_from(list(Aim)))
def test_there_is_always_a_reason_and_it_has_words(seen: Observation, aim: Aim) -> None:
    reason = reason_for(seen, aim)
    words = describe(reason, seen)
    assert words
    assert words.isprintable()


def test_each_reason_has_words_whatever_was_seen() -> None:
    make: Callable[[], Observation] = lambda: Observation(0)  # noqa: E731
    assert all(describe(reason, make()) for reason in Reason)
