"""Errors: a paragraph and a hint for people, one object for programs, the exit status, never a traceback."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import click
import pytest

from tests.cli.helpers import weightshare
from weightshare.errors import CorruptError, StalledError, UnknownPublisherError, WeightshareError
from weightshare.progress import Phase, Progress
from weightshare_cli import errors
from weightshare_cli.options import Settings


def test_an_error_is_a_wrapped_paragraph_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    error = CorruptError(
        "model-00001-of-00005.safetensors is corrupt: the bytes on the disk are not those that were signed, "
        "in two pieces.",
        hint="Fetch the release again.",
        path="model-00001-of-00005.safetensors",
        pieces=[3, 4],
    )
    assert errors.report(error, Settings()) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "error: model-00001-of-00005.safetensors is corrupt: the bytes on the disk are\n"
        "       not those that were signed, in two pieces.\n"
        "hint: Fetch the release again.\n"
    )


def test_an_error_as_json_carries_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    error = UnknownPublisherError(
        "x", hint="y", fingerprint="SHA256:abc", public_key=b"\x01\xff", path=Path("/a"), exit_code=0
    )
    assert errors.report(error, Settings(json=True)) == 3
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "error": "unknown_publisher",
        "message": "x",
        "hint": "y",
        "exit_code": 3,
        "fingerprint": "SHA256:abc",
        "public_key": "01ff",
        "path": "/a",
    }


def test_control_characters_are_shown_as_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    errors.report(WeightshareError("bad \x1b[2Jname\u202egpj.exe\x9b"), Settings())
    err = capsys.readouterr().err
    assert "\\x1b[2Jname\\u202egpj.exe\\x9b" in err
    assert "\x1b" not in err


def test_each_line_of_a_list_stays_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    errors.report(WeightshareError("Refused:\n  a.bin\n  b.pt"), Settings())
    assert capsys.readouterr().err == "error: Refused:\n         a.bin\n         b.pt\n"


def test_links_are_never_broken(capsys: pytest.CaptureFixture[str]) -> None:
    link = "magnet:?xt=urn:btmh:1220" + "ab-" * 40
    errors.report(WeightshareError(f"See {link} please"), Settings())
    assert link in capsys.readouterr().err


def test_an_interruption_says_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(verb="fetch", last=Progress(Phase.FETCHING, 512, 2048))
    assert errors.report_interrupt(settings) == 130
    assert (
        capsys.readouterr().err == "interrupted at 512 B of 2.00 KiB (fetching); the same command resumes\n"
    )


def test_a_bug_says_so_and_shows_a_traceback_only_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(settings: Settings) -> str:
        with pytest.raises(KeyError) as caught:
            raise KeyError("secret")
        assert errors.report_bug(caught.value, settings) == 1
        return capsys.readouterr().err

    assert "Traceback" not in fail(Settings())
    assert "bug in weightshare: KeyError" in fail(Settings())
    assert "Traceback" in fail(Settings(verbose=True))


def test_a_bug_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    errors.report_bug(ValueError("x"), Settings(json=True))
    assert json.loads(capsys.readouterr().out)["error"] == "bug"


def test_any_other_exception_ends_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from weightshare_cli import app, main

    @click.command("boom")
    def boom() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app.Root, "get_command", lambda *_: boom)
    assert main.main(["ls"]) == 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["fecth", "x"], "Did you mean 'fetch'?"),
        (["fetch"], "Missing argument 'SOURCE'"),
        (["fetch", "x", "--peer", "nowhere"], "is no HOST:PORT"),
        (["fetch", "x", "--peer", "::1:80"], "is no HOST:PORT"),
        (["fetch", "x", "--peer", "a:70000"], "is no port"),
        (["fetch", "x", "--max-down", "fast"], "is not a size"),
        (["fetch", "x", "--network", "moon"], "'moon' is not one of"),
        (["fetch", "x", "--timeout", "-1"], "--timeout"),
        (["publish", "/nowhere/at/all", "--name", "a/b"], "does not exist"),
        (["publish", "."], "Missing option '--name'"),
        (["--jsn", "ls"], "Did you mean '--json'?"),
    ],
)
def test_usage_errors_end_in_two_as_text_and_as_json(words: list[str], part: str, tmp_path: Path) -> None:
    text = weightshare(tmp_path, *words)
    assert text.returncode == 2
    assert text.stdout == b""
    assert part in " ".join(text.stderr.decode().split())
    assert b"Traceback" not in text.stderr

    program = weightshare(tmp_path, *words, "--json")
    assert program.returncode == 2
    value = json.loads(program.stdout)
    assert {"error": "usage", "exit_code": 2}.items() <= value.items()
    assert part in value["message"]
    assert value["hint"]
    assert program.stderr == b""


def test_json_may_stand_before_the_verb(tmp_path: Path) -> None:
    done = weightshare(tmp_path, "--json", "fetch")
    assert json.loads(done.stdout)["exit_code"] == 2


def test_after_two_dashes_json_is_only_a_word(tmp_path: Path) -> None:
    done = weightshare(tmp_path, "fetch", "--nonsense", "--", "--json")
    assert done.stdout == b""
    assert done.stderr.startswith(b"error: ")


def test_stalled_is_a_network_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert errors.report(StalledError("Nothing came for 300 s."), Settings()) == 5


def test_colour_only_on_a_terminal(tmp_path: Path) -> None:
    done = weightshare(tmp_path, "fetch", more={"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"})
    assert b"\x1b" not in done.stderr
    assert isinstance(done, subprocess.CompletedProcess)
