"""Everything that reaches stdout, and how text from others is made safe to show.

Names, summaries and paths in a manifest are chosen by whoever made it. On a terminal an escape sequence in
one could repaint the line above it, and a bidirectional override could swap a file's ending, so whatever is
not plainly printable is shown as an escape.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weightshare.units import format_duration

if TYPE_CHECKING:
    from weightshare.api.results import MirrorVouch

WIDTH = 80
"""What the output is laid out for; a narrower terminal gets less."""


def width() -> int:
    """Columns to wrap at."""
    return max(40, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def clean(text: str, *, keep: str = "") -> str:
    r"""The text, what is not printable in it as escapes (`\x1b`, `\u202e`), but for those in `keep`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted(text: str) -> str:
    """The text as a POSIX shell takes it, control characters shown as escapes."""
    return shlex.quote(clean(text))


def columns_of(text: str) -> int:
    """Columns that a text takes on a terminal: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


class ReaderGoneError(Exception):
    """Whoever read our stdout went away; not an error of ours, and nothing more can be said there."""


def put(text: str | bytes, *, end: bool = True) -> None:
    """Write to stdout and flush. All results go through here; `text` is taken as it is.

    Raises:
        ReaderGoneError: nobody reads.
    """
    try:
        click.echo(text, nl=end)
    except BrokenPipeError as error:
        raise ReaderGoneError from error


def say(line: str = "") -> None:
    """A line of the result, on stdout; control characters in it are escaped."""
    put(clean(line))


def say_path(path: Path) -> None:
    """A path alone on a line of stdout: exact where a program reads it, escaped where a person does."""
    if sys.stdout.isatty():
        say(str(path))
        return
    put(os.fsencode(path))


def say_json(value: object) -> None:
    """One JSON object on one line of stdout, flushed."""
    put(json.dumps(value, allow_nan=False))


def tell(text: str) -> None:
    """Write to stderr. A log or terminal that went away is no reason to stop; `text` is taken as it is."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(text, err=True)


def note(line: str) -> None:
    """A line beside the result, on stderr."""
    tell(clean(line))


def warn(warnings: Iterable[str]) -> None:
    """What the user should know although it worked, on stderr."""
    from weightshare_cli.errors import paragraph

    for warning in warnings:
        tell(paragraph("warning", warning))


def vouched(mirrors: Sequence[MirrorVouch]) -> str:
    """Who vouches for the bytes: `2 mirrors vouch for the bytes: cdn, uni`."""
    names = ", ".join(mirror.name for mirror in mirrors)
    return f"{count(len(mirrors), 'mirror')} vouch{'es' if len(mirrors) == 1 else ''} for the bytes: {names}"


def facts(rows: Sequence[tuple[str, str | None]]) -> None:
    """Name and value, one pair a line, values aligned; a row without a value is left out."""
    shown = [(name, value) for name, value in rows if value]
    wide = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        say(f"  {name:<{wide}}  {value}")


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = (), indent: str = "") -> None:
    """Rows with aligned columns; those in `right` are aligned to the right, the last one is never padded."""
    rows = [[clean(cell) for cell in row] for row in rows]
    rights = set(right)
    if not rows:
        return
    wide = [max(columns_of(row[index]) for row in rows) for index in range(len(rows[0]))]
    for row in rows:
        cells = []
        for index, cell in enumerate(row):
            space = " " * (wide[index] - columns_of(cell))
            cells.append(space + cell if index in rights else cell + space)
        say((indent + "  ".join(cells)).rstrip())


def who(publisher: str, name: str | None) -> str:
    """A publisher for a reader: the pinned name if there is one, and always the fingerprint."""
    return f"{name} ({publisher})" if name else f"{publisher} (not pinned)"


def took(seconds: float) -> str:
    """A duration that was measured: tenths below ten seconds, as a reader compares short ones."""
    return f"{seconds:.1f} s" if seconds < 10 else format_duration(seconds)


def count(number: int, noun: str) -> str:
    """`1 file`, `12 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
