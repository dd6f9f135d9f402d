"""Runs real command lines in processes of their own, shows them as typed, and leaves nothing behind.

Every process sits in a session of its own, so that ending one ends the workers it started, and a Ctrl-C
reaches the demo first, which then ends them in order.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from weightshare.errors import WeightshareError
from weightshare_cli import output

WIDTH = 79
PATIENCE = 240.0
"""Seconds that one command may take."""
GRACE = 10.0
"""Seconds that a process has to end by itself."""


class DemoError(WeightshareError):
    """An act did not go as it must."""


class Stage:
    """A temporary folder with the actors' homes in it, and the processes they run; a context manager.

    Args:
        show: takes each line of the play.
        keep: leave the folder when the play is over.
        full: show links and lines unshortened.
    """

    def __init__(self, show: Callable[[str], None], *, keep: bool = False, full: bool = False) -> None:
        self._show = show
        self._keep = keep
        self._full = full
        self._running: list[Running] = []
        self.folder = Path(tempfile.mkdtemp(prefix="weightshare-demo-")).resolve()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _undisturbed():
            for running in reversed(self._running):
                running.end()
            if not self._keep:
                _clear(self.folder)

    def heading(self, number: int, of: int, title: str, text: str) -> None:
        """Open an act."""
        head = f"── {number} of {of} · {title} "
        self._show("")
        self._show(head + "─" * max(3, WIDTH - output.columns_of(head)))
        for line in textwrap.wrap(text, WIDTH):
            self._show(line)
        self._show("")

    def say(self, line: str) -> None:
        """A line of comment or output, indented, cut at the right edge; empty ones are left out."""
        if not line.strip():
            return
        line = "  " + line
        self._show(line if self._full or len(line) <= WIDTH else line[: WIDTH - 1] + "…")

    def weightshare(self, *words: str, expect: int = 0, hush: bool = False) -> str:
        """Run one command to its end, show it and, unless told to hush, what it prints; return that.

        Raises:
            DemoError: it ended with another status than expected, or not in time.
        """
        self.prompt(words)
        running = self._start([sys.executable, "-P", "-m", "weightshare_cli", *words])
        status = running.wait((lambda _: None) if hush else self.say)
        if status != expect:
            raise DemoError(
                f"`{' '.join(_typed(words))}` ended with {status}; expected {expect}.",
                hint="Run the demo with --verbose --keep to see all of it and keep its folders.",
                status=status,
            )
        return running.text

    def python(self, script: str, *arguments: str) -> str:
        """Run a few lines of Python in a process of their own and return what they print."""
        running = self._start([sys.executable, "-P", "-c", script, *arguments])
        status = running.wait(lambda _: None)
        if status:
            for line in running.text.splitlines()[-5:]:
                self.say(line)
            raise DemoError(f"Preparing the model failed with status {status}.", status=status)
        return running.text

    def start(self, *words: str, until: str) -> re.Match[str]:
        """Start a command that goes on, and wait for the line that says it is ready.

        Raises:
            DemoError: it ended, or said nothing of the kind in time.
        """
        self.prompt(words)
        running = self._start([sys.executable, "-P", "-m", "weightshare_cli", *words])
        for line in running.lines(PATIENCE):
            self.say(line)
            found = re.search(until, line)
            if found:
                return found
        raise DemoError(f"`{' '.join(_typed(words))}` did not get going.", output=running.text)

    def prompt(self, words: Sequence[str]) -> None:
        """Show a command as it is typed."""
        start, *rest = _kept_together(_typed(words, full=self._full))
        line = f"  $ {start}"
        for word in rest:
            if len(line) + len(word) + 3 > WIDTH:
                self._show(f"{line} \\")
                line = "     "
            line += f" {word}"
        self._show(line)

    def _start(self, command: Sequence[str]) -> Running:
        running = Running(command, self.folder, _environment())
        self._running.append(running)
        return running


class Running:
    """A process and the lines it prints."""

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  our own program
            list(command),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=os.name == "posix",
        )
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._seen: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """All that was printed so far and taken by `lines`."""
        return "\n".join(self._seen)

    def lines(self, patience: float) -> Iterator[str]:
        """Lines as they come, until the process closes its output or the time is over."""
        deadline = time.monotonic() + patience
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            if line is None:
                return
            self._seen.append(line)
            yield line

    def wait(self, show: Callable[[str], None]) -> int:
        """Show each line and return the exit status; a process that takes too long is ended."""
        for line in self.lines(PATIENCE):
            show(line)
        try:
            return self._process.wait(1 if self._reader.is_alive() else GRACE)
        except subprocess.TimeoutExpired:
            self.end()
            raise DemoError(f"A command took longer than {PATIENCE:.0f} s and was ended.") from None

    def end(self) -> None:
        """End the process and all it started: first as Ctrl-C does, then without asking."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join(GRACE)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        with contextlib.suppress(ValueError, OSError):
            for line in self._process.stdout or ():
                self._queue.put(line.rstrip("\n"))
        self._queue.put(None)


def _environment() -> dict[str, str]:
    """Ours, without what would lead a command elsewhere: loopback only, no Hub, no settings of the user."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHTSHARE_")}
    search = [str(Path(entry).absolute()) for entry in kept.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return kept | {
        "PYTHONPATH": os.pathsep.join(search),
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": str(WIDTH - 2),
        "WEIGHTSHARE_NETWORK": "local",
        "HF_HUB_OFFLINE": "1",
    }


def _typed(words: Sequence[str], *, full: bool = False) -> list[str]:
    return ["weightshare", *(shlex.quote(word if full else shorten(word)) for word in words)]


def _kept_together(words: Sequence[str]) -> list[str]:
    """The words, each option joined with its value, so that a line is not broken between them."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].startswith("--") and " " not in joined[-1] and not word.startswith("--"):
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return joined


def shorten(word: str) -> str:
    """A magnet link with its middle left out, so that a line fits; the address of a peer is kept."""
    if not word.startswith("magnet:?"):
        return word
    first, *rest = word.split("&")
    peers = [part for part in rest if part.startswith("x.pe=")]
    cut = first[:28] + "…" if len(first) > 28 else first
    return "&".join([cut, *(["…"] if len(rest) > len(peers) else []), *peers])


def _clear(folder: Path) -> None:
    def writable(remove: Callable[[str], object], path: str, _: BaseException) -> None:
        with contextlib.suppress(OSError):
            Path(path).parent.chmod(0o700)
            Path(path).chmod(0o700)
            remove(path)

    if sys.version_info >= (3, 12):
        shutil.rmtree(folder, onexc=writable)
    else:
        shutil.rmtree(folder, onerror=lambda remove, path, info: writable(remove, path, info[1]))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not stop the clearing up that the first one began."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
