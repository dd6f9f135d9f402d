"""Checks of this machine."""

from __future__ import annotations

from collections.abc import Iterator

from weightshare.api.doctoring.checks import Asked, Check, ok
from weightshare.version import __version__


def checks(asked: Asked) -> Iterator[Check]:
    """What this machine has and can do."""
    yield ok("weightshare", __version__)
