"""`weightshare ls`: the releases on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from weightshare.units import format_size
from weightshare_cli import options, output, unsigned
from weightshare_cli.embargoes import describe
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results import ListedRelease

HASH = 12
"""Digits of an info-hash that are shown; as many name a release."""


@click.command(
    "ls",
    cls=options.Command,
    short_help="List the releases on this machine.",
    examples=[
        ("what is here", "weightshare ls"),
        ("with publishers and info-hashes", "weightshare ls --verbose"),
        ("paths for a script", "weightshare ls --json"),
    ],
)
@options.common
@click.pass_obj
def command(settings: Settings) -> None:
    """List the releases on this machine: those you published and those you fetched."""
    from weightshare.api.library import ls

    releases = ls(home=home_of(settings))
    if settings.json:
        listed = {"releases": [release.to_json() for release in releases]}
        arrived = unsigned.list_unsigned(settings)
        output.say_json(listed | ({"unsigned": arrived} if arrived else {}))
        return
    if settings.verbose:
        for release in releases:
            _describe(release)
    else:
        output.table([_row(release) for release in releases], right=(2,))
    any_unsigned = unsigned.show_unsigned(settings)
    if not releases and not any_unsigned and not settings.quiet:
        output.note("No releases here yet; weightshare fetch and weightshare publish bring some.")


def _row(release: ListedRelease) -> tuple[str, ...]:
    name = release.release, release.info_hash[:HASH]
    return *name, format_size(release.bytes), _state(release), str(release.path)


def _state(release: ListedRelease) -> str:
    state = release.kind if release.complete else "incomplete"
    held = ", under embargo" if release.embargo is not None else ""
    return f"{state}{held}, seeding" if release.seeding else f"{state}{held}"


def _describe(release: ListedRelease) -> None:
    output.say(release.release)
    output.facts(
        [
            ("publisher", output.who(release.publisher, release.publisher_name)),
            ("size", format_size(release.bytes)),
            ("state", _state(release)),
            ("embargo", describe(release.embargo) if release.embargo else None),
            ("info-hash v2", release.info_hash_v2),
            ("info-hash v1", release.info_hash_v1 if not release.info_hash_v2 else None),
            ("path", str(release.path)),
        ]
    )
