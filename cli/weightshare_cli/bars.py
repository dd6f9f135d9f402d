"""Bars on a terminal; the only module that imports rich, and only there."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from weightshare.progress import Phase, Progress
from weightshare.units import format_duration, format_rate, format_size
from weightshare_cli import output


class _Sizes(ProgressColumn):
    def render(self, task: Task) -> Text:
        done = format_size(task.completed)
        return Text(f"{done} of {format_size(task.total)}" if task.total else done)


class _Pace(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(task.fields["pace"])


class _Display(RichProgress):
    """rich's table of bars, with the reason for a stall in a line of its own below."""

    note = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.note:
            yield Text(f"          {self.note}", style="yellow", no_wrap=True, overflow="ellipsis")


class Bars:
    """A bar for the step under way, and one for the load beside it; they go when the command ends.

    Its result says all that matters then.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, soft_wrap=False, highlight=False, markup=False)
        self._display: _Display | None = None
        self._tasks: dict[Phase, TaskID] = {}
        self._line = False

    def show(self, progress: Progress) -> None:
        """Move the step's bar."""
        display = self._open()
        if progress.phase not in self._tasks:
            self._tasks[progress.phase] = display.add_task(f"{progress.phase:<9}", pace=_pace(progress))
        if progress.loaded is not None:
            self._beside(display, progress)
        for phase, task in self._tasks.items():
            beside = progress.loaded is not None and phase is Phase.LOADING
            display.update(task, visible=phase is progress.phase or beside)
        display.note = output.clean(progress.note)
        display.update(
            self._tasks[progress.phase],
            completed=progress.done,
            total=progress.total or None,
            pace=_pace(progress),
        )

    def _beside(self, display: _Display, progress: Progress) -> None:
        """Move the load's bar, as far as that of the fetch goes: nearly all of a release is weights."""
        if Phase.LOADING not in self._tasks:
            self._tasks[Phase.LOADING] = display.add_task(f"{Phase.LOADING:<9}", pace="")
        display.update(self._tasks[Phase.LOADING], completed=progress.loaded, total=progress.total or None)

    def status(self, line: str) -> None:
        """Overwrite the one line with another."""
        self._end()
        room = max(20, self._console.width - 1)
        _write(f"\r\x1b[2K{line[:room]}")
        self._line = True

    def close(self) -> None:
        """Take the bars away, and end the status line."""
        self._end()
        if self._line:
            _write("\n")
            self._line = False

    def _open(self) -> _Display:
        if self._display is None:
            self._display = _Display(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                _Sizes(Column(no_wrap=True)),
                _Pace(Column(no_wrap=True)),
                console=self._console,
                transient=True,
                refresh_per_second=8,
                redirect_stdout=False,
                redirect_stderr=False,
                expand=True,
                get_time=time.monotonic,
            )
            self._display.start()
        return self._display

    def _end(self) -> None:
        if self._display is not None:
            self._display.stop()
            self._display, self._tasks = None, {}


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _pace(progress: Progress) -> str:
    parts = [format_rate(progress.rate)]
    if progress.peers is not None:
        parts.append(output.count(progress.peers, "peer"))
    if progress.eta is not None and progress.done < (progress.total or 0):
        parts.append(f"{format_duration(progress.eta)} to go")
    return "  ".join(parts)
