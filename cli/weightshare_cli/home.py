"""The home folder of one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.content.home import Home


def home_of(settings: Settings) -> Home:
    """The home folder that flag or environment names, else the default one."""
    from weightshare.content.home import Home

    return Home.default(settings.home)
