"""The guides are true: every command in them, typed in order by the people they name, prints what they show."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from tests.cli.helpers import ROOT

spec = importlib.util.spec_from_file_location("guides", ROOT / "docs" / "guides.py")
assert spec is not None
assert spec.loader is not None
guides = importlib.util.module_from_spec(spec)
sys.modules["guides"] = guides  # dataclasses look their module up
spec.loader.exec_module(guides)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen, of OpenSSH")
@pytest.mark.parametrize("guide", guides.GUIDES, ids=lambda guide: guide.name)
def test_a_guide_shows_what_its_commands_print(guide: Path) -> None:
    text = guide.read_text("utf-8")
    assert guides.settled(guides.run(text)) == guides.settled(text)


def test_what_differs_from_run_to_run_is_told_apart() -> None:
    one, two = ("SHA256:" + letter * 43 for letter in "AB")
    shown = f"Text.\n```console\na$ x\n{one} {two} {one} in 0.1 s\n```\n"
    assert guides.settled(shown) == guides.settled(
        shown.replace("A" * 43, "C" * 43).replace("0.1 s", "2.5 s")
    )
    assert guides.settled(shown) != guides.settled(shown.replace(f"{one} in", f"{two} in"))
    assert guides.settled(shown) != guides.settled(shown.replace("Text", "Test"))


def test_a_command_that_fails_is_seen_to_fail() -> None:
    shown = "```console\na$ echo hello; exit 3\n```\n"
    assert guides.run(shown) == "```console\na$ echo hello; exit 3\nhello\n[exit 3]\n```\n"


def test_a_command_that_is_given_what_an_earlier_one_printed_is_given_this_runs() -> None:
    old = "ab" * 20
    make = "head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \\n'; echo"
    shown = f"```console\na$ {make}\n{old}\na$ echo 'x:{old}'\nx:{old}\n```\n"
    fresh = guides.run(shown)
    assert old not in fresh
    assert guides.settled(fresh) == guides.settled(shown)


def test_a_command_in_the_background_goes_on_until_it_is_ended() -> None:
    begin = "a$ sh -c 'echo $$ >pid; echo begun; exec sleep 600' &\nbegun\n"
    see = "a$ kill -0 $(cat pid) && echo alive\nalive\n"
    gone = "a$ kill %1\na$ kill -0 $(cat pid) 2>/dev/null || echo gone\ngone\n"
    shown = f"```console\n{begin}{see}{gone}a$ kill %1\nbash: kill: %1: no such job\n[exit 1]\n```\n"
    assert guides.run(shown) == shown


def test_ports_are_free_ones_and_are_shown_as_the_guide_names_them() -> None:
    shown = "```console\na$ echo --port 6881; echo 16881 >port; echo 127.0.0.1:6881\n--port 6881\n127.0.0.1:6881\n```\n"
    assert guides.run(shown) == shown
    assert guides._free_ports(shown)["6881"] != "6881"
