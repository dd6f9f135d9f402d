"""A command on a pseudo-terminal: what is typed, and what shows."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.cli.helpers import COMMAND, environment

CTRL_C = b"\x03"
CTRL_D = b"\x04"


class Terminal:
    """Runs one command until the block ends, when it is killed if it still runs.

    Args:
        home: its home and working folder.
        words: the command.
    """

    def __init__(self, home: Path, *words: str) -> None:
        import pty

        self._main, side = pty.openpty()
        env = environment(home, {"TERM": "xterm-256color", "INPUTRC": os.devnull})
        env.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            stdin=side,
            stdout=side,
            stderr=side,
            cwd=home,
            env=env,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(side)
        self._shown = ""
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        os.close(self._main)

    def type(self, keys: str | bytes) -> None:
        """Type keys; a text is a line, with its end."""
        os.write(self._main, keys if isinstance(keys, bytes) else keys.encode() + b"\n")

    def wait_for(self, text: str, limit: float = 45) -> str:
        """Wait until a text shows that was not waited for yet; returns what showed since, up to its end."""
        deadline = time.monotonic() + limit
        while (at := self._shown.find(text, self._seen)) < 0:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} does not show in:\n{self._shown[self._seen :]}")
        since, self._seen = self._shown[self._seen : at + len(text)], at + len(text)
        return since

    def wait_until_it_reads(self, limit: float = 45) -> None:
        """Wait until the command sleeps, after a prompt: before that, readline does not notice a signal."""
        stat, deadline = Path(f"/proc/{self.process.pid}/stat"), time.monotonic() + limit
        if not stat.exists():
            pytest.skip("needs /proc")
        while stat.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < deadline
            os.sched_yield()

    def end(self, limit: float = 60) -> tuple[int, str]:
        """Wait until the command ends; its status, and what showed since."""
        deadline = time.monotonic() + limit
        while self._read(deadline):
            pass
        return self.process.wait(max(1, deadline - time.monotonic())), self._shown[self._seen :]

    def send(self, number: signal.Signals) -> None:
        """Send the command a signal."""
        self.process.send_signal(number)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._main], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._main, 65536)
        except OSError:  # Linux says EIO once the other side is closed
            return False
        self._shown += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)


def _own_terminal() -> None:
    """Make the pseudo-terminal the process's own, so that a typed Ctrl-C becomes a signal; 80 columns of it."""
    import fcntl
    import struct
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
