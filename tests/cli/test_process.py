"""How the program behaves as a process: signals, a reader that goes away, questions on a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.helpers import COMMAND, environment, weightshare

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and terminals")


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_fetch_in_130_and_say_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "fetch", "-", "--verbose"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(tmp_path),
    ) as process:
        _until_it_reads(process.pid)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert err.decode().strip() == "interrupted; the same command resumes"


def _until_it_reads(pid: int) -> None:
    """Wait until a process sleeps in a read of its stdin: by then it has taken its signals."""
    wchan, deadline = Path(f"/proc/{pid}/wchan"), time.monotonic() + 20
    if not wchan.exists():
        pytest.skip("needs /proc")
    while "pipe" not in wchan.read_text():
        assert time.monotonic() < deadline
        os.sched_yield()


@posix
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [*COMMAND, "trust", "list", "--json"],
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(tmp_path),
    ) as process:
        os.close(write)
        _, err = process.communicate(timeout=30)
    assert err == b""
    assert process.returncode == 141


def test_nothing_and_too_much_on_stdin(tmp_path: Path) -> None:
    for typed in (b"", b" \n", b"magnet:?a\nmagnet:?b\n", b"\xff\xfe"):
        done = weightshare(tmp_path, "fetch", "-", typed=typed)
        assert done.returncode == 2, done.stderr
        assert b"stdin" in done.stderr


@posix
class TestTerminal:
    """Questions are asked on a terminal only, and answered there."""

    def test_a_passphrase_is_asked_for_twice_and_not_shown(self, tmp_path: Path) -> None:
        status, shown = on_terminal(
            tmp_path, ["keys", "new", "acme", "--passphrase"], [b"s3cret\n", b"s3cret\n"]
        )
        assert status == 0, shown
        assert "SHA256:" in shown
        assert "s3cret" not in shown
        assert b"BEGIN OPENSSH" in tmp_path.joinpath("weightshare/keys/acme").read_bytes()

    def test_without_a_terminal_there_is_an_error_that_names_the_variable(self, tmp_path: Path) -> None:
        done = weightshare(tmp_path, "keys", "new", "acme", "--passphrase")
        assert done.returncode == 3
        assert b"WEIGHTSHARE_KEY_PASSPHRASE" in done.stderr

    def test_ctrl_c_at_a_question(self, tmp_path: Path) -> None:
        status, shown = on_terminal(tmp_path, ["keys", "new", "acme", "--passphrase"], [b"\x03"])
        assert status == 130
        assert "interrupted" in shown
        assert "Traceback" not in shown

    def test_errors_are_coloured_there_unless_no_color(self, tmp_path: Path) -> None:
        assert "\x1b[31m" in on_terminal(tmp_path, ["fetch"], [])[1]
        assert "\x1b" not in on_terminal(tmp_path, ["fetch"], [], {"NO_COLOR": "1"})[1]


def on_terminal(
    home: Path, words: list[str], typed: list[bytes], more: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run one command on a pseudo-terminal, type a line at each question, and return status and screen."""
    import pty

    main, side = pty.openpty()
    env = environment(home, {"TERM": "xterm-256color", **(more or {})})
    env.pop("NO_COLOR", None) if not more else None
    with subprocess.Popen(
        [*COMMAND, *words],
        stdin=side,
        stdout=side,
        stderr=side,
        cwd=home,
        env=env,
        start_new_session=True,
        preexec_fn=_own_terminal,
    ) as process:
        os.close(side)
        screen = b""
        waiting = list(typed)
        while True:
            try:
                screen += os.read(main, 4096)
            except OSError:  # Linux says EIO once the other side is closed
                break
            if waiting and screen.rstrip(b" ").endswith((b":", b"]:", b">")):
                os.write(main, waiting.pop(0))
                screen += b"\n"
        status = process.wait(30)
    os.close(main)
    return status, screen.decode("utf-8", "replace")


def _own_terminal() -> None:
    """Make the pseudo-terminal the process's own, so that a typed Ctrl-C becomes a signal."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_python_m_is_the_same_program(tmp_path: Path) -> None:
    done = weightshare(tmp_path, "--version")
    assert done.stdout.startswith(b"weightshare ")
    assert sys.executable == COMMAND[0]
