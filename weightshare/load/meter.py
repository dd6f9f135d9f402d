"""Progress of a load, with a rate, told at most ten times a second."""

from __future__ import annotations

import time

from weightshare.progress import Observer, Phase, Progress

_EVERY = 0.1  # seconds


class Meter:
    """Counts bytes proven."""

    def __init__(self, total: int, observe: Observer) -> None:
        self._total = total
        self._observe = observe
        self._done = 0
        self._start = self._told = time.monotonic()
        observe(Progress(Phase.LOADING, 0, total))

    def expect(self, count: int) -> None:
        """Another `count` bytes are to be proven than was thought."""
        self._total += count

    def add(self, count: int) -> None:
        """Another `count` bytes are proven."""
        self._done += count
        now = time.monotonic()
        if now - self._told >= _EVERY or self._done >= self._total:
            self._told = now
            rate = self._done / max(now - self._start, 1e-9)
            self._observe(Progress(Phase.LOADING, self._done, self._total, rate))
