"""Progress on stderr: bars on a terminal, a line every two seconds elsewhere, nothing when told to be quiet.

A display tells the truth about a stall: the rate shows 0 and the note says what it waits for. It never runs
backwards within a step. Reports come from whichever thread does the work.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from weightshare.progress import Observer, Phase, Progress
from weightshare.units import format_duration, format_rate, format_size
from weightshare_cli import output
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare_cli.bars import Bars

EVERY = 2.0
"""Seconds between two lines of the same step."""
STATUS_EVERY = 10.0
"""Seconds between two lines of a program without an end, which may fill a log for months."""


class Display(Protocol):
    """Somewhere to show progress."""

    def show(self, progress: Progress) -> None:
        """Show a report, the step's first, a later one, or the first of another step."""

    def status(self, line: str) -> None:
        """Show how a program without an end stands, in place of what was shown before."""

    def close(self) -> None:
        """Leave the stream so that others can write to it; `show` may be called again."""


class Silence:
    """Shows nothing."""

    def show(self, progress: Progress) -> None:
        """Nothing."""

    def status(self, line: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """Whole lines, for logs and pipes: one every two seconds at most, and a last one for each step."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._began: dict[Phase, float] = {}
        self._wrote: dict[Phase, float] = {}
        self._pending: Progress | None = None
        self._reported = 0.0
        self._status = ""
        self._status_at = float("-inf")

    def show(self, progress: Progress) -> None:
        """Write a line if the step's last one is two seconds old; steps may take turns."""
        now = self._clock()
        if self._pending is not None and self._pending.phase is not progress.phase:
            self._finish(ended=False)
        self._pending, self._reported = progress, now
        self._began.setdefault(progress.phase, now)
        if now - self._wrote.setdefault(progress.phase, now) >= EVERY and not _done(progress):
            self._write(describe(progress))
            self._wrote[progress.phase], self._pending = now, None

    def status(self, line: str) -> None:
        """Write the line if it says something new and the last one is ten seconds old."""
        self._finish(ended=True)
        now = self._clock()
        if line != self._status and now - self._status_at >= STATUS_EVERY:
            self._write(line)
            self._status, self._status_at = line, now

    def close(self) -> None:
        """Write the step's last line."""
        self._finish(ended=True)

    def _finish(self, *, ended: bool) -> None:
        """Say how the step that was shown last came out; if others follow, only once it is done."""
        pending, self._pending = self._pending, None
        if pending is None or not (pending.total or pending.note):
            return
        if _done(pending):
            took = max(self._reported - self._began.pop(pending.phase), 1e-9)
            rate = f" ({format_rate(pending.done / took)})" if took >= 0.1 else ""
            self._write(f"{pending.phase:<10}{format_size(pending.done)} in {output.took(took)}{rate}")
        elif ended:
            self._write(describe(pending))


def _done(progress: Progress) -> bool:
    return progress.total is not None and progress.done >= progress.total


def describe(progress: Progress) -> str:
    """A report as one line: step, bytes, share, rate, peers, time to go, and why it stands still."""
    done = format_size(progress.done)
    if progress.total:
        done += f" of {format_size(progress.total)} ({100 * progress.done // progress.total} %)"
    parts = [done, format_rate(progress.rate)] if progress.total or progress.done else []
    if progress.peers is not None:
        parts.append(output.count(progress.peers, "peer"))
    if progress.eta is not None and not _done(progress):
        parts.append(f"{format_duration(progress.eta)} to go")
    if progress.loaded is not None:
        parts.append(f"{format_size(progress.loaded)} loaded")
    if progress.note:
        parts.append(progress.note)
    return f"{progress.phase:<10}{', '.join(parts)}"


class Reporter:
    """Takes the reports of one command and hands them to its display; a context manager that ends it.

    Call it as an `Observer`.
    """

    def __init__(self, settings: Settings, display: Display) -> None:
        self._settings = settings
        self._display = display
        self._lock = threading.RLock()
        self._paused = False
        self._most: dict[tuple[Phase, int | None], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._display.close()

    def __call__(self, progress: Progress) -> None:
        """Show a report; within a step, bytes done never go back."""
        with self._lock:
            step = progress.phase, progress.total
            most = self._most[step] = max(progress.done, self._most.get(step, 0))
            if most > progress.done:
                progress = replace(progress, done=most)
            self._settings.last = progress
            if not self._paused:
                self._display.show(progress)

    def status(self, line: str) -> None:
        """Show how a program without an end stands."""
        with self._lock:
            if not self._paused:
                self._display.status(output.clean(line))

    def stop(self) -> None:
        """Show no more; for what comes after the long steps."""
        with self._lock:
            self._display.close()
            self._paused = True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep off the terminal while somebody is asked a question."""
        with self._lock:
            self._display.close()
            self._paused = True
        try:
            yield
        finally:
            with self._lock:
                self._paused = False


@contextmanager
def paused(observe: Observer) -> Iterator[None]:
    """Keep an observer off the terminal, where it is one that writes there."""
    if isinstance(observe, Reporter):
        with observe.paused():
            yield
    else:
        yield


def reporter(settings: Settings) -> Reporter:
    """The reporter that fits stderr and what the user asked for."""
    return Reporter(settings, _display(settings))


def _display(settings: Settings) -> Display:
    if settings.quiet:
        return Silence()
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return _bars()
    return Lines(output.note)


def _bars() -> Bars:
    from weightshare_cli.bars import Bars

    return Bars()
