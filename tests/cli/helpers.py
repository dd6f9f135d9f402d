"""Runs the command line as a user does, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "weightshare_cli"]


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which nothing of the user's shows: own home folder, loopback only, 80 columns."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WEIGHTSHARE_", "HF_"))}
    search = [str(ROOT), str(ROOT / "cli"), *filter(None, kept.get("PYTHONPATH", "").split(os.pathsep))]
    return kept | {
        "HOME": str(home),
        "XDG_CACHE_HOME": kept.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        "WEIGHTSHARE_HOME": str(home / "weightshare"),
        "WEIGHTSHARE_NETWORK": "local",
        "PYTHONPATH": os.pathsep.join(search),
        "COLUMNS": "80",
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        **(more or {}),
    }


def weightshare(
    home: Path, *words: str, typed: bytes = b"", more: Mapping[str, str] | None = None, limit: float = 120
) -> subprocess.CompletedProcess[bytes]:
    """Run one command to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        input=typed,
        capture_output=True,
        cwd=home,
        env=environment(home, more),
        timeout=limit,
        check=False,
    )


def ok(home: Path, *words: str) -> str:
    """Run one command that must succeed, and return what it puts on stdout."""
    done = weightshare(home, *words)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def result(home: Path, *words: str, status: int = 0) -> dict[str, Any]:
    """Run one command with `--json` and return its one object."""
    done = weightshare(home, *words, "--json")
    assert done.returncode == status, done.stderr.decode() + done.stdout.decode()
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 1, lines
    value = json.loads(lines[0])
    assert isinstance(value, dict)
    return value
