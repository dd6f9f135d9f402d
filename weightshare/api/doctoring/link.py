"""Checks of a link, part by part."""

from __future__ import annotations

from collections.abc import Iterator

from weightshare.api.doctoring.checks import Asked, Check, fail, ok
from weightshare.errors import MagnetError
from weightshare.manifest import magnet as magnets


def checks(asked: Asked) -> Iterator[Check]:
    """What each part of the link is, and whether it answers."""
    try:
        magnet = magnets.parse(asked.source)
    except MagnetError as error:
        yield fail("link", error.message, error.hint, code=error.exit_code)
        return
    yield ok("link", f"{len(str(magnet)):,} characters")
