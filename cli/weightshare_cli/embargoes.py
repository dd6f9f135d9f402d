"""Embargoes on the command line: who may have a release that is not announced, and its opening."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weightshare_cli import output
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results import Published
    from weightshare.content.embargoes import Embargo


def describe(embargo: Embargo) -> str:
    """Who alone may have it, and until when."""
    who = ", ".join(embargo.allow) or "nobody"
    until = f" until {local_time(embargo.opens)}" if embargo.opens else ""
    return f"only for {who}{until}"


def local_time(seconds: int) -> str:
    """A time in Unix seconds as this machine's clock shows it."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="minutes")


def time_of(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int:
    """A time in ISO 8601 in Unix seconds; without an offset it is this machine's. 0 for none."""
    if value is None:
        return 0
    try:
        return int(datetime.fromisoformat(value).astimezone().timestamp())
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{value!r} is no time such as 2026-12-01T16:00Z or 2026-12-01T17:00+01:00.", ctx, parameter
        ) from error


def open_release(
    settings: Settings, source: str, *, trackers: Sequence[str], web_seeds: Sequence[str]
) -> None:
    """`publish --announce`: end an embargo, and print the link to post."""
    from weightshare.api.launching.embargo import announce

    opened = announce(source, trackers=trackers, web_seeds=web_seeds, home=home_of(settings))
    if settings.json:
        output.say_json(opened.to_json())
        return
    if not opened.was_closed:
        output.note(f"{opened.release} was under no embargo")
    output.say(f"{opened.release} is open to everybody")
    output.say()
    output.say(output.quoted(opened.magnet))
    if not settings.quiet and not opened.seeding:
        output.note("")
        output.note("It is announced by whoever serves it, and nobody does here:")
        output.note(f"  weightshare seed {output.quoted(opened.release)}")


def explain(made: Published, out: Path | None) -> None:
    """What the maintainer of a release under embargo has to know, on stderr."""
    release = output.quoted(made.release)
    output.note("")
    output.note("This link is for your mirrors: it names no tracker, and fetching it announces nothing.")
    output.note("  weightshare fetch 'magnet:?xt=…' --peer YOUR-HOST:PORT")
    output.note(f"  weightshare seed {release}")
    output.note("On the day, here and on each mirror:")
    output.note(f"  weightshare publish --announce {release}")
    if out is not None:
        output.note(f"What is in {out} is for the day: its .torrent and .magnet name your trackers.")
