"""`config.toml` and `limits.toml`: what they may say of limits, and what is said of what they may not."""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path

import pytest

from tests.cli.helpers import ROOT
from weightshare.config import limits_text, read_config, read_limits
from weightshare.errors import UsageError
from weightshare.limits import Limits, Schedule, Window
from weightshare.units import GIB, MIB

ALL = frozenset(range(7))


def config(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text, "utf-8")
    return path


def test_all_that_a_file_can_say(tmp_path: Path) -> None:
    said = read_config(
        config(
            tmp_path,
            """
            network = "lan"
            max-down = "12M"
            max-up = 4096
            max-connections = 60
            upload-per-day = "50G"
            ratio = 2.5

            [[schedule]]
            from = "23:00"
            to = "06:00"
            max-up = "0"

            [[schedule]]
            from = 09:00:00
            to = "24:00"
            days = ["mon-fri"]
            max-down = "1M"
            max-up = 2048

            [[schedule]]
            from = "00:00"
            to = "24:00"
            days = ["fri-mon", "wed"]
            max-up = "1K"
            """,
        )
    )
    assert said.settings["network"] == "lan"
    assert "schedule" not in said.settings
    assert said.limits == Limits(12 * MIB, 4096, 60, 50 * GIB, 2.5)
    assert said.schedule == Schedule(
        (
            Window(time(23), time(6), ALL, None, 0),
            Window(time(9), time(0), frozenset(range(5)), MIB, 2048),
            Window(time(0), time(0), frozenset({4, 5, 6, 0, 2}), None, 1024),
        )
    )


def test_the_example_of_the_readme(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(examples) == 1
    said = read_config(config(tmp_path, examples[0]))
    assert said.limits == Limits(max_up=10 * MIB, max_connections=60, upload_per_day=50 * GIB, ratio=2.0)
    assert [window.max_up for window in said.schedule.windows] == [MIB, 0]


def test_no_file_says_nothing(tmp_path: Path) -> None:
    assert read_config(tmp_path / "config.toml").limits == Limits()
    assert read_limits(tmp_path / "limits.toml") == Limits()


WINDOW = '[[schedule]]\nfrom = "09:00"\nto = "17:00"\n'


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('max-up = "fast"', "'max-up' to 'fast'; 'fast' is not a size"),
        ("max-up = -1", "'-1' is not a size"),
        ("max-up = 1.5", "expected text or a number"),
        ("max-connections = -1", "expected 0 for no limit, or more"),
        ('max-connections = "50"', "'max-connections' to '50'; expected a number"),
        ("max-connections = true", "expected a number"),
        ("ratio = -0.5", "expected 0 for no limit, or more"),
        ("ratio = nan", "expected 0 for no limit, or more"),
        ("ratio = inf", "expected 0 for no limit, or more"),
        ('ratio = "2"', "expected a number"),
        ("max-uploads = 4", "'max-uploads', which is no setting"),
        ("schedule = 3", "'schedule' to something else than tables"),
        ('[schedule]\nfrom = "09:00"', "'schedule' to something else than tables"),
        (WINDOW, "limits nothing in [[schedule]] number 1"),
        (WINDOW + 'max-up = "1M"\n' + WINDOW, "limits nothing in [[schedule]] number 2"),
        (WINDOW + 'max_up = "1M"', "'max_up' in [[schedule]] number 1, which is no setting there"),
        (WINDOW + "ratio = 2", "'ratio' in [[schedule]] number 1, which is no setting there"),
        (WINDOW + 'max-up = "x"', "'max-up' in [[schedule]] number 1 to 'x'"),
        (WINDOW + "max-up = true", "'max-up' in [[schedule]] number 1 to True"),
        ('[[schedule]]\nto = "17:00"\nmax-up = 1', "lacks 'from' in [[schedule]] number 1"),
        ('[[schedule]]\nfrom = "17:00"\nmax-up = 1', "lacks 'to' in [[schedule]] number 1"),
        ('[[schedule]]\nfrom = "9"\nto = "17:00"\nmax-up = 1', "'from' in [[schedule]] number 1 to '9'"),
        ('[[schedule]]\nfrom = "24:00"\nto = "17:00"\nmax-up = 1', "'24:00', which is no time of day"),
        ('[[schedule]]\nfrom = "09:00"\nto = "25:00"\nmax-up = 1', "'25:00', which is no time of day"),
        ('[[schedule]]\nfrom = "09:00"\nto = "17:60"\nmax-up = 1', "'17:60', which is no time of day"),
        ('[[schedule]]\nfrom = 9\nto = "17:00"\nmax-up = 1', "to 9, which is no time of day"),
        (WINDOW + 'max-up = 1\ndays = ["monday"]', "'days' in [[schedule]] number 1 to ['monday']"),
        (WINDOW + 'max-up = 1\ndays = ["mon-"]', "['mon-']"),
        (WINDOW + "max-up = 1\ndays = []", "expected some of mon, tue"),
        (WINDOW + "max-up = 1\ndays = 3", "expected some of mon, tue"),
    ],
)
def test_what_it_must_not_say(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_config(config(tmp_path, text))
    assert part in caught.value.message
    assert "config.toml" in caught.value.message


@pytest.mark.parametrize(
    "limits", [Limits(1, 2, 3, 4, 2.5), Limits(max_up=0), Limits(ratio=0.1), Limits(max_connections=7)]
)
def test_live_limits_are_read_as_written(tmp_path: Path, limits: Limits) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(limits_text(limits))
    assert read_limits(path) == limits


@pytest.mark.parametrize("text", ["port = 1", 'max-up = "x"', "max-up =", WINDOW + "max-up = 1"])
def test_live_limits_are_nothing_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_limits(path)
    assert "limits --reset" in caught.value.hint
