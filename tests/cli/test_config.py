"""Where a value comes from: flag, else environment, else config.toml, else default."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.cli.helpers import result, weightshare
from weightshare.errors import UsageError
from weightshare_cli import config, options
from weightshare_cli.options import Settings


@click.group()
@options.common
def root() -> None:
    """As the real one, with one verb."""


@root.command("verb", cls=options.Command)
@options.network
@options.max_down
@options.port
@options.peers
@options.common
@click.pass_obj
def verb(
    settings: Settings, network: str, max_down: int, port: int | None, peers: tuple[tuple[str, int], ...]
) -> None:
    """Print what arrived."""
    click.echo(f"{settings.json} {settings.quiet} {settings.verbose} {settings.home}")
    click.echo(f"{network} {max_down} {port} {peers}")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEIGHTSHARE_HOME", str(tmp_path))
    for name in ("NETWORK", "MAX_DOWN", "PORT"):
        monkeypatch.delenv(f"WEIGHTSHARE_{name}", raising=False)
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(root, list(words), obj=Settings())


def printed(*words: str) -> list[str]:
    done = call(*words)
    assert done.exception is None, done.output
    return done.output.splitlines()


def test_each_source_beats_the_next(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed("verb")[1] == "public 0 None ()"
    home.joinpath("config.toml").write_text('network = "lan"\nmax-down = "2K"\nport = 7000\n')
    assert printed("verb")[1] == "lan 2048 7000 ()"
    monkeypatch.setenv("WEIGHTSHARE_MAX_DOWN", "3K")
    monkeypatch.setenv("WEIGHTSHARE_NETWORK", "local")
    assert printed("verb")[1] == "local 3072 7000 ()"
    assert printed("verb", "--max-down", "4K", "--port", "0")[1] == "local 4096 0 ()"


def test_common_options_on_either_side_of_the_verb(home: Path) -> None:
    other = home / "other"
    assert printed("--json", "-q", "--home", str(other), "verb")[0] == f"True True False {other}"
    assert printed("verb", "--json", "-q", "--home", str(other))[0] == f"True True False {other}"
    assert (
        printed("--home", str(home / "a"), "verb", "-v", "--home", str(other))[0]
        == f"False False True {other}"
    )
    assert printed("verb")[0] == f"False False False {home}"


def test_the_file_lies_in_the_home_that_was_named(home: Path) -> None:
    other = home / "other"
    other.mkdir()
    home.joinpath("config.toml").write_text("port = 1\n")
    other.joinpath("config.toml").write_text("port = 2\n")
    assert "1" in printed("verb")[1].split()
    assert "2" in printed("verb", "--home", str(other))[1].split()
    assert "2" in printed("--home", str(other), "verb")[1].split()


def test_peers(home: Path) -> None:
    assert (
        "(('a.example', 1), ('::1', 65535))"
        in printed("verb", "--peer", "a.example:1", "--peer", "[::1]:65535")[1]
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("allow-pickle = true", "no setting"),
        ('trust = ["SHA256:x"]', "no setting"),
        ("max_down = 3", "no setting"),
        ("port = true", "expected a number"),
        ('port = "6881"', "expected a number"),
        ("network = 3", "expected text"),
        ("network = ", "not valid TOML"),
    ],
)
def test_what_the_file_must_not_say(home: Path, text: str, part: str) -> None:
    home.joinpath("config.toml").write_text(text)
    with pytest.raises(UsageError, match=part) as caught:
        config.read(home / "config.toml")
    assert "config.toml" in caught.value.message


def test_a_wrong_value_in_the_file_is_a_usage_error(home: Path) -> None:
    home.joinpath("config.toml").write_text('network = "moon"')
    assert call("verb").exit_code == 2


def test_the_program_stops_at_a_bad_file(tmp_path: Path) -> None:
    tmp_path.joinpath("weightshare").mkdir()
    tmp_path.joinpath("weightshare", "config.toml").write_text("speed = 3\n")
    assert weightshare(tmp_path, "ls").returncode == 2
    answer = result(tmp_path, "ls", status=2)
    assert answer["path"].endswith("config.toml")
    assert "max-down" in answer["hint"]


def test_nodes_of_a_dht_are_one_line_of_text(tmp_path: Path) -> None:
    words = ("fetch", "ab" * 32, "--timeout", "1")
    refused = result(tmp_path, *words, "--dht-nodes", "10.0.0.5:6881, nowhere", status=2)
    assert "nowhere" in refused["message"]
    (tmp_path / "weightshare").mkdir(exist_ok=True)
    (tmp_path / "weightshare" / "config.toml").write_text('dht-nodes = "10.0.0.5:0"\n')
    assert "'0' is no port" in result(tmp_path, *words, status=2)["message"]
    (tmp_path / "weightshare" / "config.toml").write_text('dht-nodes = "10.0.0.5:6881,[fd00::5]:6881"\n')
    assert result(tmp_path, *words, status=5)["error"] == "no_peers"
