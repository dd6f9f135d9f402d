"""Run the commands of a guide and hold what they print against what the guide shows; `--write` refreshes it.

In a block ```` ```console ```` a line `alice$ COMMAND` is typed by Alice in her home folder, and what follows up to
the next such line is what she sees. Everybody lives under one temporary folder, shown as `/home`. Keys, hashes and
times differ from run to run: the first fingerprint of the guide has to be the first one of the run wherever it stands,
and so on.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUIDES = (ROOT / "docs" / "trust.md",)
TIMEOUT = 120

_BLOCK = re.compile(r"(```console\n)(.*?)(```\n)", re.DOTALL)
_PROMPT = re.compile(r"(?P<who>[a-z]+)\$ (?P<words>.*)")
# What differs between two runs; the same text gets the same name throughout.
_CHANGING = re.compile(
    r"SHA256:[A-Za-z0-9+/]{43}"
    r"|x\.wsk=[A-Za-z0-9_-]{43}"
    r"|ssh-ed25519 [A-Za-z0-9+/=]{68}"
    r"|\b[0-9a-f]{40,64}\b"
    r"|(?<=\b1220)[0-9a-f]{64}"
    r"|(?<=-)[0-9a-f]{8}(?=/)"
    r"|\d{4}-\d{2}-\d{2}(?:T[\d:]{8}Z)?"
    r"|(?<=sequence )\d+"
    r"|\d+\.\d s\b|\d+ ms\b|[\d.]+ [KMG]iB/s"
)


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
    """A folder in which everybody of the guide has a home."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tools = root / "bin"
        self._tools.mkdir()
        shim = self._tools / "weightshare"
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m weightshare_cli "$@"\n')
        shim.chmod(shim.stat().st_mode | stat.S_IXUSR)

    def type(self, step: Step) -> str:
        """Type a command, and return what is seen of it."""
        home = self._root / step.who
        if not home.exists():
            (home / ".ssh").mkdir(parents=True, mode=0o700)
            _model(home / "m7b")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WEIGHTSHARE_", "HF_", "SSH_", "XDG_"))
        }
        search = [str(ROOT), str(ROOT / "cli"), *filter(None, [os.environ.get("PYTHONPATH")])]
        done = subprocess.run(  # noqa: S603  the guide is ours
            ["/bin/bash", "-c", step.words],
            cwd=home,
            env=kept
            | {
                "HOME": str(home),
                "WEIGHTSHARE_HOME": str(home / ".weightshare"),
                "WEIGHTSHARE_NETWORK": "local",
                "PATH": f"{self._tools}:{os.environ['PATH']}",
                "PYTHONPATH": os.pathsep.join(search),
                "COLUMNS": "80",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
            check=False,
        )
        seen = done.stdout.decode().replace(str(self._root), "/home")
        if done.returncode:
            seen += f"[exit {done.returncode}]\n"
        return seen


def run(text: str) -> str:
    """The guide with every output as it is when its commands are typed now."""
    with tempfile.TemporaryDirectory() as folder:
        street = Street(Path(folder))

        def block(match: re.Match[str]) -> str:
            typed = [f"{step.who}$ {step.words}\n{street.type(step)}" for step in steps_of(match[2])]
            return match[1] + "".join(typed) + match[3]

        return _BLOCK.sub(block, text)


def settled(text: str) -> str:
    """The text with everything that differs between runs named by the order in which it first stands there."""
    names: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        found = match[0]
        if re.search(r" (s|ms|[KMG]iB/s)$", found):
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
    """Check, or with `--write` refresh, and return the exit status."""
    status = 0
    for guide in GUIDES:
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
