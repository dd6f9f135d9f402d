"""`fetch --scan`: look in other programs' folders for files of the release before peers are asked for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from weightshare.errors import UsageError
from weightshare_cli import options
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.gating import OnPassed
    from weightshare.progress import Observer

F = TypeVar("F", bound=Callable[..., Any])


def option(function: F) -> F:
    """The option; the command is called with `scan: bool`."""
    return click.option(
        "--scan",
        cls=options.Option,
        is_flag=True,
        help="First look where Ollama, LM Studio and the others keep models, as weightshare scan does, and take "
        "what is there.",
    )(function)


def check(scan: bool, *, running: bool, dry_run: bool) -> None:
    """Refuse what does not go together.

    Raises:
        UsageError: looking hashes files, and a dry run does not; and a load cannot begin before the look is over.
    """
    if scan and (running or dry_run):
        raise UsageError(
            f"--scan does not go with {'--run' if running else '--dry-run'}.",
            hint="Run `weightshare scan` first: fetch takes what it has found.",
        )


def first(settings: Settings, observe: Observer, then: OnPassed | None) -> OnPassed:
    """What `fetch` calls once the release is proven to be its publisher's: the look, and then `then`."""
    from weightshare.api.scanning import scan_for

    def look(verified: Any) -> None:
        if then is not None:
            then(verified)
        scan_for(verified, home=home_of(settings), observe=observe)

    return look
