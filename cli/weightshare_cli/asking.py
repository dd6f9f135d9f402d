"""Whether there is somebody to ask."""

from __future__ import annotations

import sys

from weightshare_cli.options import Settings


def can_ask(settings: Settings) -> bool:
    """Whether a question can be put and answered: on a terminal, by a call that wants words, not JSON."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not settings.json and not settings.quiet
