"""Run the commands of a guide and hold what they print against what the guide shows; `--write` refreshes it.

In a block ```` ```console ```` a line `alice$ COMMAND` is typed by Alice in her home folder, and what follows up to
the next such line is what she sees. Everybody lives under one temporary folder, shown as `/home`. Keys, hashes and
times differ from run to run: the first fingerprint of the guide has to be the first one of the run wherever it stands,
and so on. A command that is given one, such as a link that was printed before, is given this run's.

A command that ends in ` &` goes on while others are typed, and shows what it says at first; `kill %1` ends the last one
of that person and shows the rest. Whoever still runs at the end is ended then. Ports in commands are made free ones.
"""

from __future__ import annotations

import difflib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
GUIDES = tuple(
    ROOT / "docs" / f"{name}.md" for name in ("trust", "guide-maintainer", "guide-developer", "guide-mirror")
)
TIMEOUT = 120
SETTLED = 0.5
"""Seconds of silence after which what a command in the background says at first is taken to be said."""

_BLOCK = re.compile(r"(```console\n)(.*?)(```\n)", re.DOTALL)
_PORT = re.compile(r"(?<=--port )\d{4,5}|(?<=127\.0\.0\.1:)\d{4,5}")
_PROMPT = re.compile(r"(?P<who>[a-z]+)\$ (?P<words>.*)")
# What differs between two runs; the same text gets the same name throughout.
_CHANGING = re.compile(
    r"SHA256:[A-Za-z0-9+/]{43}"
    r"|x\.wsk=[A-Za-z0-9_-]{43}"
    r"|ssh-ed25519 [A-Za-z0-9+/=]{68}"
    r"|\b[0-9a-f]{40,64}\b"
    r"|(?<=\b1220)[0-9a-f]{64}"
    r"|\b[0-9a-f]{12}\b(?= )"
    r"|(?<=-)[0-9a-f]{8}(?=/)"
    r"|\d{4}-\d{2}-\d{2}(?:T[\d:]{8}Z)?"
    r"|(?<=sequence )\d+"
    r"|\d+\.\d s\b|\d+ ms\b|[\d.]+ (?:[KMG]i)?B/s|[\d.]+ (?:[KMG]i)?B given"
)
_MEASURED = re.compile(r" (s|ms|(?:[KMG]i)?B/s|(?:[KMG]i)?B given)$")


@dataclass(frozen=True)
class Step:
    """A command of the guide."""

    who: str
    words: str
    shown: str


def steps_of(block: str) -> list[Step]:
    """The commands of one block, each with what the guide shows of its output."""
    steps: list[Step] = []
    for line in block.splitlines(keepends=True):
        match = _PROMPT.fullmatch(line.rstrip("\n"))
        if match:
            steps.append(Step(match["who"], match["words"], ""))
        elif not steps:
            raise SystemExit(f"A block begins with {line!r}, not with a prompt such as `alice$ `.")
        elif steps[-1].words.endswith("\\") and not steps[-1].shown:
            steps[-1] = Step(steps[-1].who, f"{steps[-1].words}\n{line.rstrip()}", "")
        else:
            steps[-1] = Step(steps[-1].who, steps[-1].words, steps[-1].shown + line)
    return steps


class Street:
    """A folder in which everybody of the guide has a home; used as a context manager.

    Args:
        root: the folder.
        ports: for each port that the guide names, the one that is taken in its place.
    """

    def __init__(self, root: Path, ports: dict[str, str] | None = None) -> None:
        self._root = root
        self._ports = ports or {}
        self._running: list[_Running] = []
        self._fresh: dict[str, str] = {}
        self._tools = root / "bin"
        self._tools.mkdir()
        for name, words in (("weightshare", "-m weightshare_cli "), ("python", "")):
            shim = self._tools / name
            shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
            shim.chmod(shim.stat().st_mode | stat.S_IXUSR)

    def __enter__(self) -> Street:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running in self._running:
            running.end()

    def type(self, step: Step) -> str:
        """Type a command, and return it as it was typed, with what is seen of it."""
        began = time.monotonic()
        asked = _CHANGING.sub(lambda match: self._fresh.get(match[0], match[0]), step.words)
        words = _PORT.sub(lambda match: self._ports.get(match[0], match[0]), asked)
        seen = self._typed(step.who, words).replace(str(self._root), "/home")
        for shown, taken in self._ports.items():
            seen = re.sub(rf"(?<!\d){taken}(?!\d)", shown, seen)
        if "--times" in sys.argv[1:]:
            sys.stderr.write(f"{time.monotonic() - began:5.1f} s  {step.words[:60]}\n")
        old, new = _CHANGING.findall(step.shown), _CHANGING.findall(seen)
        if len(old) == len(new):
            self._fresh |= dict(zip(old, new, strict=True))
        return f"{step.who}$ {asked}\n{seen}"

    def _typed(self, who: str, words: str) -> str:
        if words == "kill %1":
            mine = [running for running in self._running if running.who == who]
            if not mine:
                return "bash: kill: %1: no such job\n[exit 1]\n"
            self._running.remove(mine[-1])
            return mine[-1].end()
        home, environment = self._home(who), self._environment(who)
        if words.endswith(" &"):
            self._running.append(_Running(who, words.removesuffix(" &"), home, environment))
            return self._running[-1].begin()
        done = subprocess.run(  # noqa: S603  the guide is ours
            ["/bin/bash", "-c", words],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
            check=False,
        )
        return done.stdout.decode() + (f"[exit {done.returncode}]\n" if done.returncode else "")

    def _home(self, who: str) -> Path:
        home = self._root / who
        if not home.exists():
            (home / ".ssh").mkdir(parents=True, mode=0o700)
            _model(home / "m7b")
        return home

    def _environment(self, who: str) -> dict[str, str]:
        home = self._root / who
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WEIGHTSHARE_", "HF_", "SSH_", "XDG_"))
        }
        search = [str(ROOT), str(ROOT / "cli"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return kept | {
            "HOME": str(home),
            "WEIGHTSHARE_HOME": str(home / ".weightshare"),
            "WEIGHTSHARE_NETWORK": "local",
            "PATH": f"{self._tools}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(search),
            "COLUMNS": "80",
        }


class _Running:
    """A command in the background."""

    def __init__(self, who: str, words: str, home: Path, environment: dict[str, str]) -> None:
        self.who = who
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed when it ends
        self._process = subprocess.Popen(  # noqa: S603  the guide is ours
            ["/bin/bash", "-c", f"exec {words}"],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._shown = 0

    def begin(self) -> str:
        """What it says at first."""
        deadline, size, since = time.monotonic() + TIMEOUT, 0, time.monotonic()
        while time.monotonic() < deadline and self._process.poll() is None:
            grown = os.fstat(self._log.fileno()).st_size
            if grown != size:
                size, since = grown, time.monotonic()
            elif size and time.monotonic() - since > SETTLED:
                break
            time.sleep(0.02)
        return self._said()

    def end(self) -> str:
        """End it as `kill` does; what it has said since."""
        with ExitStack() as stack:
            stack.callback(self._log.close)
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(20)
            return self._said()

    def _said(self) -> str:
        said = os.pread(self._log.fileno(), 1 << 20, self._shown)
        self._shown += len(said)
        return said.decode()


def _free_ports(text: str) -> dict[str, str]:
    """A free port for each that the commands of a guide name."""
    named = {
        port
        for match in _BLOCK.finditer(text)
        for step in steps_of(match[2])
        for port in _PORT.findall(step.words)
    }
    with ExitStack() as stack:
        taken = {}
        for port in sorted(named):
            one = stack.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            taken[port] = str(one.getsockname()[1])
        return taken


def run(text: str) -> str:
    """The guide with every output as it is when its commands are typed now."""
    with tempfile.TemporaryDirectory() as folder, Street(Path(folder), _free_ports(text)) as street:

        def block(match: re.Match[str]) -> str:
            return match[1] + "".join(street.type(step) for step in steps_of(match[2])) + match[3]

        return _BLOCK.sub(block, text)


def settled(text: str) -> str:
    """The text with everything that differs between runs named by the order in which it first stands there."""
    names: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        found = match[0]
        if _MEASURED.search(found):
            return "TIME"
        return names.setdefault(found, f"<{len(names) + 1}>")

    return "".join(
        part if index % 4 != 2 else _CHANGING.sub(name, part) for index, part in enumerate(_parts(text))
    )


def _parts(text: str) -> Iterator[str]:
    """The prose, then the opening, the body and the end of a block, and so on."""
    yield from _BLOCK.split(text)


def _model(folder: Path) -> None:
    """A very small checkpoint."""
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.ljust(56)
    folder.mkdir()
    (folder / "config.json").write_bytes(b'{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))


def main() -> int:
    """Check, or with `--write` refresh, all guides or those named, and return the exit status."""
    status = 0
    named = [word for word in sys.argv[1:] if not word.startswith("--")]
    for guide in GUIDES:
        if named and guide.stem not in named:
            continue
        text = guide.read_text("utf-8")
        fresh = run(text)
        if settled(text) == settled(fresh):
            continue
        if "--write" in sys.argv[1:]:
            guide.write_text(fresh, "utf-8")
            continue
        status = 1
        sys.stderr.writelines(
            difflib.unified_diff(
                settled(text).splitlines(True), settled(fresh).splitlines(True), guide.name, "as typed", n=2
            )
        )
        sys.stderr.write(f"{guide.name} is behind; python docs/guides.py --write refreshes it.\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
