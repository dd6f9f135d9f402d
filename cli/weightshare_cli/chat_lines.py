r"""Messages as they are typed: one line, or several between lines of three quotes.

GNU readline or libedit, where Python has one, edits lines and brings earlier ones back by the arrow keys; a paste of
several lines comes as one message. What was typed is kept in memory alone and never written to the disk.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

PROMPT = ">>> "
GOES_ON = "... "
QUOTES = '"""'


class Lines:
    """Reads messages from the terminal.

    Args:
        words: what Tab completes at the start of a line.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._edits = sys.stdin.isatty() and sys.stdout.isatty() and _editing(words)

    def message(self) -> str | None:
        """The next message; None at the end of input.

        Raises:
            KeyboardInterrupt: as of the signal's handler; what was typed is lost.
        """
        line = self._line(PROMPT)
        if line is None or not line.lstrip().startswith(QUOTES):
            return line
        lines = [line.lstrip().removeprefix(QUOTES)]
        while not lines[-1].rstrip().endswith(QUOTES):
            more = self._line(GOES_ON)
            if more is None:
                return None
            lines.append(more)
        lines[-1] = lines[-1].rstrip().removesuffix(QUOTES)
        return "\n".join(lines).strip("\n")

    def _line(self, prompt: str) -> str | None:
        try:
            if self._edits:
                return input(prompt)  # which hands the prompt to readline, so that it can redraw the line
            click.echo(prompt, nl=False, err=True)
            line = sys.stdin.readline()
        except EOFError:
            line = ""
        if line:
            return line.removesuffix("\n")
        click.echo(err=True)
        return None


def _editing(words: Sequence[str]) -> bool:
    """Set up line editing; false where Python has none."""
    try:
        import readline
    except ImportError:
        return False

    def complete(text: str, state: int) -> str | None:
        fitting = [word for word in words if text and word.startswith(text)]
        return fitting[state] if state < len(fitting) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n")
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    return True
