"""`weightshare rm`: take a release away."""

from __future__ import annotations

import click

from weightshare.units import format_size
from weightshare_cli import options, output, unsigned
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings


@click.command(
    "rm",
    cls=options.Command,
    short_help="Remove a release from this machine.",
    examples=[("remove a fetched release", "weightshare rm acme/m7b@1")],
)
@click.argument("release")
@options.common
@click.pass_obj
def command(settings: Settings, release: str) -> None:
    """Remove RELEASE from this machine.

    Fetched files go, unless another release uses them. A folder you published is only forgotten: its files
    are yours and stay.
    """
    from weightshare.api.library import rm

    if unsigned.remove(settings, release):
        return
    removed = rm(release, home=home_of(settings))
    if settings.json:
        output.say_json(removed.to_json())
        return
    kept = f", {output.count(removed.kept, 'file')} kept" if removed.kept else ""
    output.say(
        f"removed {removed.release}: {output.count(removed.deleted, 'file')} deleted{kept}, "
        f"{format_size(removed.freed)} freed"
    )
