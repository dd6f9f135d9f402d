"""What is printed: safe to show, aligned, exact where a program reads it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from weightshare_cli import output
from weightshare_cli.commands.verify import runs


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("modèle 模型 ☃", "modèle 模型 ☃"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
    ],
)
def test_clean(text: str, shown: str) -> None:
    assert output.clean(text) == shown


def test_clean_keeps_what_it_is_told_to() -> None:
    assert output.clean("a\n\x07", keep="\n") == "a\n\\x07"


def test_magnets_survive_a_shell() -> None:
    magnet = "magnet:?xt=urn:btmh:1220ab&dn=it's&tr=http://t/*?a"
    assert shlex.split(output.quoted(magnet)) == [magnet]


def test_a_table_lines_up_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    output.table([("模型", "1 B", "x"), ("ab\x1b", "12 KiB", "y")], right=(1,))
    assert capsys.readouterr().out == "模型       1 B  x\nab\\x1b  12 KiB  y\n"


def test_facts_leave_out_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    output.facts([("a", "1"), ("long", None), ("bc", "2")])
    assert capsys.readouterr().out == "  a   1\n  bc  2\n"


def test_a_path_is_exact_when_a_program_reads_it(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output.say_path(Path("/tmp/a\udcff b"))
    assert capfdbinary.readouterr().out == b"/tmp/a\xff b\n"


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([4], "piece 4"),
        ([9, 3, 7, 8], "pieces 3, 7-9"),
        (range(0, 40, 2), "pieces 0, 2, 4, 6, 8, 10, 12, 14, … 20 in all"),
    ],
)
def test_runs_of_pieces(pieces: list[int], text: str) -> None:
    assert runs(pieces) == text
