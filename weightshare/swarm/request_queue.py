"""How many blocks a peer may have queued with us: rate x (round trip + a short queue), shared among the peers.

We say it to each peer when it connects (`reqq` of the extension handshake, BEP 10), and libtorrent's requests obey what
the other side said and nothing finer: their own limit is a whole number of seconds, which is ten times too much for a
crowd. A queue too long holds requests for blocks that a neighbour has by the time they are served, and the seeder sends
its release twice; one too short leaves the path empty for part of each round trip.

    depth = rate / peers x (round trip + 85 ms) / 16 KiB, from 16 to 2,000 blocks

85 ms is what 16 blocks were to eight peers of a seeder at 200 Mbit/s, the depth at which they ended nearest the bound
(1.08-1.10 times it; 32 blocks 1.27, hundreds 1.4-1.9). Prediction: with eight peers on that link this gives 16 again;
with 80 ms of delay 31, where 16 would hold a pair to 256 KiB a round trip; one peer on loopback is told 65 or more, of
which 64 were enough for full speed (225 MiB/s; 138 at 16, 171 at 32).

What is said cannot be taken back: a peer keeps the word it was given when it connected. To reconnect for a better one
would cost what is under way and a slow start, so nobody is cut off for it. It takes effect all the same where it
matters: a `fetch` connects once for the manifest and again for the files, so the first connections tell a seeder
how many are coming, and by what paths, before the second ones are told a depth.

All here is pure; the engine's counters are passed in.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from weightshare.units import BLOCK

LEAST = 16
MOST = 2000
QUEUE_TIME = 0.085
ASSUMED_RATE = 12_500_000.0
"""Bytes a second that a link is taken for until it was busy long enough to tell: 100 Mbit/s. Too low costs a fast pair
a twentieth of its rate; too high, a slow crowd ends later (four at that rate: 1.19 of the bound, with twice this 1.26).
"""

CROWD = 8
"""Peers that are expected by one who fetches himself: he serves nobody unless there is a crowd."""

_WINDOW = 30.0
_PEERS_WINDOW = 10.0
_BUSY = 128 * 1024  # bytes a second: below, the link was not put to the test
_ENOUGH = 5.0  # seconds of that until the rate seen is the link's


@dataclass(frozen=True, slots=True)
class Look:
    """The engine's counters at one moment.

    Attributes:
        now: seconds on a clock that never goes back.
        sent: payload bytes so far.
        connected: peers.
        interested: those of them that want something of us.
        wanted: those of whom we want something.
    """

    now: float
    sent: int
    connected: int
    interested: int
    wanted: int


def queue_depth(rate: float, peers: int, round_trip: float) -> int:
    """Blocks that each peer may have queued with us.

    Args:
        rate: what we can send, bytes a second.
        peers: how many share it.
        round_trip: of the path, in seconds.
    """
    share = rate / max(1, peers)
    return min(MOST, max(LEAST, math.ceil(share * (round_trip + QUEUE_TIME) / BLOCK)))


def typical(round_trips: Sequence[float]) -> float | None:
    """The round trip, in seconds, that three quarters of the paths are no longer than; None if none is known."""
    if len(round_trips) < 2:
        return round_trips[0] if round_trips else None
    return statistics.quantiles(round_trips, n=4, method="inclusive")[2]


class Pace:
    """Follows the path and says the depth for those who connect next.

    Args:
        expected: peers reckoned with at least.
        round_trip: seconds assumed until one was measured.
    """

    def __init__(self, *, expected: int, round_trip: float) -> None:
        self._expected = expected
        self._round_trip = round_trip
        self._last: Look | None = None
        self._peers: deque[tuple[float, int]] = deque()
        self._rates: deque[tuple[float, float, float]] = deque()  # when, how long, bytes a second

    def depth(self) -> int:
        """The depth just now."""
        peers = max(self._expected, *(count for _, count in self._peers), 1)
        return queue_depth(self._rate(), peers, self._round_trip)

    def see(self, look: Look, round_trips: Sequence[float] = ()) -> int:
        """Take a look into account and say the depth. Looks less than half a second apart count for peers alone.

        Args:
            look: the counters.
            round_trips: of the connections there are, in seconds; empty if they were not measured.
        """
        self._round_trip = typical(round_trips) or self._round_trip
        # A peer that only gives is not served by us; one that wants nothing yet may be about to.
        self._peers.append((look.now, max(look.interested, look.connected - look.wanted)))
        while look.now - self._peers[0][0] > _PEERS_WINDOW:
            self._peers.popleft()
        span = look.now - self._last.now if self._last else 0.0
        if self._last is None or span >= 0.5:
            if self._last is not None and look.interested:
                rate = (look.sent - self._last.sent) / span
                if rate >= _BUSY:
                    self._rates.append((look.now, span, rate))
            self._last = look
        while self._rates and look.now - self._rates[0][0] > _WINDOW:
            self._rates.popleft()
        return self.depth()

    def _rate(self) -> float:
        if not self._rates:
            return ASSUMED_RATE
        best = max(rate for _, _, rate in self._rates)
        told = sum(span for _, span, _ in self._rates) >= _ENOUGH
        return best if told else max(best, ASSUMED_RATE)
