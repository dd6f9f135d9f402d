"""The chat, on a terminal: what is typed, what shows, and how it ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.builders_talkers import talker
from tests.cli.helpers import result, weightshare
from tests.cli.terminal import CTRL_C, CTRL_D, Terminal
from weightshare.api.running import run
from weightshare.content.home import Home

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX terminals")

PROMPT = ">>> "
ENDLESS = ("--max-new-tokens", "4000")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a chat model and a model without template are published."""
    home = tmp_path_factory.mktemp("home")
    result(home, "keys", "new", "acme")
    result(home, "publish", str(talker(home / "chatty")), "--name", "acme/chatty")
    result(home, "publish", str(talker(home / "base", template=None, context=64)), "--name", "acme/base")
    return home


def once(home: Path, release: str, prompt: str, *, system: str | None = None) -> str:
    """What the model answers to a prompt alone."""
    return run(release, prompt, home=Home(home / "weightshare"), system=system, max_new_tokens=6).text


def test_a_conversation(home: Path) -> None:
    answer = once(home, "acme/chatty", "w9 w10")
    with Terminal(home, "run", "acme/chatty", "--max-new-tokens", "6") as terminal:
        terminal.wait_for("acme/chatty@1 on cpu; /help for help, Ctrl-D ends")
        terminal.wait_for(PROMPT)
        terminal.type("w9 w10")
        assert answer in terminal.wait_for("Cut off after 6 tokens")
        terminal.wait_for(PROMPT)
        terminal.type("w9 w10")  # now with what was said before, so something else
        assert answer not in terminal.wait_for("Cut off after 6 tokens")
        terminal.wait_for(PROMPT)
        terminal.type("/clear")
        terminal.wait_for("Forgotten.")
        terminal.wait_for(PROMPT)
        terminal.type(b"\x1b[A\x1b[A\n")  # the arrow key upwards, twice: the message before the command
        assert answer in terminal.wait_for("Cut off after 6 tokens")
        terminal.wait_for(PROMPT)
        terminal.type("/frobnicate w1")
        assert "There is no /frobnicate" in terminal.wait_for(PROMPT)
        terminal.type("/help")
        shown = terminal.wait_for(PROMPT)
        assert "/system TEXT" in shown
        assert max(map(len, shown.splitlines())) <= 80
        terminal.type("")
        terminal.wait_for(PROMPT)
        terminal.type("/exit")
        assert terminal.end()[0] == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(home: Path) -> None:
    with Terminal(home, "run", "acme/chatty", *ENDLESS) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("w9")
        terminal.wait_for(" w")
        terminal.wait_for(" w")
        terminal.type(CTRL_C)
        shown = terminal.wait_for("Stopped.", limit=20)
        assert len(shown.split()) < 2000
        terminal.wait_for(PROMPT)
        terminal.type("/clear")
        terminal.wait_for(PROMPT)
        terminal.type("w9")  # and it can answer, and be stopped, again
        terminal.wait_for(" w")
        terminal.type(CTRL_C)
        terminal.wait_for("Stopped.")
        terminal.wait_for(PROMPT)
        terminal.type(CTRL_D)
        status, shown = terminal.end()
        assert status == 0
        assert "Traceback" not in shown


def test_ctrl_c_at_the_prompt_drops_the_line_and_twice_ends(home: Path) -> None:
    with Terminal(home, "run", "acme/chatty", "--max-new-tokens", "3") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(b"w9 half a li")
        terminal.wait_for("half a li")
        terminal.wait_until_it_reads()
        terminal.type(CTRL_C)
        terminal.wait_for("Ctrl-C again")
        terminal.wait_for(PROMPT)
        terminal.type("w9")  # something else between the two, so the next one is a first one
        terminal.wait_for("Cut off")
        terminal.wait_for(PROMPT)
        terminal.wait_until_it_reads()
        terminal.type(CTRL_C)
        terminal.wait_for("Ctrl-C again")
        terminal.wait_for(PROMPT)
        terminal.wait_until_it_reads()
        terminal.type(CTRL_C)
        status, shown = terminal.end()
        assert status == 130
        assert shown.strip().endswith("interrupted")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_at_the_prompt_at_once(home: Path, number: signal.Signals) -> None:
    with Terminal(home, "run", "acme/chatty") as terminal:
        terminal.wait_for(PROMPT)
        terminal.wait_until_it_reads()
        terminal.send(number)
        assert terminal.end()[0] == 130


def test_several_lines_between_quotes_and_a_system_message(home: Path) -> None:
    several = once(home, "acme/chatty", "w9\nw10\nw11")
    told = once(home, "acme/chatty", "w9", system="w50 w51")
    assert told != once(home, "acme/chatty", "w9")
    with Terminal(home, "run", "acme/chatty", "--max-new-tokens", "6") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type('"""w9')
        terminal.wait_for("... ")
        terminal.type("w10")
        terminal.wait_for("... ")
        terminal.type('w11"""')
        assert several in terminal.wait_for("Cut off")
        terminal.wait_for(PROMPT)
        terminal.type("/clear")
        terminal.wait_for(PROMPT)
        terminal.type("/system")
        terminal.wait_for("There is no system message.")
        terminal.wait_for(PROMPT)
        terminal.type("/system w50 w51")
        terminal.wait_for("next message on")
        terminal.wait_for(PROMPT)
        terminal.type("w9")
        assert told in terminal.wait_for("Cut off")


def test_without_a_template_each_text_is_continued_alone(home: Path) -> None:
    answer = once(home, "acme/base", "w9")
    with Terminal(home, "run", "acme/base", "--max-new-tokens", "6") as terminal:
        terminal.wait_for("no chat template")
        for _ in range(2):
            terminal.wait_for(PROMPT)
            terminal.type("w9")
            assert answer in terminal.wait_for("Cut off")
        terminal.wait_for(PROMPT)
        terminal.type("/system w1")
        terminal.wait_for("no place for a system")
        terminal.wait_for(PROMPT)
        terminal.type("w9 " * 70)  # more than the model can take: an error, and the chat goes on
        terminal.wait_for("70 tokens; the model takes 64")
        terminal.wait_for(PROMPT)
        terminal.type("w9")
        assert answer in terminal.wait_for("Cut off")
    refused = weightshare(home, "run", "acme/base", "w9", "--system", "w1")
    assert refused.returncode == 2
    assert b"no chat template" in refused.stderr


def test_files_that_change_under_a_chat_end_it(home: Path, tmp_path: Path) -> None:
    folder = talker(tmp_path / "model")
    result(home, "publish", str(folder), "--name", "acme/changing")
    shard = sorted(folder.glob("*.safetensors"))[0]
    with (
        shard.open("r+b") as file,  # open for writing, so there is no lease
        Terminal(home, "run", "acme/changing", "--max-new-tokens", "3") as terminal,
    ):
        terminal.wait_for(PROMPT)
        file.seek(9000)
        file.write(b"evil")
        file.flush()
        terminal.type("w9")
        status, shown = terminal.end()
        assert status == 4
        assert shard.name in shown
