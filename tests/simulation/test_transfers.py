"""Whole fetches against a swarm in memory: what is said at which second, when it goes on, and how it ends."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from tests.simulation.transport import INFO, INFO_BYTES, PIECE, PIECES, POSITION, WANTED, Proof, Swarm
from weightshare.errors import DiskError, MetadataTimeoutError, NoPeersError, NoSpaceError, StalledError
from weightshare.progress import Phase, Progress
from weightshare.swarm.events import (
    Contradicted,
    FileFailed,
    PieceRefused,
    ReachedOurselves,
    TrackerFailed,
    TrackerReplied,
)
from weightshare.swarm.fetching import Transfer
from weightshare.swarm.states import Machine, State
from weightshare.swarm.transport import Crowd

TIMEOUT = 60.0


class Fetch:
    """A fetch of the swarm's one file; `heard` is each note with the second at which it was first said.

    `notes` is what was said, in order, and `states` likewise.
    """

    def __init__(self, swarm: Swarm, *, patience: float = TIMEOUT) -> None:
        self.swarm = swarm
        self.machine = Machine(patience, swarm.now)
        self.proof = Proof()
        self.heard: dict[str, float] = {}
        self.notes: list[str] = []
        self.states: list[State] = []
        self.shown: list[Phase] = []
        self.transfer = Transfer(
            swarm,
            swarm,
            self.machine,
            observe=self._observe,
            clock=swarm.clock,
            again=swarm.another,
            free=swarm.free,
        )

    def _observe(self, progress: Progress) -> None:
        self.shown.append(progress.phase)
        if not self.states or self.states[-1] is not self.machine.state:
            self.states.append(self.machine.state)
        if not self.notes or self.notes[-1] != progress.note:
            self.notes.append(progress.note)
        if progress.note:
            self.heard.setdefault(progress.note, self.swarm.now)

    def run(self) -> None:
        """The part of a fetch that brings the file."""
        for state in (State.GATING, State.PLANNING, State.REUSING):
            self.machine.enter(state, self.swarm.now)
        self.transfer.fetch(INFO, [POSITION], self.proof)
        self.machine.enter(State.DONE, self.swarm.now)


@pytest.fixture
def swarm() -> Swarm:
    swarm = Swarm()
    swarm.peers = swarm.seeds = 1
    swarm.pieces_a_second = 10
    return swarm


def sets(swarm: Swarm, **values: object) -> Callable[[], None]:
    def action() -> None:
        for name, value in values.items():
            setattr(swarm, name, value)

    return action


def test_all_goes_well(swarm: Swarm) -> None:
    fetch = Fetch(swarm)
    fetch.run()
    assert fetch.states[0] is State.DOWNLOADING
    assert set(fetch.states) <= {State.DOWNLOADING, State.PROVING}
    assert fetch.machine.state is State.DONE
    assert fetch.heard == {}
    assert fetch.proof.read >= WANTED
    assert swarm.now == pytest.approx(10, abs=1)


STALLS: list[tuple[dict[str, object], str]] = [
    ({"peers": 0, "seeds": 0}, "no peers"),
    ({"people": Crowd(useful=1, choking=1)}, "choked by all peers: they have it and serve others first"),
    ({"people": Crowd(useful=1, held_back=1), "max_down": 1000}, "capped by you at 1000 B/s"),
    ({"people": Crowd(useful=1)}, "peers send nothing"),
]


@pytest.mark.parametrize(("what", "note"), STALLS)
def test_a_stall_that_passes(swarm: Swarm, what: dict[str, object], note: str) -> None:
    """From 3 s to 33 s nothing comes: it says why within a few seconds, and goes on as soon as it can."""
    swarm.at(3, sets(swarm, pieces_a_second=0, **what))
    swarm.at(33, sets(swarm, pieces_a_second=10, peers=1, seeds=1, people=Crowd(), max_down=0))
    fetch = Fetch(swarm)
    fetch.run()
    # A cap that limits is said before nothing comes at all.
    assert (3 if "capped" in note else 5) <= fetch.heard[note] <= 7
    assert fetch.states.count(State.STALLED) == 1
    assert swarm.now == pytest.approx(40, abs=1)
    assert Phase.FETCHING in fetch.shown


@pytest.mark.parametrize(("what", "note"), STALLS)
def test_a_stall_that_does_not(swarm: Swarm, what: dict[str, object], note: str) -> None:
    swarm.at(3, sets(swarm, pieces_a_second=0, **what))
    fetch = Fetch(swarm)
    with pytest.raises((NoPeersError, StalledError)) as caught:
        fetch.run()
    assert fetch.machine.error is caught.value
    assert fetch.machine.state is State.FAILED
    assert note in fetch.heard
    assert swarm.now == pytest.approx(3 + TIMEOUT, abs=1)
    assert caught.value.facts["done"] == pytest.approx(30 * PIECE, abs=PIECE)


def test_a_piece_that_nobody_has(swarm: Swarm) -> None:
    """Two of a hundred pieces are nowhere: all others come, and the share that exists is said."""
    lost = sorted(WANTED)[40:42]
    swarm.seeds = 0
    swarm.with_peers = WANTED - set(lost)
    swarm.at(40, sets(swarm, with_peers=set(WANTED)))
    fetch = Fetch(swarm)
    fetch.run()
    assert list(fetch.heard) == [f"nobody has piece {lost[0]} (availability 0.98)"]
    assert fetch.machine.state is State.DONE


def test_a_tracker_that_refuses_is_quoted_and_one_that_answers_clears_it(swarm: Swarm) -> None:
    swarm.peers = swarm.seeds = 0
    swarm.tracked = 1
    swarm.at(5, lambda: swarm.say(TrackerFailed("", "http://t", "torrent not registered")))
    swarm.at(20, lambda: swarm.say(TrackerReplied("", "http://t")))
    swarm.at(30, sets(swarm, peers=1))
    fetch = Fetch(swarm)
    fetch.run()
    refused = "no peers: no tracker answers (tracker t: torrent not registered)"
    assert fetch.notes == ["", "no peers", refused, "no peers", ""]
    assert fetch.machine.state is State.DONE


def test_bytes_that_read_back_wrong_come_again(swarm: Swarm) -> None:
    fetch = Fetch(swarm)
    bad = max(WANTED)
    fetch.proof.bad = {bad}
    swarm.at(10.3, lambda: None)
    fetch.run()
    assert fetch.proof.read >= WANTED
    assert "again" in swarm.told
    assert fetch.machine.state is State.DONE


def test_hashes_that_contradict_each_other_are_looked_at_by_sha256_alone(swarm: Swarm) -> None:
    """As when another program writes to a staged file between the two hashes of a hybrid's piece."""
    swarm.at(3, lambda: swarm.say(Contradicted("")))
    fetch = Fetch(swarm)
    fetch.run()
    assert "again by v2 alone" in swarm.told
    assert fetch.proof.read >= WANTED
    assert fetch.machine.state is State.DONE


def test_and_if_they_do_so_again_it_ends(swarm: Swarm) -> None:
    for second in (2, 3):
        swarm.at(second, lambda: swarm.say(Contradicted("")))
    with pytest.raises(DiskError, match="contradict"):
        Fetch(swarm).run()


def test_the_only_peer_is_not_banned_for_good(swarm: Swarm) -> None:
    """As when a liar sent the other half of a piece, or another program changed a staged file."""
    swarm.at(3, lambda: swarm.say(PieceRefused("", 7)))
    swarm.at(3, sets(swarm, peers=0, banned=1))
    fetch = Fetch(swarm)
    fetch.run()
    assert swarm.told.count("again") == 1
    assert swarm.now < 3 + 2 + 30
    assert fetch.machine.state is State.DONE


def test_a_seeder_at_our_own_address_is_not_banned_for_good(swarm: Swarm) -> None:
    """The engine bans its own addresses, which it hears of on the LAN, and whoever else is there with them."""
    swarm.at(3, lambda: swarm.say(ReachedOurselves("")))
    swarm.at(3, sets(swarm, peers=0, banned=1))
    fetch = Fetch(swarm)
    fetch.run()
    assert swarm.told.count("again") == 1
    assert fetch.machine.state is State.DONE


def test_nobody_is_asked_anew_while_somebody_is_there(swarm: Swarm) -> None:
    swarm.at(3, lambda: swarm.say(PieceRefused("", 7)))
    fetch = Fetch(swarm)
    fetch.run()
    assert "again" not in swarm.told


# ---- a full disk


def test_a_full_disk_is_waited_for_and_nothing_is_lost(swarm: Swarm) -> None:
    """It fills up after 30 pieces; at 40 s some space is made, too little, and at 50 s enough."""
    swarm.room = 30 * PIECE
    swarm.at(40, sets(swarm, room=20 * PIECE))
    swarm.at(50, sets(swarm, room=1 << 30))
    fetch = Fetch(swarm)
    fetch.run()
    assert fetch.heard
    assert all("the disk is full, " in note for note in fetch.heard)
    first, *_ = fetch.heard.values()
    assert 3 <= first <= 4
    assert swarm.told.count("go on") == 1
    assert swarm.now == pytest.approx(50 + 7, abs=2.5)
    assert fetch.proof.read >= WANTED
    assert fetch.machine.state is State.DONE


def test_patience_begins_anew_once_there_is_space(swarm: Swarm) -> None:
    swarm.room = 30 * PIECE
    swarm.at(55, sets(swarm, room=1 << 30, pieces_a_second=0))
    swarm.at(100, sets(swarm, pieces_a_second=10))
    fetch = Fetch(swarm)
    fetch.run()
    assert fetch.machine.state is State.DONE


def test_it_gives_up_when_no_space_is_made(swarm: Swarm) -> None:
    swarm.room = 30 * PIECE
    fetch = Fetch(swarm)
    with pytest.raises(NoSpaceError) as caught:
        fetch.run()
    assert swarm.now == pytest.approx(3 + TIMEOUT, abs=1.5)
    assert caught.value.exit_code == 6
    needed, free = caught.value.facts["needed"], caught.value.facts["free"]
    assert isinstance(needed, int)
    assert isinstance(free, int)
    assert free < PIECE < 70 * PIECE <= needed
    assert caught.value.facts["path"] == "/staging/model.safetensors"
    assert "go on" not in swarm.told
    assert fetch.proof.read == set(sorted(WANTED)[:30]), "what is on the disk was handed on, and nothing else"


def test_a_quota_shows_as_free_space_and_is_tried_more_and_more_seldom(swarm: Swarm) -> None:
    class Quota(Swarm):
        def free(self, _: object) -> int:
            return 1 << 40

    limited = Quota()
    limited.peers = limited.seeds = 1
    limited.pieces_a_second = 10
    limited.room, limited.refusal = 30 * PIECE, errno.EDQUOT
    fetch = Fetch(limited)
    with pytest.raises(NoSpaceError) as caught:
        fetch.run()
    assert 3 <= limited.told.count("go on") <= 6
    assert "quota" in caught.value.message
    assert limited.now < 3 + TIMEOUT + 5

    limited = Quota()
    limited.peers = limited.seeds = 1
    limited.pieces_a_second = 10
    limited.room, limited.refusal = 30 * PIECE, errno.EDQUOT
    limited.at(20, sets(limited, room=1 << 30))
    fetch = Fetch(limited)
    fetch.run()
    assert fetch.machine.state is State.DONE


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.EACCES])
def test_another_refusal_of_the_disk_ends_it_at_once(swarm: Swarm, code: int) -> None:
    swarm.at(4, lambda: swarm.say(FileFailed("", "/staging/model.safetensors", code, "refused")))
    fetch = Fetch(swarm)
    with pytest.raises(DiskError) as caught:
        fetch.run()
    assert caught.value.exit_code == 6
    assert "/staging/model.safetensors" in caught.value.message
    assert swarm.now < 5


# ---- metadata


def test_metadata_that_comes_late(swarm: Swarm) -> None:
    swarm.peers = 0
    swarm.at(30, sets(swarm, peers=1, connected={("h", 1)}, honest={("h", 1)}))
    fetch = Fetch(swarm)
    assert fetch.transfer.metadata() == INFO_BYTES
    assert list(fetch.heard) == ["no peers"]
    assert fetch.states == [State.RESOLVING, State.STALLED]


def test_one_honest_peer_among_liars(swarm: Swarm) -> None:
    swarm.lying = {("liar", number) for number in range(5)}
    swarm.honest = {("zzz", 1)}
    swarm.connected = swarm.lying | swarm.honest
    fetch = Fetch(swarm)
    assert fetch.transfer.metadata() == INFO_BYTES
    assert [following.alone for following in swarm.rounds] == [*sorted(swarm.lying), ("zzz", 1)]
    assert swarm.now < 5


def test_nobody_but_liars(swarm: Swarm) -> None:
    swarm.lying = swarm.connected = {("liar", 1), ("liar", 2)}
    fetch = Fetch(swarm)
    with pytest.raises(MetadataTimeoutError) as caught:
        fetch.transfer.metadata()
    assert "2 gave metadata of another hash" in caught.value.message
    assert swarm.now == pytest.approx(TIMEOUT, abs=1)
    assert len(swarm.rounds) < 30, "it does not hammer them"


def test_peers_that_say_nothing_are_asked_one_at_a_time(swarm: Swarm) -> None:
    """One names a false size, say, and the engine drops in silence what the honest one sends."""

    class Muddled(Swarm):
        def _tell_metadata(self) -> None:
            if self.connected == {("honest", 1)}:
                super()._tell_metadata()

    muddled = Muddled()
    muddled.honest = {("honest", 1), ("false size", 1)}
    muddled.connected = set(muddled.honest)
    muddled.peers = 2
    fetch = Fetch(muddled)
    assert fetch.transfer.metadata() == INFO_BYTES
    assert "peers, but none has sent the metadata" in fetch.heard
    assert muddled.now < 30


def test_a_wait_has_no_end_without_a_timeout(swarm: Swarm) -> None:
    swarm.pieces_a_second = 0
    swarm.at(5_000, sets(swarm, pieces_a_second=100))
    fetch = Fetch(swarm, patience=0)
    fetch.run()
    assert swarm.now > 5_000
    assert len(fetch.proof.read) == PIECES


def test_only_some_pieces_come_and_then_more_of_them(swarm: Swarm) -> None:
    fetch = Fetch(swarm)
    for state in (State.GATING, State.PLANNING, State.REUSING):
        fetch.machine.enter(state, fetch.swarm.now)
    wanted = sorted(WANTED)
    for only in (wanted[:3], wanted[:3] + wanted[40:50]):
        fetch.proof.wanted = set(only)
        fetch.transfer.fetch(INFO, [POSITION], fetch.proof, only=only)
        assert fetch.swarm.here == fetch.proof.read == set(only)
        assert fetch.transfer.received() == len(only) * PIECE
    assert fetch.machine.state is State.PROVING
