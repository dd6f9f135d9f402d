"""The command line without a process of its own: for tests that call it often, and are not about processes."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import environment
from weightshare_cli.main import _run


class Inside:
    """Runs commands in this process, each in the home that it names, as `helpers.result` does in one of their own."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def __call__(self, home: Path, *words: str, status: int = 0) -> dict[str, Any]:
        """Run one command with `--json` that must end with this status, and return its one object."""
        ended, out, err = self.words(home, *words, "--json")
        assert ended == status, (ended, out, err)
        value = json.loads(out)
        assert isinstance(value, dict)
        return value

    def words(self, home: Path, *words: str) -> tuple[int, str, str]:
        """Run one command; its exit status, what it put on stdout, and on stderr."""
        for name, value in environment(home).items():
            if name.startswith(("WEIGHTSHARE_", "HF_", "COLUMNS")):
                self._patch.setenv(name, value)
        out, err = _stream(), _stream()
        self._patch.setattr("sys.stdin", _stream())
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            ended = _run(list(words))
        return ended, _text(out), _text(err)


def _stream() -> io.TextIOWrapper:
    """A stream that takes bytes too, as the real ones do."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Inside:
    """The command line, in this process."""
    return Inside(monkeypatch)
