"""Commands that are still running: seeders, and fetches that are going to be interrupted.

Each is a session of its own, so that everything it started can be found and ended, whatever became of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.cli.helpers import COMMAND, environment
from tests.integration.waiting import until


class Running:
    """One command line in a process of its own; as a context, everything of it is gone afterwards.

    Args:
        home: the user's folder.
        words: the command line.
        before: a command that runs ours, such as `setpriv`.
    """

    def __init__(
        self, home: Path, *words: str, before: tuple[str, ...] = (), more: Mapping[str, str] | None = None
    ) -> None:
        # Files, not pipes: nobody need read them for the process to go on.
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed on leaving the context
        self._err: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [*before, *COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            cwd=home,
            env=environment(home, more),
            start_new_session=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for pid in self.relatives():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._out.close()
        self._err.close()

    def out(self) -> str:
        """What it has put on stdout so far."""
        return _all_of(self._out)

    def err(self) -> str:
        """What it has put on stderr so far."""
        return _all_of(self._err)

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Signal the process itself; nothing if it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, without a chance to tidy up."""
        self._process.kill()
        self._process.wait(10)

    def end(self, *, within: float = 60.0) -> int:
        """Wait for its end and return its exit status."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {within:g} s: {self.out()}{self.err()}") from None

    def event(self, number: int = 0, *, within: float = 30.0) -> dict[str, Any]:
        """The JSON object on that line of stdout, waited for."""

        def look() -> str:
            lines = self.out().splitlines(keepends=True)
            if len(lines) > number and lines[number].endswith("\n"):
                return lines[number]
            assert self.status is None or len(lines) > number, (self.status, self.out(), self.err())
            return ""

        value = json.loads(until(look, f"line {number + 1} on stdout", within=within))
        assert isinstance(value, dict)
        return value

    def result(self, status: int = 0, *, within: float = 60.0) -> dict[str, Any]:
        """Wait for its end with this exit status, and return its last JSON object."""
        ended = self.end(within=within)
        assert ended == status, (ended, self.out(), self.err())
        value = json.loads(self.out().splitlines()[-1])
        assert isinstance(value, dict)
        return value

    def relatives(self) -> list[int]:
        """The processes it started that are still there, and itself. Linux only; empty elsewhere."""
        return [pid for pid in _processes() if _session_of(pid) == self.pid]


class Seeder(Running):
    """A seeder that listens."""

    def __init__(self, home: Path, *words: str, port: int = 0, before: tuple[str, ...] = ()) -> None:
        super().__init__(home, "seed", "--json", "--port", str(port), *words, before=before)
        try:
            self.listening = self.event()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.port = int(self.listening["port"])

    @property
    def peer(self) -> str:
        """Its address, as `--peer` takes it."""
        return f"127.0.0.1:{self.port}"

    def stop(self) -> dict[str, Any]:
        """End it by Ctrl-C, which must be a good end, and return its last words."""
        self.send(signal.SIGINT)
        return self.result(within=30)


@contextmanager
def seeding(home: Path, *words: str, port: int = 0, before: tuple[str, ...] = ()) -> Iterator[Seeder]:
    """A seeder for the time of a test."""
    with Seeder(home, *words, port=port, before=before) as seeder:
        yield seeder


def _all_of(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), 1 << 22, 0).decode()


def _processes() -> list[int]:
    proc = Path("/proc")
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()] if proc.exists() else []


def _session_of(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[3])
