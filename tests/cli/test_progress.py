"""Progress: lines now and then, never backwards, zero with a reason when it stalls, nothing when told so."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from weightshare.progress import Phase, Progress
from weightshare_cli import progress
from weightshare_cli.bars import Bars
from weightshare_cli.options import Settings

MIB = 1024 * 1024


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def written() -> list[str]:
    return []


@pytest.fixture
def lines(clock: Clock, written: list[str]) -> progress.Lines:
    return progress.Lines(written.append, clock)


def fetching(done: int, rate: float = MIB, note: str = "", peers: int | None = 3) -> Progress:
    return Progress(Phase.FETCHING, done * MIB, 100 * MIB, rate, peers, note)


def test_a_line_every_two_seconds_and_a_last_one(
    lines: progress.Lines, clock: Clock, written: list[str]
) -> None:
    for tenth in range(50):
        clock.now = 100 + tenth / 10
        lines.show(fetching(tenth))
    assert written == [
        "fetching  20.0 MiB of 100.0 MiB (20 %), 1.00 MiB/s, 3 peers, 1 min 20 s to go",
        "fetching  40.0 MiB of 100.0 MiB (40 %), 1.00 MiB/s, 3 peers, 1 min 00 s to go",
    ]
    clock.now = 105
    lines.show(fetching(100))
    lines.close()
    assert written[2:] == ["fetching  100.0 MiB in 5.0 s (20.0 MiB/s)"]


def test_a_quick_step_is_one_line(lines: progress.Lines, clock: Clock, written: list[str]) -> None:
    lines.show(Progress(Phase.HASHING, 0, MIB))
    lines.show(Progress(Phase.HASHING, MIB, MIB))
    lines.show(fetching(1))
    assert written == ["hashing   1.00 MiB in 0.0 s"]


def test_steps_that_take_turns_keep_their_time(
    lines: progress.Lines, clock: Clock, written: list[str]
) -> None:
    for done in (10, 50, 100):
        lines.show(fetching(done))
        lines.show(Progress(Phase.PROVING, done * MIB, 100 * MIB))
        clock.now += 1
    lines.close()
    assert written == [
        "fetching  100.0 MiB in 2.0 s (50.0 MiB/s)",
        "proving   100.0 MiB in 2.0 s (50.0 MiB/s)",
    ]


def test_the_time_ends_with_the_last_report(lines: progress.Lines, clock: Clock, written: list[str]) -> None:
    lines.show(fetching(1))
    clock.now += 1
    lines.show(fetching(100))
    clock.now += 50
    lines.close()
    assert written == ["fetching  100.0 MiB in 1.0 s (100.0 MiB/s)"]


def test_a_stall_shows_zero_and_says_why(lines: progress.Lines, clock: Clock, written: list[str]) -> None:
    lines.show(fetching(5))
    clock.now += 3
    lines.show(fetching(5, 0, "nobody has piece 7", peers=0))
    assert written == ["fetching  5.00 MiB of 100.0 MiB (5 %), 0 B/s, 0 peers, nobody has piece 7"]


def test_waiting_without_bytes(lines: progress.Lines, clock: Clock, written: list[str]) -> None:
    lines.show(Progress(Phase.METADATA, note="no peers yet", peers=0))
    clock.now += 2
    lines.show(Progress(Phase.METADATA, note="no peers yet", peers=0))
    assert written == ["metadata  0 peers, no peers yet"]


def test_a_failed_step_leaves_where_it_stood(lines: progress.Lines, written: list[str]) -> None:
    lines.show(fetching(5))
    lines.close()
    lines.close()
    assert len(written) == 1
    assert written[0].startswith("fetching  5.00 MiB of")


def test_status_lines_only_when_something_changed(
    lines: progress.Lines, clock: Clock, written: list[str]
) -> None:
    for line in ("a", "b", "b"):
        lines.status(line)
        clock.now += 6
    lines.status("b")
    assert written == ["a", "b"]


class Recorder:
    def __init__(self) -> None:
        self.shown: list[int] = []
        self.closed = 0

    def show(self, progress: Progress) -> None:
        self.shown.append(progress.done)

    def status(self, line: str) -> None:
        raise AssertionError(line)

    def close(self) -> None:
        self.closed += 1


def test_never_backwards_within_a_step() -> None:
    settings, display = Settings(), Recorder()
    with progress.Reporter(settings, display) as observe:
        for done in (1, 5, 3, 6):
            observe(Progress(Phase.FETCHING, done, 10))
        observe(Progress(Phase.PROVING, 2, 10))
        observe(Progress(Phase.FETCHING, 4, 10))
        observe(Progress(Phase.PROVING, 1, 12))
    assert display.shown == [1, 5, 5, 6, 2, 6, 1]
    assert settings.last == Progress(Phase.PROVING, 1, 12)
    assert display.closed == 1


def test_paused_keeps_off_the_terminal() -> None:
    display = Recorder()
    with progress.Reporter(Settings(), display) as observe:
        with observe.paused():
            observe(Progress(Phase.FETCHING, 1, 10))
        observe(Progress(Phase.FETCHING, 2, 10))
    assert display.shown == [2]


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.reporter(Settings(quiet=True)) as observe:
        observe(fetching(100))
        observe.status("x")
    assert capsys.readouterr() == ("", "")


def test_elsewhere_than_on_a_terminal_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.reporter(Settings()) as observe:
        observe(Progress(Phase.FETCHING, 3, 10, 0, 1, "waiting for \x1b[2J"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "fetching  3 B of 10 B (30 %), 0 B/s, 1 peer, waiting for \\x1b[2J\n"


def test_bars_fit_80_columns_and_show_the_reason() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, color_system=None, force_interactive=False)
    bars = Bars(console)
    bars.show(Progress(Phase.HASHING, 5, 10))
    bars.show(fetching(50, 0, "nobody has piece 7 \x1b[2J", peers=12))
    display = bars._open()
    with console.capture() as capture:
        for part in display.get_renderables():
            console.print(part)
    text = capture.get()
    bars.close()
    assert "fetching" in text
    assert "hashing" not in text
    assert "50.0 MiB of 100.0 MiB" in text
    assert "0 B/s" in text
    assert "12 peers" in text
    assert "nobody has piece 7 \\x1b[2J" in text
    assert [len(line.rstrip()) <= 80 for line in text.splitlines()] == [True, True]


def test_what_is_loaded_beside_the_fetch_is_shown_with_it() -> None:
    now = replace(fetching(50), loaded=20 * MIB)
    assert progress.describe(now).endswith("20.0 MiB loaded")
    console = Console(
        file=io.StringIO(), force_terminal=True, width=80, color_system=None, force_interactive=False
    )
    bars = Bars(console)
    bars.show(now)
    with console.capture() as capture:
        for part in bars._open().get_renderables():
            console.print(part)
    bars.close()
    lines = [line for line in capture.get().splitlines() if line.strip()]
    assert [line.split()[0] for line in lines] == ["fetching", "loading"]
    assert "20.0 MiB of 100.0 MiB" in lines[1]


def test_a_bar_is_one_line_however_much_it_says() -> None:
    console = Console(
        file=io.StringIO(), force_terminal=True, width=80, color_system=None, force_interactive=False
    )
    bars = Bars(console)
    bars.show(Progress(Phase.FETCHING, 1020 * MIB, 1000 * 1023 * MIB, 10 * MIB + 1, 1234))
    with console.capture() as capture:
        for part in bars._open().get_renderables():
            console.print(part)
    bars.close()
    lines = [line for line in capture.get().splitlines() if line.strip()]
    assert len(lines) == 1
    assert "1,234 peers" in lines[0]
    assert lines[0].rstrip().endswith("to go")
