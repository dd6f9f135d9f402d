"""Where `fetch` puts the files: a folder, the Hub's cache, or the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weightshare.errors import UsageError
from weightshare_cli import options as shared
from weightshare_cli import output
from weightshare_cli.gathering import gathered

if TYPE_CHECKING:
    from weightshare.api.hub_cache import HubCache
    from weightshare.api.results import InHubCache


@dataclass(frozen=True, slots=True)
class LandingPlace:
    """Where the files go.

    Attributes:
        into: a folder named by option.
        hf_cache: whether into the Hub's cache; None where nobody says so.
        move_main: whether `main` in that cache is to lead to the release, wherever it leads now.
    """

    into: Path | None = None
    hf_cache: bool | None = None
    move_main: bool = False

    def folder(self, named: Path | None) -> Path | None:
        """The folder that was named, by option or as an argument.

        Raises:
            UsageError: two places are named.
        """
        if named is not None and self.into is not None:
            raise UsageError(
                f"Two folders are named: {named}, and --into {self.into}.", hint="Give one of the two."
            )
        folder = named or self.into
        if folder is not None and (self.hf_cache or self.move_main):
            raise UsageError(
                f"{folder} is named, and the Hub's cache too.",
                hint="Give one of the two; HF_HUB_CACHE says where that cache is.",
            )
        if self.hf_cache is False and self.move_main:
            raise UsageError("--move-main is for the Hub's cache.", hint="Leave out --no-hf-cache.")
        return folder

    def hub_cache(self) -> HubCache:
        """The same for the library."""
        from weightshare.api.hub_cache import HubCache

        return HubCache(use=self.hf_cache, move_main=self.move_main)


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--into", cls=shared.Option, type=shared.FOLDER, metavar="DIR", help="The same as the argument DIR."
    ),
    click.option(
        "--hf-cache/--no-hf-cache",
        cls=shared.Option,
        default=None,
        help="Put it where Hub libraries look, or not. Default: if it is there.",
    ),
    click.option(
        "--move-main",
        cls=shared.Option,
        is_flag=True,
        help="With --hf-cache: `main` there becomes this commit.",
    ),
)


options = gathered("landing", LandingPlace, _OPTIONS)
"""The options of a command that fetches; it is called with one `landing: LandingPlace`."""


def say(place: InHubCache | None) -> None:
    """Tell the user how libraries find a release that is in the Hub's cache."""
    if place is None:
        return
    output.note(f"in the Hub's cache as {place.repo}, commit {place.revision[:12]}, as its publisher says")
    if place.main is None:
        output.note(f"main is not known there: ask for revision={place.revision}")
    elif place.main != place.revision:
        output.note(f"main there is {place.main[:12]}: ask for revision={place.revision}, or --move-main")
