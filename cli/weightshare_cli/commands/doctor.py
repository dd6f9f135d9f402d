"""`weightshare doctor`: what works and what does not, with what to do about it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from weightshare_cli import launching, options, output
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings
from weightshare_cli.rehearsing import Rehearsal, texts
from weightshare_cli.sources import given

if TYPE_CHECKING:
    from weightshare.api.doctoring.checks import Check

NAME = 12
"""Columns of a check's name."""
MARK = 6
"""Columns of how it ended."""


@click.command(
    "doctor",
    cls=options.Command,
    short_help="Find out what works: this machine, a link, a release.",
    examples=[
        ("this machine: ports, DHT, disk, memory, GPU", "weightshare doctor"),
        ("a link, part by part, and each of its trackers", "weightshare doctor 'magnet:?xt=…'"),
        ("a release you serve", "weightshare doctor acme/m7b"),
        ("for a script", "weightshare doctor acme/m7b --json"),
    ],
)
@click.argument("source", required=False, default="")
@launching.trying
@options.network
@options.peers
@options.dht_nodes
@options.port
@options.common
@click.pass_obj
def command(
    settings: Settings,
    source: str,
    network: str,
    peers: tuple[tuple[str, int], ...],
    dht_nodes: tuple[tuple[str, int], ...],
    port: int | None,
    rehearsal: Rehearsal,
) -> None:
    """Find out what works: this machine, a link or a release.

    Without SOURCE this machine is looked at. A link is repaired where that can be done and explained part by
    part, and each tracker, web seed and peer that it names is asked; a release on this machine is checked as
    others would meet it. Each check is one of ok, warn, fail and skip. Exit status: 0 if none failed, else
    that of the first that did. --network says how far the questions go; what lies further is skipped.
    """
    from weightshare.api.doctoring.checks import Asked, status_of
    from weightshare.api.doctoring.diagnosing import examine, kind_of
    from weightshare.swarm.networks import Network

    made: list[Check] = []
    with given(source) as text:
        asked = Asked(
            text, home_of(settings), Network(network), port, peers, dht_nodes, mirrors=rehearsal.mirrors
        )
        for check in examine(asked):
            made.append(check)
            if not settings.json:
                show(check)
        status = status_of(made)
        if not settings.json and not settings.quiet:
            _sum_up(made)
        told = texts(settings, asked, rehearsal) if kind_of(asked).name == "release" else {}
    if settings.json:
        output.say_json({"ok": not status, "checks": [check.to_json() for check in made], **told})
    if status:
        raise click.exceptions.Exit(status)


def show(check: Check) -> None:
    """A check on its line, and below it what to do and what to copy."""
    name = check.name if len(check.name) <= NAME else f"{check.name[: NAME - 1]}…"
    lead = f"{check.outcome:<{MARK}}{output.clean(name):<{NAME}}  "
    room = " " * (MARK + NAME + 2)
    _wrap(check.finding, lead, room)
    if check.advice:
        _wrap(check.advice, f"{room}-> ", f"{room}   ")
    if check.show:
        output.say(check.show)


def _wrap(text: str, first: str, other: str) -> None:
    lines = textwrap.wrap(output.clean(text), output.width(), initial_indent=first, subsequent_indent=other)
    for line in lines or [first.rstrip()]:
        output.say(line)


def _sum_up(made: list[Check]) -> None:
    counts = {mark: sum(str(check.outcome) == mark for check in made) for mark in ("fail", "warn", "skip")}
    words = {"fail": "failed", "warn": "to look at", "skip": "not made"}
    parts = [f"{number} {words[mark]}" for mark, number in counts.items() if number]
    output.say()
    output.say(f"{output.count(len(made), 'check')}: {', '.join(parts) or 'all well'}")
