"""A round of chaos with the means that every machine has; `make chaos` is the real thing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.chaos.plan import Injection, Kind, Round, Run, When, shape_of
from tests.chaos.playing import Player
from tests.chaos.report import lines, total
from tests.chaos.scene import Scene, make_release

SEED = 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes in /proc")
def test_a_few_injections(tmp_path: Path) -> None:
    """Killed, tampered with, cut off and interrupted: it ends whole, and nothing untrue was seen."""
    os.chmod(tmp_path, 0o755)
    shape = shape_of(SEED, 0)
    runs = (
        Run(30.0, (_at(Kind.FETCH_KILLED, 0.3),)),
        Run(
            10.0,
            (
                _before(Kind.STAGED_OVERWRITTEN),
                _before(Kind.STATE_GARBLED),
                _before(Kind.LIAR),
                _at(Kind.LINK_CUT, 0.3),
                _at(Kind.FETCH_INTERRUPTED, 0.6),
            ),
        ),
    )
    plan = Round(0, shape.number, shape.size // 3, apart=False, home_too=False, runs=runs, changed=None)
    (tmp_path / "round").mkdir()
    said: list[str] = []
    release = make_release(tmp_path, SEED, shape)
    with Scene(tmp_path / "round", release, plan, namespaces=False, mounts=False, log=said.append) as scene:
        played = Player(scene, lambda: False).play()
    assert played.laps >= 1, said
    assert played.made[Kind.FETCH_KILLED] == 1, said
    assert played.made.total() >= 4, said
    report = "\n".join(lines(total([played]), SEED, 1.0, []))
    assert "fetch killed (SIGKILL)                      1" in report
    assert "seed 1" in report


def _at(kind: Kind, share: float) -> Injection:
    return Injection(kind, When.AT, share, 0.5, 3)


def _before(kind: Kind) -> Injection:
    return Injection(kind, When.BEFORE, 0.0, 0.5, 3)
