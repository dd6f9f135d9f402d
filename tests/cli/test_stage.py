"""The demo's stage: what it starts it ends, what it makes it removes, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.helpers import environment
from weightshare_cli.demonstration.acts import forge, lay_out
from weightshare_cli.demonstration.stage import DemoError, Running, Stage, shorten


def test_commands_are_shown_as_typed_and_their_output_below() -> None:
    shown: list[str] = []
    with Stage(shown.append) as stage:
        stage.heading(1, 8, "A key", "Why so.")
        printed = stage.weightshare("keys", "new", "acme", "--home", "a home")
        assert stage.folder.joinpath("a home", "keys", "acme").is_file()
    assert printed.startswith("SHA256:")
    assert shown[1].startswith("── 1 of 8 · A key ──")
    assert len(shown[1]) == 79
    assert shown[2:5] == ["Why so.", "", "  $ weightshare keys new acme --home 'a home'"]
    assert shown[5] == f"  {printed.splitlines()[0]}"
    assert max(map(len, shown)) <= 79
    assert not stage.folder.exists()


def test_long_commands_are_broken_between_options() -> None:
    shown: list[str] = []
    with Stage(shown.append) as stage:
        stage.prompt(["publish", "a" * 36, "--name", "acme/m7b", "--license", "Apache-2.0", "--v2-only"])
    assert shown == [
        f"  $ weightshare publish {'a' * 36} --name acme/m7b \\",
        "      --license Apache-2.0 --v2-only",
    ]


def test_the_folder_can_be_kept() -> None:
    with Stage(lambda _: None, keep=True) as stage:
        pass
    stage.folder.rmdir()


def test_a_status_that_was_not_expected_is_an_error() -> None:
    with Stage(lambda _: None) as stage:
        stage.weightshare("keys", "show", "nobody", "--home", "h", expect=6)
        with pytest.raises(DemoError, match="ended with 6; expected 0"):
            stage.weightshare("keys", "show", "nobody", "--home", "h")


def test_what_goes_on_is_ended_with_all_it_started(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE); "
    )
    script += "print('ready', flush=True); input()"
    environment = dict(os.environ)
    running = Running([sys.executable, "-c", script], tmp_path, environment)
    assert next(running.lines(20)) == "ready"
    group = running._process.pid
    running.end()
    assert running._process.poll() is not None
    if os.name == "posix":
        assert _gone(group)


def _gone(group: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
    return False


def test_a_process_that_will_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from weightshare_cli.demonstration import stage

    monkeypatch.setattr(stage, "GRACE", 0.5)
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)\nwhile 1: pass"
    running = Running([sys.executable, "-c", script], tmp_path, dict(os.environ))
    assert next(running.lines(20)) == "ready"
    running.end()
    assert running._process.returncode == -signal.SIGKILL


def test_read_only_leftovers_are_removed() -> None:
    with Stage(lambda _: None) as stage:
        folder = stage.folder / "ro"
        folder.mkdir()
        folder.joinpath("file").write_text("x")
        folder.joinpath("file").chmod(0o444)
        folder.chmod(0o555)
    assert not stage.folder.exists()


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """The first act is under way: the model is being prepared in a process of its own."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = environment(tmp_path, {"TMPDIR": str(scratch), "XDG_CACHE_HOME": str(tmp_path / "cache")})
    with subprocess.Popen(
        [sys.executable, "-m", "weightshare_cli", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        text=True,
    ) as process:
        assert process.stdout is not None
        while "1 of 8" not in process.stdout.readline():
            pass
        while not list(scratch.glob("weightshare-demo-*")):
            pass
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert list(scratch.iterdir()) == []


def test_links_are_shortened_but_keep_the_peer() -> None:
    link = "magnet:?xt=urn:btmh:1220" + "ab" * 32 + "&xt=urn:btih:00&dn=x&x.pe=127.0.0.1:9"
    assert shorten(link) == "magnet:?xt=urn:btmh:1220abab…&…&x.pe=127.0.0.1:9"
    assert shorten("acme/m7b") == "acme/m7b"


def test_the_forgery_differs_in_one_byte_and_leaves_the_original_alone(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    source.joinpath("a.safetensors").write_bytes(b"abc")
    source.joinpath("b.safetensors").write_bytes(b"abc")
    source.joinpath("weightshare.json").write_text("{}")
    lay_out(source, tmp_path / "copy")
    forge(tmp_path / "copy")
    assert {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()} == {
        "a.safetensors": b"abc",
        "b.safetensors": b"abb",
    }
    assert source.joinpath("b.safetensors").read_bytes() == b"abc"
