"""The entry: signals, the one `try`, the exit status.

Nothing is imported at the top that is not needed to get going: worker processes that hash import this
module again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

READER_GONE = 141
"""What a shell reports for a program that died of SIGPIPE: whoever read our output went away."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    Args:
        arguments: the words after the program's name; `sys.argv` by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _take_signals()
    try:
        status = _run(words, from_shell=arguments is None)
        sys.stdout.flush()
    except BrokenPipeError:
        status = READER_GONE
    if status == READER_GONE:
        _silence_stdout()
    return status


def _run(words: list[str], *, from_shell: bool) -> int:
    import click

    from weightshare.errors import WeightshareError
    from weightshare_cli import errors
    from weightshare_cli.app import cli
    from weightshare_cli.options import Settings

    settings = Settings(json=errors.wants_json(words), verbose=errors.wants_traceback(words))
    try:
        # None makes click expand `*` and `~` on Windows, where no shell does; only right for a shell's words.
        outcome = cli.main(
            None if from_shell else words, prog_name="weightshare", standalone_mode=False, obj=settings
        )
    except WeightshareError as error:
        return errors.report(error, settings)
    except click.ClickException as error:
        return errors.report_usage(error, settings)
    except (KeyboardInterrupt, click.Abort):
        return errors.report_interrupt(settings)
    except BrokenPipeError:
        return READER_GONE
    except Exception as error:  # the one place: a bug is reported as such, never as a stack of frames
        return errors.report_bug(error, settings)
    return outcome if isinstance(outcome, int) else 0


def _take_signals() -> None:
    """End on SIGTERM and SIGHUP as on Ctrl-C, with state saved and children ended; leave what `nohup` set."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is None or signal.getsignal(number) is not signal.SIG_DFL:
            continue
        with contextlib.suppress(
            ValueError
        ):  # not the main thread: somebody else's process, somebody else's signals
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own flush at exit does not complain."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
