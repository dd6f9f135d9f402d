"""Texts by strangers that would drive the reader's terminal: shown as escapes, in pipes and on a terminal.

The sequence sets the window's title and clears the screen; in raw form neither byte of it may come out anywhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.attacks.arena import Arena
from tests.attacks.forge import CONFIG, Bait, Info, Release, Statement, put, smuggled, take
from tests.cli.helpers import COMMAND, environment

SEQUENCE = "\x1b]0;OWNED\x07\x1b[2J"
SHOWN = b"OWNED"
RAW = (b"\x1b]0", b"\x1b[2J", b"\x07", b"\xc2\x9b")
OVERRIDE = "\u202e"


def _signed_with(key: str, text: str) -> Callable[[Release], Bait]:
    def make(honest: Release) -> Bait:
        def change(statement: Statement) -> None:
            statement["predicate"]["model"][key] = text

        return honest.bait(envelope=honest.restated(change))

    return make


def _file_named(honest: Release) -> Bait:
    return smuggled(honest, CONFIG, (f"{SEQUENCE}.json".encode(),))


def _torrent_named(honest: Release) -> Bait:
    return honest.bait(lambda info: info.update({b"name": SEQUENCE.encode()}))


def _extra_file(honest: Release) -> Bait:
    def change(info: Info) -> None:
        put(info, (b"OWNED\xc2\x9b2J",), take(info, CONFIG))

    return honest.bait(change)


HOSTILE = [
    pytest.param(_signed_with("summary", SEQUENCE), id="summary"),
    pytest.param(_signed_with("id", f"acme/{SEQUENCE}"), id="model"),
    pytest.param(_signed_with("summary", f"OWNED{OVERRIDE}gpj.exe"), id="right-to-left-summary"),
    pytest.param(_file_named, id="file-name"),
    pytest.param(_extra_file, id="file-name-c1"),
    pytest.param(_torrent_named, id="torrent-name"),
]


def _assert_tame(output: bytes) -> None:
    for raw in RAW:
        assert raw not in output, output
    assert OVERRIDE.encode() not in output


@pytest.mark.parametrize("make", HOSTILE)
def test_what_a_release_says(arena: Arena, honest: Release, make: Callable[[Release], Bait]) -> None:
    outcome = arena.fetch(make(honest), json=False)
    assert outcome.code == 4, outcome
    _assert_tame(outcome.stdout + outcome.stderr)
    assert b"error:" in outcome.stderr
    assert SHOWN in outcome.stderr, "it is named, so that the user sees what was refused"


def test_what_the_link_says(arena: Arena, honest: Release) -> None:
    source = honest.bait().magnet() + f"&dn={quote(SEQUENCE)}&tr={quote('udp://127.0.0.1:1/' + SEQUENCE)}"
    outcome = arena.fetch(honest.bait(), source=source, json=False)
    assert outcome.code == 2, outcome
    _assert_tame(outcome.stdout + outcome.stderr)
    assert SHOWN in outcome.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal(arena: Arena, honest: Release) -> None:
    """With colours and bars, which are sequences too: none of those that the release brought."""
    bait = _signed_with("summary", SEQUENCE)(honest)
    assert arena.seeder.serve(bait)
    ours, theirs = os.openpty()
    source = f"{bait.magnet()}&dn={quote(SEQUENCE)}"
    words = ["fetch", source, str(arena.victim.destination), "--peer", f"127.0.0.1:{arena.seeder.port}"]
    with subprocess.Popen(
        [*COMMAND, *words, "--timeout", "20"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(arena.victim.root / "home", {"TERM": "xterm-256color"}),
    ) as process:
        os.close(theirs)
        shown = _drained(ours)
        assert process.wait(timeout=10) == 4, shown
    assert SHOWN in shown
    assert b"\x1b[" in shown, "a terminal gets colours, or this test would prove nothing"
    for raw in (b"\x1b]0", b"\x1b[2J", b"\x07"):
        assert raw not in shown


def _drained(terminal: int) -> bytes:
    """All that comes out of a pseudo-terminal until the other end closes."""
    shown = bytearray()
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # EIO: nobody holds the other end any more
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    return bytes(shown)
