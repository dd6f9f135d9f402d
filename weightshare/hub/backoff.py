"""How long to wait before a web source is asked again: what it says itself, else longer each time, never for ever.

RFC 9110, 10.2.3 (Retry-After) and the `RateLimit` header that the Hub sends (draft-ietf-httpapi-ratelimit-headers).
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from threading import Event, Lock
from typing import Protocol

_RATE_LIMIT = re.compile(r'"\w+"\s*;\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d{1,6})\b')


class Headers(Protocol):
    """An answer's headers, of a kind that ignores case."""

    def get(self, name: str, /) -> str | None:
        """The value of the first with this name."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How much a source is put up with, in seconds unless said otherwise.

    Attributes:
        connect: for a connection, a name's look-up not included.
        stall: for the next `least` bytes, from the request on; then the connection is given up.
        least: bytes in that time, which tells a slow source from one that trickles on purpose.
        attempts: failures in a row after which the source is given up for now. `least` bytes, or a quarter of those
            that are missing, end the row.
        progress: for as many bytes, all attempts and waits together.
        wait: the longest single wait before asking again; a source that demands more is given up until then.
        first: the wait after the first failure; it doubles with each.
    """

    connect: float = 15.0
    stall: float = 20.0
    least: int = 16 << 10
    attempts: int = 6
    progress: float = 120.0
    wait: float = 30.0
    first: float = 0.5


@dataclass(frozen=True, slots=True)
class Waiting:
    """A wait that a source caused: why, and for how many seconds."""

    source: str
    reason: str
    seconds: float


def retry_after(headers: Headers) -> float | None:
    """Seconds that an answer asks to wait, by number, by date, or by its rate limit; None if it does not say."""
    said = (headers.get("Retry-After") or "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    if said:
        try:
            at = parsedate_to_datetime(said)
        except (ValueError, IndexError, TypeError):
            return None
        now = server_time(headers)
        if now is None:  # our own clock may be wrong, and set while we wait
            return None
        return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now)
    limit = _RATE_LIMIT.search(headers.get("RateLimit") or "")
    return float(limit[1]) if limit else None


def server_time(headers: Headers) -> float | None:
    """The sender's clock, in seconds since 1970, by its `Date`: ours may be wrong."""
    try:
        return parsedate_to_datetime(headers.get("Date") or "").timestamp()
    except (ValueError, IndexError, TypeError):
        return None


class Pace:
    """When one source may be asked again, for all threads that ask it.

    Args:
        patience: what is put up with.
        spread: what makes waits differ, 0 to 1; by default chance.
    """

    def __init__(self, patience: Patience, spread: random.Random | None = None) -> None:
        self._patience = patience
        self._random = spread or random.Random()  # noqa: S311, nothing secret
        self._lock = Lock()
        self._until = 0.0

    def delay(self, attempt: int, asked: float | None) -> float:
        """Seconds to wait after a failure.

        Args:
            attempt: how many there were in a row, from 1.
            asked: what the source asked for; a little is added, so that not all come back in the same instant.
        """
        if asked is not None:
            return asked + self._random.uniform(0, min(1.0, 0.1 * asked))
        patience = self._patience
        grown = min(patience.wait, patience.first * 2.0 ** min(attempt - 1, 30))
        return grown * self._random.uniform(0.5, 1.0)

    def hold(self, seconds: float) -> float:
        """Let nobody ask for so long; returns until when, on the clock of `time.monotonic()`."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)
            return self._until

    @property
    def held(self) -> tuple[float, float]:
        """For how many more seconds nobody may ask, and until when."""
        with self._lock:
            return max(0.0, self._until - time.monotonic()), self._until

    def await_turn(self, stop: Event) -> None:
        """Wait while the source is held; a stop ends it."""
        while (left := self.held[0]) > 0 and not stop.is_set():
            stop.wait(left + self._random.uniform(0, min(0.2, 0.1 * left)))
