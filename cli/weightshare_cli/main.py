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

NAME = "weightshare"
COMPLETE = "_WEIGHTSHARE_COMPLETE"
INTERRUPTED = 130
READER_GONE = 141
"""What a shell reports for a program that died of SIGPIPE: whoever read our output went away."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    Args:
        arguments: the words after the program's name; `sys.argv` by default.
    """
    status = _main(list(sys.argv[1:] if arguments is None else arguments))
    if arguments is None and "libtorrent" in sys.modules:
        _leave(status)
    return status


def _main(words: list[str]) -> int:
    _take_signals()
    try:
        from weightshare_cli.output import ReaderGoneError
    except KeyboardInterrupt:
        return INTERRUPTED
    try:
        return _run(words)
    except ReaderGoneError:
        _silence_stdout()
        return READER_GONE
    except KeyboardInterrupt:  # before anything was under way, or a second one while the first was answered
        return INTERRUPTED


def _run(words: list[str]) -> int:
    import click

    from weightshare.errors import WeightshareError
    from weightshare_cli import errors
    from weightshare_cli.app import cli
    from weightshare_cli.options import Settings
    from weightshare_cli.output import ReaderGoneError

    if COMPLETE in os.environ:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, NAME, COMPLETE, os.environ[COMPLETE])
    settings = Settings(json=errors.wants_json(words), verbose=errors.wants_traceback(words))
    try:
        # Not click's own `main`, which takes every broken pipe for a reader that went away, and says nothing.
        with cli.make_context(NAME, words, obj=settings) as context:
            cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except WeightshareError as error:
        return errors.report(error, settings)
    except click.ClickException as error:
        return errors.report_usage(error, settings)
    except (KeyboardInterrupt, click.Abort):
        return errors.report_interrupt(settings)
    except ReaderGoneError:
        raise
    except Exception as error:  # the one place: a bug is reported as such, never as a stack of frames
        return errors.report_bug(error, settings)
    return 0


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


def _leave(status: int) -> NoReturn:
    """End the process at once: all is written and closed, and the torrent engine's destructor may take for ever."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own flush at exit does not complain."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
