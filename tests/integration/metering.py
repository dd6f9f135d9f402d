"""What one peer gets from a seeder, measured where it arrives."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

from tests.cli.helpers import ROOT, environment
from tests.integration.waiting import until


class Reading(NamedTuple):
    """Bytes that had arrived at a time in seconds, and from how many peers more may come."""

    at: float
    arrived: int
    peers: int


class Leech:
    """A bare client in a process of its own, as a context.

    Args:
        folder: where its files go.
        torrent: what it takes.
        peer: from whom.
    """

    def __init__(self, folder: Path, torrent: str, peer: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed on leaving the context
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.metering_client", torrent, str(folder), peer],
            stdout=self._out,
            cwd=ROOT,
            env=environment(folder),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        self._out.close()

    def readings(self) -> list[Reading]:
        """All so far."""
        self._out.seek(0)
        lines = self._out.read().decode().splitlines(keepends=True)
        whole = [line.split() for line in lines if line.endswith("\n")]
        return [Reading(float(at), int(arrived), int(peers)) for at, arrived, peers in whole]

    def now(self) -> Reading:
        """The latest."""
        return until(self.readings, "the first reading")[-1]

    def after(self, count: int, *, within: float = 30.0) -> Reading:
        """The first reading with so many bytes, waited for."""
        return self._first(lambda reading: reading.arrived >= count, f"{count} bytes to arrive", within)

    def rate(self, span: float, *, within: float = 30.0) -> float:
        """Bytes a second over the next seconds, from now on."""
        first = self.now()
        last = self._first(lambda reading: reading.at >= first.at + span, f"readings for {span:g} s", within)
        return (last.arrived - first.arrived) / (last.at - first.at)

    def settled(self, span: float, *, within: float = 15.0) -> Reading:
        """Wait until nothing has arrived for so many seconds, and return the latest reading."""

        def look() -> list[Reading]:
            readings = self.readings()
            last = readings[-1]
            return [r for r in readings if r.arrived == last.arrived and last.at - r.at >= span]

        self.now()
        return until(look, f"nothing to arrive for {span:g} s", within=within)[-1]

    def until_rate(self, low: float, high: float, *, over: float = 1.0, within: float = 10.0) -> float:
        """Wait for a rate, in bytes a second over the last seconds, to come between two bounds; returns it."""

        def look() -> float:
            readings = self.readings()
            last = readings[-1]
            first = next(r for r in readings if r.at >= last.at - over)
            span = last.at - first.at
            pace = (last.arrived - first.arrived) / span if span > over / 2 else -1.0
            return pace if low <= pace <= high else 0.0

        self.now()
        return until(look, f"a rate of {low:.0f} to {high:.0f} bytes a second", within=within)

    def _first(self, wanted: Callable[[Reading], bool], what: str, within: float) -> Reading:
        """The first reading of a kind, waited for."""

        def look() -> list[Reading]:
            return [reading for reading in self.readings() if wanted(reading)][:1]

        return until(look, what, within=within)[0]
