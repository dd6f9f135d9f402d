"""Errors as a person and as a program read them; used by `main` alone."""

from __future__ import annotations

import math
import os
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from weightshare.errors import WeightshareError
from weightshare_cli import output
from weightshare_cli.options import Settings

INTERRUPTED = 130


def wants_json(words: Sequence[str]) -> bool:
    """Whether the line asks for JSON; looked up here, since one that does not parse must too."""
    return "--json" in _before_dashes(words)


def wants_traceback(words: Sequence[str]) -> bool:
    """Whether the line asks for tracebacks, for bugs that happen before the options are read."""
    return bool({"--verbose", "-v"} & set(_before_dashes(words)))


def _before_dashes(words: Sequence[str]) -> Sequence[str]:
    return words[: words.index("--")] if "--" in words else words


def report(error: WeightshareError, settings: Settings) -> int:
    """Print an error that weightshare raised on purpose; return its exit status."""
    return _print(error.kind, error.message, error.hint, error.exit_code, settings, error.facts)


def report_usage(error: click.ClickException, settings: Settings) -> int:
    """Print what click refused; always exit 2, as it is the call that is wrong."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return 2
    path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "weightshare"
    message = error.format_message()
    return _print("usage", message, f"{path} --help lists what it takes.", 2, settings, {})


def report_interrupt(settings: Settings) -> int:
    """Print that the user stopped it, how far it came, and what to do to go on."""
    hint = ""
    if settings.verb == "fetch":
        hint = "The same command resumes."
    message = f"interrupted{_how_far(settings)}"
    if settings.json:
        return _print("interrupted", message + ".", hint, INTERRUPTED, settings, {})
    start = "\n" if sys.stderr.isatty() else ""  # the terminal wrote ^C
    output.tell(start + (f"{message}; the same command resumes" if hint else message))
    return INTERRUPTED


def _how_far(settings: Settings) -> str:
    from weightshare.units import format_size

    last = settings.last
    if last is None or not last.total:
        return ""
    return f" at {format_size(last.done)} of {format_size(last.total)} ({last.phase})"


def report_bug(error: Exception, settings: Settings) -> int:
    """Print that this is our fault and how to report it; the traceback only on request."""
    import platform

    from weightshare.version import __version__

    if settings.verbose:
        import traceback

        output.tell("".join(traceback.format_exception(error)).rstrip())
    system = f"weightshare {__version__}, Python {platform.python_version()}, {platform.system()}"
    again = "the traceback above" if settings.verbose else "what the same command prints with --verbose"
    return _print(
        "bug",
        f"This is a bug in weightshare: {type(error).__name__}: {error}",
        f"Please report it with the command you typed, {again}, and: {system}.",
        1,
        settings,
        {},
    )


def _print(
    kind: str, message: str, hint: str, code: int, settings: Settings, more: Mapping[str, object]
) -> int:
    if settings.json:
        shown = {str(name): plain(value) for name, value in more.items()}
        output.say_json({**shown, "error": kind, "message": message, "hint": hint, "exit_code": code})
        return code
    output.tell(paragraph("error", message, colour="red"))
    if hint:
        output.tell(paragraph("hint", hint, colour="cyan"))
    return code


def paragraph(label: str, text: str, *, colour: str = "yellow") -> str:
    """`label: text`, wrapped, later lines indented; words such as paths and links are never broken."""
    indent = " " * (len(label) + 2)
    lines: list[str] = []
    for line in output.clean(text, keep="\n").split("\n"):
        lead = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(
            line.strip(),
            output.width(),
            initial_indent=indent + lead,
            subsequent_indent=indent + lead,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    head = click.style(f"{label}:", fg=colour, bold=True) if _colours() else f"{label}:"
    return "\n".join([f"{head} {lines[0].lstrip()}", *lines[1:]])


def _colours() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def plain(value: object) -> object:
    """A fact as JSON has it: bytes as hex, paths as text, anything else unknown as its text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)
