"""`weightshare limits`: what it shows, what it sets, what it refuses; and what a seeder says of its limits."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.cli.helpers import ok, result, weightshare
from weightshare.api.results import SeedStatus
from weightshare.limits import Budget, Effective, Source
from weightshare.units import GIB, MIB
from weightshare_cli import options
from weightshare_cli.options import Settings
from weightshare_cli.serving import describe


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.joinpath("weightshare").mkdir()
    return tmp_path


def write(home: Path, text: str) -> None:
    home.joinpath("weightshare", "config.toml").write_text(text)


def test_nothing_is_limited_at_first(home: Path) -> None:
    shown = result(home, "limits")
    assert [shown[n] for n in ("max_down", "max_up", "max_connections", "upload_per_day", "ratio")] == [0] * 5
    assert set(shown["sources"].values()) == {"default"}
    assert (shown["given_today"], shown["uploads"], shown["schedule"], shown["releases"]) == (0, True, [], [])
    assert ok(home, "limits").splitlines() == [
        "max-down         none",
        "max-up           none",
        "max-connections  none",
        "upload-per-day   none",
        "ratio            none",
        "given today: 0 B",
    ]


def test_what_is_set_stays_and_the_rest_is_left_alone(home: Path) -> None:
    write(home, 'max-down = "3M"\nmax-up = "1M"\nratio = 2\n')
    assert result(home, "limits", "--max-up", "2M")["max_up"] == 2 * MIB
    shown = result(home, "limits", "--upload-per-day", "50G", "--max-connections", "60", "--ratio", "1.5")
    assert (shown["max_down"], shown["max_up"]) == (3 * MIB, 2 * MIB)
    assert (shown["upload_per_day"], shown["max_connections"], shown["ratio"]) == (50 * GIB, 60, 1.5)
    assert shown["sources"] == {
        "max_down": "config",
        "max_up": "limits",
        "max_connections": "limits",
        "upload_per_day": "limits",
        "ratio": "limits",
    }
    text = ok(home, "limits")
    assert "max-down         3.00 MiB/s  config.toml" in text
    assert "max-up           2.00 MiB/s  set by `weightshare limits`" in text
    assert result(home, "limits", "--max-up", "0")["sources"]["max_up"] == "limits"


def test_reset_takes_back_what_was_set_and_nothing_else(home: Path) -> None:
    write(home, 'max-up = "1M"\n')
    result(home, "limits", "--max-up", "2M", "--ratio", "3")
    shown = result(home, "limits", "--reset", "--max-connections", "9")
    assert (shown["max_up"], shown["ratio"], shown["max_connections"]) == (MIB, 0, 9)
    assert result(home, "limits", "--reset")["max_connections"] == 0
    assert not home.joinpath("weightshare", "limits.toml").exists()


def test_neither_environment_nor_file_is_written_down_as_set(home: Path) -> None:
    write(home, 'max-up = "1M"\n')
    done = weightshare(home, "limits", "--ratio", "2", more={"WEIGHTSHARE_MAX_DOWN": "7M"})
    assert done.returncode == 0
    assert "max" not in home.joinpath("weightshare", "limits.toml").read_text().partition("\n")[2]


def test_the_schedule_is_shown(home: Path) -> None:
    write(
        home,
        '[[schedule]]\nfrom = "00:00"\nto = "24:00"\nmax-up = "2M"\n'
        '[[schedule]]\nfrom = "23:00"\nto = "06:00"\ndays = ["mon-wed"]\nmax-up = 0\nmax-down = "1M"\n',
    )
    text = ok(home, "limits")
    assert "schedule: daily 00:00-24:00, max-up 2.00 MiB/s, now\n" in text
    assert "schedule: mon,tue,wed 23:00-06:00, max-down 1.00 MiB/s, max-up none\n" in text
    shown = result(home, "limits")
    assert shown["sources"]["max_up"] == "schedule"
    assert [window["holds"] for window in shown["schedule"]] == [True, False]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--max-up", "fast"], "is not a size"),
        (["--ratio", "-1"], "is no ratio"),
        (["--ratio", "nan"], "is no ratio"),
        (["--ratio", "twice"], "is no ratio"),
        (["--max-connections", "-3"], "-3"),
        (["--max-connections", "many"], "many"),
        (["now"], "unexpected extra argument"),
    ],
)
def test_what_it_refuses(home: Path, words: list[str], part: str) -> None:
    assert part in result(home, "limits", *words, status=2)["message"]
    assert not home.joinpath("weightshare", "limits.toml").exists()


def test_a_damaged_file_is_named_and_reset_removes_it(home: Path) -> None:
    path = home.joinpath("weightshare", "limits.toml")
    path.write_text("max-up = fast")
    answer = result(home, "limits", "--max-down", "1M", status=2)
    assert answer["path"] == str(path)
    assert "limits --reset" in answer["hint"]
    assert result(home, "limits", "--reset")["max_up"] == 0


def test_seed_and_fetch_stop_at_a_damaged_file(home: Path) -> None:
    home.joinpath("weightshare", "limits.toml").write_text("max-up = fast")
    assert "limits.toml" in result(home, "fetch", "0" * 64, "--timeout", "1", status=2)["message"]


def test_a_damaged_record_of_what_was_given_is_named(home: Path) -> None:
    home.joinpath("weightshare", "given.json").write_text("{")
    assert "given.json" in result(home, "limits", status=6)["message"]


# ---- what a call says itself


@click.command("verb", cls=options.Command)
@options.max_up
@options.ratio
@options.max_connections
@options.common
@click.pass_context
def verb(ctx: click.Context, max_up: int, ratio: float, max_connections: int) -> None:
    """Print what this call says itself."""
    click.echo(options.given(ctx, "max_up", "ratio", "max_connections"))


def test_flags_and_environment_are_said_and_the_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTSHARE_HOME", str(tmp_path))
    tmp_path.joinpath("config.toml").write_text('max-up = "1M"\nratio = 2\nmax-connections = 9\n')
    assert CliRunner().invoke(verb, [], obj=Settings()).output == "{}\n"
    monkeypatch.setenv("WEIGHTSHARE_RATIO", "1.5")
    done = CliRunner().invoke(verb, ["--max-up", "2M"], obj=Settings())
    assert done.output == f"{ {'max_up': 2 * MIB, 'ratio': 1.5} }\n"


# ---- the seeder's line


def line(limits: Effective, resting: tuple[str, ...] = ()) -> str:
    return describe(SeedStatus(1, ("a", "b"), 3, MIB, 5 * MIB, limits=limits, resting=resting))


def test_the_seeders_line_says_what_limits_it() -> None:
    assert line(Effective()) == "seeding   2 releases, 3 peers, 1.00 MiB/s up, 5.00 MiB given"
    assert "1.00 MiB/s up (capped by you: 2.00 MiB/s)," in line(Effective(max_up=2 * MIB))
    scheduled = Effective(max_up=MIB, sources={"max_up": Source.SCHEDULE})
    assert "(capped by the schedule: 1.00 MiB/s)" in line(scheduled)
    spent = Effective(max_up=MIB, budget=Budget(per_day=GIB), given_today=GIB)
    assert "(upload budget of 1.00 GiB for today used up)" in line(spent)
    twice = Effective(budget=Budget(ratio=2))
    assert line(twice, ("acme/m7b@1",)).endswith(", acme/m7b@1 rests at ratio 2")
    assert line(twice, ("a", "b")).endswith(", 2 releases rest at ratio 2")
