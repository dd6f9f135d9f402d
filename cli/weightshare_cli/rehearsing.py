"""A rehearsal on the command line: the checklist, and after it the texts to post and a QR picture."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weightshare.errors import MissingExtraError, WeightshareError
from weightshare_cli import output
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.doctoring.checks import Asked
    from weightshare.api.launching.standing import Standing


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How to rehearse, as the command line says it; see the help of each option."""

    mirrors: int | None = None
    qr: Path | None = None


def rehearse(
    settings: Settings,
    release: str,
    how: Rehearsal,
    *,
    network: str,
    port: int | None,
    dht_nodes: tuple[tuple[str, int], ...],
) -> tuple[int, dict[str, object]]:
    """Try a release as a stranger would; returns the exit status, and what JSON says of it."""
    from weightshare.api.doctoring.checks import Asked, status_of
    from weightshare.api.launching.rehearsing import rehearse as tried
    from weightshare.swarm.networks import Network
    from weightshare_cli.commands.doctor import show

    asked = Asked(
        release, home_of(settings), Network(network), port, dht_nodes=dht_nodes, mirrors=how.mirrors
    )
    if not settings.json:
        output.say()
    made = []
    for check in tried(asked):
        made.append(check)
        if not settings.json:
            show(check)
    status = status_of(made)
    said = {"ok": not status, "checks": [check.to_json() for check in made]}
    return status, said | texts(settings, asked, how)


def texts(settings: Settings, asked: Asked, how: Rehearsal) -> dict[str, object]:
    """Print what to post of a release of the store, or with JSON return it; empty where it is not one.

    Raises:
        MissingExtraError: a picture was asked for, and segno is not installed.
        DiskError, UsageError: it cannot be written there.
    """
    from weightshare.api.launching.posts import length_of, markdown, post
    from weightshare.api.launching.standing import standing_of
    from weightshare.api.launching.texts import facts_of

    try:
        standing = standing_of(asked.home, asked.source)
    except WeightshareError:
        return {}  # the checks have said so
    facts = facts_of(standing)
    short, block = post(facts), markdown(facts)
    written = _write(standing, how.qr)
    if settings.json:
        return {"texts": {"post": short, "markdown": block, **({"qr": written} if written else {})}}
    output.say()
    output.say(f"A post ({length_of(short)} of 280 characters):")
    output.say()
    _lines(short)
    output.say()
    output.say("A block for a README:")
    output.say()
    _lines(block)
    if how.qr is None and sys.stdout.isatty():
        _draw(standing)
    return {}


def _lines(text: str) -> None:
    for line in text.splitlines():
        output.say(line)


def _write(standing: Standing, path: Path | None) -> str:
    if path is None:
        return ""
    from weightshare.api.launching.qr import write

    made = write(standing.magnet, path)
    _say_left_out(made.left_out)
    output.note(f"QR picture of the link: {path}")
    return str(path)


def _draw(standing: Standing) -> None:
    from weightshare.api.launching.qr import half_blocks, picture

    try:
        made = picture(standing.magnet)
    except MissingExtraError as error:
        output.note(f"No QR picture: {error.hint}")
        return
    output.say()
    _lines(half_blocks(made))
    _say_left_out(made.left_out)


def _say_left_out(left_out: tuple[str, ...]) -> None:
    if left_out:
        output.note(
            f"The link is too long for a QR code that a phone reads: without {', '.join(left_out)}; "
            "the hashes and the publisher's key are in it."
        )
