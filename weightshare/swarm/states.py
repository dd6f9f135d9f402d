"""What a transfer is doing, how long it may go on without progress, and why it is slow: pure, with the clock passed in.

    METADATA -> MANIFEST -> CHECKING -> FETCHING -> PROVING -> done
        |           |           |           |           |
        +-----------+-----------+-----------+-----------+--> an error, or interrupted; the same command resumes

METADATA waits for the info dictionary, MANIFEST for the one file that says who made the rest, CHECKING compares what an
earlier run left on disk, FETCHING brings pieces, PROVING reads the last of them back from disk. Only METADATA,
MANIFEST and FETCHING depend on others, so only they can stall.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from weightshare.errors import MetadataTimeoutError, NetworkError, NoPeersError, StalledError
from weightshare.progress import Phase
from weightshare.units import MAX_INFO, format_duration, format_size

_WINDOW = 3.0
_QUIET = 2.0
_RESUMES = "What arrived is kept: the same command resumes."


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a transfer.

    Attributes:
        now: seconds on a clock that never goes back.
        done: bytes here.
        total: bytes wanted, None while unknown.
        peers: connected peers.
        seeds: those of them that have everything.
        missing: a piece that is wanted and that no connected peer has, None if there is none or it is unknown.
        troubles: what else went wrong lately (a tracker's answer), in few words.
    """

    now: float
    done: int
    total: int | None
    peers: int
    seeds: int = 0
    missing: int | None = None
    troubles: str = ""


class Watch:
    """Follows one stage: its rate, its reason for being slow, and its patience.

    Args:
        phase: the stage.
        timeout: longest time without any progress in seconds, 0 for ever.
        now: when it began.
    """

    def __init__(self, phase: Phase, timeout: float, now: float) -> None:
        self.phase = phase
        self._timeout = timeout
        self._samples: deque[tuple[float, int]] = deque()
        self._moved = now
        self._best = -1

    def rate(self) -> float:
        """Bytes a second over the last seconds; 0 when nothing came."""
        if len(self._samples) < 2:
            return 0.0
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return max(0, after - before) / (last - first) if last > first else 0.0

    def see(self, seen: Observation) -> str:
        """Take a look into account.

        Returns:
            Why it is slow, empty when all is well.

        Raises:
            NetworkError: no progress for longer than the time allowed: of the kind that says what was missing.
        """
        self._samples.append((seen.now, seen.done))
        while len(self._samples) > 2 and seen.now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()
        if seen.done > self._best:
            self._best = seen.done
            self._moved = seen.now
        waited = seen.now - self._moved
        if self._timeout and waited >= self._timeout:
            raise self._give_up(seen, waited)
        return self._reason(seen) if waited >= _QUIET else ""

    def _reason(self, seen: Observation) -> str:
        if seen.peers == 0:
            return f"no peers ({seen.troubles})" if seen.troubles else "no peers"
        if self.phase is Phase.METADATA:
            return "peers, but none has sent the metadata"
        if seen.missing is not None and seen.seeds == 0:
            return f"nobody has piece {seen.missing}"
        return "peers send nothing"

    def _give_up(self, seen: Observation, waited: float) -> NetworkError:
        span = format_duration(waited)
        trouble = f" ({seen.troubles})" if seen.troubles else ""
        if seen.peers == 0 and self.phase is not Phase.FETCHING:
            return NoPeersError(
                f"No peers in {span}: nobody who has this release could be reached{trouble}.",
                hint="Ask the publisher whether a seeder is up, give one with --peer HOST:PORT, or wait longer with "
                "--timeout.",
                waited=waited,
            )
        if self.phase is Phase.METADATA:
            return MetadataTimeoutError(
                f"{seen.peers} peer(s), but none sent the torrent's metadata in {span}.",
                hint="Try again later, give a peer with --peer HOST:PORT, or fetch by the .torrent file or its URL. "
                f"Metadata of more than {format_size(MAX_INFO)} is taken from nobody.",
                waited=waited,
            )
        if seen.peers == 0:
            return NoPeersError(
                f"The last peer has been gone for {span}; {_so_far(seen)} are here.",
                hint=f"{_RESUMES} A seeder's address can be given with --peer HOST:PORT.",
                waited=waited,
                done=seen.done,
                total=seen.total,
            )
        why = (
            f"nobody has piece {seen.missing}"
            if seen.missing is not None and not seen.seeds
            else "peers send nothing"
        )
        return StalledError(
            f"No progress for {span} with {seen.peers} peer(s): {why}; {_so_far(seen)} are here.",
            hint=f"{_RESUMES} More patience: --timeout; another peer: --peer HOST:PORT.",
            waited=waited,
            done=seen.done,
            total=seen.total,
        )


def _so_far(seen: Observation) -> str:
    return f"{format_size(seen.done)} of {format_size(seen.total or 0)}"
