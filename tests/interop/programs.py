"""Other people's BitTorrent clients, each started for one test with a home of its own and ended by its process."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import pytest

T = TypeVar("T")

_PATIENCE = 90.0
_LOOK_EVERY = 0.05  # each look is a request
_KEPT = ("PATH", "TMPDIR")


def needs(program: str) -> pytest.MarkDecorator:
    """Skip where a program is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"not installed: {program}")


class Program:
    """A program that runs, and what it has said."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self._process = process
        self._said = said

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def said(self) -> str:
        """What it has printed so far."""
        return os.pread(self._said.fileno(), 1 << 22, 0).decode(errors="replace")

    def until(self, look: Callable[[], T], what: str, *, within: float = _PATIENCE) -> T:
        """Look again and again until there is something to see; its end fails, as does its saying nothing in time."""
        deadline = time.monotonic() + within
        while not (seen := look()):
            assert self.status is None, f"it ended with {self.status}\n{self.said()}"
            assert time.monotonic() < deadline, f"waited {within:g} s for {what}\n{self.said()}"
            time.sleep(_LOOK_EVERY)
        return seen

    def end(self, *, within: float = _PATIENCE) -> int:
        """Wait for it to end by itself and return its exit status."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {within:g} s\n{self.said()}") from None


@contextmanager
def running(
    words: Sequence[str | Path], home: Path, more: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """A program with `home` as its home and working folder; with all that it started, gone afterwards."""
    home.mkdir(parents=True, exist_ok=True)
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        **(more or {}),
    }
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=home,
            env=environment,
            start_new_session=True,
        )
        try:
            yield Program(process, said)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def version_of(*words: str) -> str:
    """The first thing like a version that a command prints, for what a test says of itself."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return found[0] if found else "unknown"
