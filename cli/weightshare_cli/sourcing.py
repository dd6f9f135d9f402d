"""Whom a fetch may ask: the option `--sources`, and what is said of who gave what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from weightshare.errors import UsageError
from weightshare.units import format_size
from weightshare_cli import options as shared
from weightshare_cli.output import clean

if TYPE_CHECKING:
    from weightshare.api.results import Fetched


def _read(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    from weightshare.api.servers import Sources

    try:
        Sources.read(value)
    except UsageError as error:
        raise click.BadParameter(f"{error.message} {error.hint}", ctx, parameter) from error
    return value


options = shared.shared(
    "--sources",
    setting="sources",
    callback=_read,
    metavar="swarm,hub",
    default="swarm,hub",
    show_default=True,
    help_text="Ask peers (swarm), the Hub and web seeds (hub), or both: then peers first, and the others while peers "
    "are slow or lack something.",
)
"""The option `--sources`; the command is called with `sources: str`, as `fetch` takes it."""


def came(fetched: Fetched) -> list[str]:
    """Where the bytes came from, a phrase each, as far as any did."""
    taken = fetched.received
    rows = [(taken.swarm, "from peers")]
    rows += [
        (size, "from the Hub" if name == "hub" else f"from {clean(name)}")
        for name, size in taken.sources.items()
    ]
    rows.append((taken.reused, "already here"))
    return [f"{format_size(size)} {words}" for size, words in rows if size]
