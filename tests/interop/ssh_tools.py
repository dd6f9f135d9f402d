"""The real `ssh-keygen`, `ssh-add` and `ssh-agent`, each agent started for one test and ended by its process."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from weightshare.trust import agent

MISSING = [name for name in ("ssh-keygen", "ssh-agent", "ssh-add") if shutil.which(name) is None]
needs_openssh = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def keygen(
    *words: str | Path, stdin: bytes | None = None, check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    """Run ssh-keygen."""
    return subprocess.run(
        ["ssh-keygen", *words], input=stdin or b"", capture_output=True, check=check, timeout=60
    )


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A key as `ssh-keygen` makes it by default."""
    keygen("-q", "-t", kind, "-N", passphrase, "-C", f"{path.name} at home", "-f", path)
    return path


class Agent:
    """A running ssh-agent and what one does to it."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.socket = folder / "s"
        self._folder = folder

    def add(self, *words: str | Path, passphrase: str = "") -> None:
        """`ssh-add`, its questions answered."""
        answer = self._folder / "answer"
        answer.write_text(f"#!/bin/sh\nprintf '%s\\n' '{passphrase}'\n")
        answer.chmod(0o700)
        env = os.environ | {
            agent.SOCKET_VARIABLE: str(self.socket),
            "SSH_ASKPASS": str(answer),
            "SSH_ASKPASS_REQUIRE": "force",
        }
        subprocess.run(
            ["ssh-add", "-q", *words],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=60,
        )

    def end(self) -> None:
        """End it, as a log-out does."""
        self.process.terminate()
        self.process.wait(30)


@contextmanager
def running_agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """An empty agent behind SSH_AUTH_SOCK; whatever it asks, the answer is no."""
    folder = Path(tempfile.mkdtemp(prefix="ws"))  # a socket's path has 107 bytes at most
    env = os.environ | {"SSH_ASKPASS": shutil.which("false") or "", "SSH_ASKPASS_REQUIRE": "force"}
    try:
        with subprocess.Popen(
            ["ssh-agent", "-D", "-a", folder / "s"], stdout=subprocess.PIPE, env=env
        ) as process:
            try:
                assert process.stdout is not None
                assert b"SSH_AUTH_SOCK" in process.stdout.readline()  # it listens
                monkeypatch.setenv(agent.SOCKET_VARIABLE, str(folder / "s"))
                yield Agent(process, folder)
            finally:
                process.terminate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
