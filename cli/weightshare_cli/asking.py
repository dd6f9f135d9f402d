"""Whether there is somebody to ask, and what is asked about a publisher."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from weightshare.units import format_size
from weightshare_cli import output
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results import StrangerInfo


def can_ask(settings: Settings) -> bool:
    """Whether a question can be put and answered: on a terminal, by a call that wants words, not JSON."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not settings.json and not settings.quiet


def ask_about(stranger: StrangerInfo) -> bool:
    """Show a publisher that nobody here knows, and ask whether to trust it."""
    output.note("You do not know this publisher yet.")
    output.note("")
    for name, value in (
        ("fingerprint", stranger.fingerprint),
        ("says it is", stranger.claimed_name),
        ("release", stranger.release),
        ("size", f"{format_size(stranger.bytes)} in {output.count(stranger.files, 'file')}"),
        *((("a team", stranger.team),) if stranger.team else ()),
    ):
        output.note(f"  {name:<12} {value}")
    output.note("")
    output.note("Compare the fingerprint with one from a place the publisher controls, not with")
    output.note("the page that gave you the link. Nothing has been fetched but the manifest.")
    return click.confirm("Trust this key from now on?", default=False, err=True)
