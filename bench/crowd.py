"""The processes of a crowd: our own commands in network namespaces, begun at one moment and followed to their end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.namespaces import Node

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "weightshare_cli"]
STARTING = 120.0
ENDING = 30.0

LIAR = """
import json, sys, threading
import libtorrent as lt
from weightshare.swarm.networks import Network
from weightshare.swarm.settings import session_settings
session = lt.session({**session_settings(Network.LAN), "disable_hash_checks": True})
params = lt.load_torrent_file(sys.argv[1])
params.save_path = sys.argv[2]
params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
params.flags |= lt.torrent_flags.upload_mode
params.have_pieces = [True] * params.ti.num_pieces()
handle = session.add_torrent(params)
print("ready", flush=True)
sys.stdin.read()
status = handle.status()
print(json.dumps({"uploaded": status.total_payload_upload}), flush=True)
"""


class Fetch:
    """One `fetch` on a node: imports done, it waits for its link on stdin, so that all begin at one moment.

    Args:
        node: where it runs.
        home: its home; the publisher is pinned there already.
        target: where the release goes.
    """

    def __init__(self, node: Node, home: Path, target: Path) -> None:
        self.node = node
        self.target = target
        self.complete: float | None = None
        self.killed = False
        self.result: dict[str, Any] = {}
        self.last: dict[str, Any] = {}
        self._log = home.with_suffix(".log")
        words = ["fetch", "-", str(target), "--network", "lan", "--json", "--quiet", "--seed-for", "1h"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                node.command([*COMMAND, *words]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(home),
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def waits(self) -> bool:
        """Whether it has come to where it reads its link."""
        if self.process.poll() is not None:
            raise RuntimeError(f"a fetch ended early: {self._log.read_text()[-2000:]}")
        try:
            return "pipe" in Path(f"/proc/{self.process.pid}/wchan").read_text()
        except OSError:
            return False

    def go(self, link: str) -> None:
        """Give it its link."""
        assert self.process.stdin is not None
        self.process.stdin.write(link)
        self.process.stdin.close()

    def kill(self) -> None:
        """SIGKILL, as a node that loses its power."""
        self.killed = True
        self.process.kill()

    def end(self) -> None:
        """Let it stop serving."""
        self.process.terminate()

    def reap(self) -> None:
        """Wait until it is gone."""
        try:
            self.process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(ENDING)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def failure(self) -> str:
        """What it said if it ended without being asked to."""
        if self.complete is not None or self.killed or self.process.poll() is None:
            return ""
        return f"exit {self.process.returncode}: {self.last or self._log.read_text()[-2000:]}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.last = json.loads(line)
            if self.last.get("event") == "complete":
                self.complete = time.perf_counter()
                self.result = self.last


def begin(fetches: Sequence[Fetch], link: str) -> float:
    """Wait until all are ready, give them their link at once, and say when that was."""
    deadline = time.monotonic() + STARTING
    while not all(fetch.waits() for fetch in fetches):
        if time.monotonic() > deadline:
            raise RuntimeError("the fetches did not come to wait for their link")
        time.sleep(0.05)
    time.sleep(0.5)
    began = time.perf_counter()
    for fetch in fetches:
        fetch.go(link)
    return began


def follow(fetches: Sequence[Fetch], limit: float, look: Callable[[], None]) -> None:
    """Wait until all that live are complete, looking every half second.

    Raises:
        RuntimeError: one failed, or the time is over.
    """
    deadline = time.monotonic() + limit
    due = time.monotonic()
    while any(fetch.complete is None and not fetch.killed for fetch in fetches):
        for fetch in fetches:
            if fetch.failure():
                raise RuntimeError(f"the fetch on {fetch.node.address} failed: {fetch.failure()}")
        if time.monotonic() > deadline:
            left = [fetch.node.address for fetch in fetches if fetch.complete is None and not fetch.killed]
            raise RuntimeError(f"not complete in {limit:.0f} s: {', '.join(left)}")
        if time.monotonic() >= due:
            due += 0.5
            look()
        time.sleep(0.02)


@contextmanager
def seeder(node: Node, home: Path) -> Iterator[Callable[[], int]]:
    """`weightshare seed` on a node; what is yielded ends it and says how many payload bytes it gave."""
    with (home.with_suffix(".log")).open("wb") as log:
        process = subprocess.Popen(
            node.command([*COMMAND, "seed", "--network", "lan", "--json", "--quiet"]),
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment(home),
            text=True,
        )
    assert process.stdout is not None
    given = 0

    def stop() -> int:
        nonlocal given
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=ENDING)
            given = int(json.loads(out.splitlines()[-1])["uploaded"])
        return given

    try:
        if not process.stdout.readline():
            raise RuntimeError("the seeder did not start")
        yield stop
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@contextmanager
def liars(nodes: Sequence[Node], torrent: Path, folder: Path) -> Iterator[Callable[[], list[dict[str, int]]]]:
    """Peers that claim to have everything and send other bytes; what is yielded ends them and says how they fared."""
    processes = [
        subprocess.Popen(
            node.command([sys.executable, "-c", LIAR, str(torrent), str(folder)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(folder),
            text=True,
        )
        for node in nodes
    ]

    def stop() -> list[dict[str, int]]:
        return [
            json.loads(process.communicate("", timeout=ENDING)[0].splitlines()[-1]) for process in processes
        ]

    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield stop
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


def environment(home: Path) -> dict[str, str]:
    """What a command of ours runs with."""
    search = [str(ROOT), str(ROOT / "cli"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(search), "WEIGHTSHARE_HOME": str(home)}


def weightshare(home: Path, *words: str) -> str:
    """Run one command to its end, within this machine, and return what it printed."""
    done = subprocess.run(
        [*COMMAND, *words, "--quiet"],
        check=True,
        capture_output=True,
        text=True,
        env=environment(home) | {"WEIGHTSHARE_NETWORK": "local"},
    )
    return done.stdout
