"""What a long step tells its caller while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """The long steps a user may have to wait for."""

    HASHING = "hashing"
    METADATA = "metadata"
    MANIFEST = "manifest"
    CHECKING = "checking"
    FETCHING = "fetching"
    PROVING = "proving"
    VERIFYING = "verifying"
    LOADING = "loading"


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of a long step.

    Attributes:
        phase: the step.
        done: bytes done so far.
        total: bytes in all, or None while unknown.
        rate: bytes a second just now; 0 when stalled.
        peers: connected peers, or None where none are involved.
        note: why it is slow or what it waits for; empty when all is well.
        loaded: bytes of weights that are loaded and proven meanwhile; None where nothing is loaded beside the step.
    """

    phase: Phase
    done: int = 0
    total: int | None = None
    rate: float = 0.0
    peers: int | None = None
    note: str = ""
    loaded: int | None = None

    @property
    def eta(self) -> float | None:
        """Seconds to go at the present rate, or None while that is unknown."""
        if self.total is None or self.rate <= 0:
            return None
        return max(0, self.total - self.done) / self.rate


Observer = Callable[[Progress], None]
"""Called from the thread that does the work, several times a second at most."""


def ignore(_: Progress) -> None:
    """The observer that observes nothing."""
