"""The recipes for clusters: their files are well formed, and their commands are ones that the program takes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from tests.cli.helpers import ROOT
from weightshare_cli.app import cli

FOLDER = ROOT / "docs" / "clusters"
FILES = sorted(path for path in (*FOLDER.iterdir(), FOLDER.with_suffix(".md")))
COMMAND = re.compile(r"^[^#`]*?(?:^|[\s(])weightshare ((?:fetch|seed|trust)\s(?:[^\n#)\\]|\\\n)*)", re.M)
FINGERPRINT = "SHA256:" + "A" * 43


def parsed(verb: str, words: list[str]) -> click.Context:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    return command.make_context(verb, words)


def commands_of(path: Path) -> list[list[str]]:
    text = path.read_text("utf-8").replace("SHA256:…", FINGERPRINT).replace("\\\n", " ")
    return [shlex.split(match[1]) for match in COMMAND.finditer(text)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_is_one_that_the_program_takes(path: Path) -> None:
    commands = commands_of(path)
    assert commands
    for verb, *words in commands:
        assert parsed(verb, words).params


def test_an_option_that_does_not_exist_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nweightshare fetch x --seed-four 3m\n```\n")
    [[verb, *words]] = commands_of(page)
    with pytest.raises(click.NoSuchOption, match="seed-four"):
        parsed(verb, words)


def test_the_daemon_set_is_one() -> None:
    found = yaml.safe_load((FOLDER / "daemonset.yaml").read_text("utf-8"))
    template = found["spec"]["template"]
    assert found["kind"] == "DaemonSet"
    assert template["metadata"]["labels"] == found["spec"]["selector"]["matchLabels"]
    mounted = {mount["name"] for mount in template["spec"]["containers"][0]["volumeMounts"]}
    assert mounted == {volume["name"] for volume in template["spec"]["volumes"]}


def test_the_batch_script_is_one() -> None:
    script = FOLDER / "m7b.sbatch"
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    inner = script.read_text("utf-8").split("bash -c '\n")[1].rpartition("'")[0]
    assert subprocess.run(["bash", "-n", "-c", inner], check=False).returncode == 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("name", ["weightshare-seed.service", "weightshare-fetch@.service"])
def test_the_units_are_sound(tmp_path: Path, name: str) -> None:
    unit = tmp_path / name.replace("@", "@m7b")
    unit.write_text((FOLDER / name).read_text("utf-8"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert unit.name not in done.stderr, done.stderr
