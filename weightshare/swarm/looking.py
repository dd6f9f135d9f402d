"""Looks at a transfer: gathers what explains it, lets the machine see it, and tells the observer.

What costs something to find out (every peer's state, every piece's copies) is asked only while nothing moves, and once
a second.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from weightshare.progress import Observer, Progress
from weightshare.swarm.copies import availability, first_missing
from weightshare.swarm.events import Event, TrackerReplied
from weightshare.swarm.feeding import Feeder
from weightshare.swarm.reasons import Observation, Shortage
from weightshare.swarm.states import PHASES, Machine
from weightshare.swarm.tracker_troubles import TrackerTroubles
from weightshare.swarm.transport import Carrier, Crowd, Engine, TorrentStatus

_REPORT_EVERY = 0.2
_WHY_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class _Why:
    crowd: Crowd
    trackers: int
    missing: int | None
    availability: float | None


class Looks:
    """Looks at one fetch again and again.

    Args:
        engine: knows the cap.
        machine: the fetch's state.
        observe: told several times a second how it goes.
    """

    def __init__(self, engine: Engine, machine: Machine, observe: Observer) -> None:
        self._engine = engine
        self._machine = machine
        self._observe = observe
        self._reported = float("-inf")
        self._why: _Why | None = None
        self._asked = float("-inf")
        self._trackers = TrackerTroubles()
        self._answered = False

    def hear(self, event: Event) -> None:
        """Take in what trackers say; other events are passed over."""
        self._trackers.hear(event)
        self._answered |= isinstance(event, TrackerReplied)

    def look(
        self,
        torrent: Carrier,
        now: float,
        done: int,
        total: int | None,
        *,
        shown: int | None,
        wanted: Collection[int],
        here: Collection[int],
        liars: int,
        full: Shortage | None,
        feeder: Feeder | None = None,
    ) -> None:
        """Let the machine see how it stands; see `Transfer.look`."""
        status = torrent.status()
        why = self._reasons(torrent, now, status, wanted, here)
        # The engine's status counts whom the system has connected and who may hang up yet; the crowd does not.
        peers = status.peers if self._why is None else min(status.peers, why.crowd.peers)
        self._machine.see(
            Observation(
                now,
                done,
                total,
                peers,
                status.seeds,
                why.crowd.choking,
                why.crowd.useful,
                why.missing,
                why.availability,
                liars,
                why.trackers,
                self._answered,
                str(self._trackers),
                self._engine.max_down,
                why.crowd.held_back,
                full,
                feeder.words() if feeder is not None else "",
                feeder is not None and feeder.waits(),
            )
        )
        self._report(now, done if shown is None else shown, total, status)

    def show(self, torrent: Carrier, now: float, done: int, total: int | None) -> None:
        """Tell the observer how far a step is that depends on nobody else."""
        self._machine.measure(now, done)
        self._report(now, done, total, torrent.status())

    def _reasons(
        self,
        torrent: Carrier,
        now: float,
        status: TorrentStatus,
        wanted: Collection[int],
        here: Collection[int],
    ) -> _Why:
        if not self._machine.quiet(now):
            self._why = None
        elif self._why is None or now - self._asked >= _WHY_EVERY:
            self._asked = now
            missing = copies = None
            if wanted and status.peers and not status.seeds:
                counts = torrent.copies()
                missing = first_missing(counts, wanted, here)
                copies = availability(counts, wanted, here)
            self._why = _Why(torrent.crowd(), torrent.trackers(), missing, copies)
        return self._why or _Why(Crowd(), 0, None, None)

    def _report(self, now: float, done: int, total: int | None, status: TorrentStatus) -> None:
        if now - self._reported < _REPORT_EVERY:
            return
        self._reported = now
        machine = self._machine
        self._observe(
            Progress(PHASES[machine.working], done, total, machine.rate(), status.peers, machine.note)
        )
