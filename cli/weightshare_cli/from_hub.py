"""`publish --hub`: the options that say what of the Hub's cache is published, and what they settle for the rest."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weightshare_cli import options as shared
from weightshare_cli import output
from weightshare_cli.gathering import gathered
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.asking import Asked
    from weightshare.api.origin import Origin
    from weightshare.api.results import HubStanding


@dataclass(frozen=True, slots=True)
class FromHub:
    """What of the Hub's cache is to be published, as the command line says it.

    Attributes:
        hub: `ORG/MODEL[@REV]`, None for a folder.
        partial: publish what is in the cache although the Hub has more.
    """

    hub: str | None = None
    partial: bool = False

    def check(self, directory: Path | None, *, finish: Path | None, oms_key: Path | None) -> None:
        """Refuse what does not go together, before anything is asked or read.

        Raises:
            UsageError: which, and what would do.
        """
        if self.hub is None:
            if self.partial:
                raise click.UsageError("--partial says how much of a snapshot to take; it needs --hub.")
            return
        if directory is not None:
            raise click.UsageError(
                "--hub takes the snapshot from the Hub's cache, and DIR is a folder; give one of the two."
            )
        if finish is not None:
            raise click.UsageError("--finish knows the snapshot from --prepare; leave out --hub.")
        if oms_key is not None:
            raise click.UsageError(
                "--oms-key writes model.sig into the folder, and nothing is written into the Hub's cache. "
                "Publish a copy of the folder."
            )

    def take(self, settings: Settings, ctx: click.Context, asked: Asked) -> Snapshot | None:
        """Find the snapshot and have it completed; None without `--hub`.

        Args:
            settings: of this call.
            ctx: of the command: its network, whether it allows pickle, and what its line says itself.
            asked: the facts of the release as they stand.

        Raises:
            WeightshareError: as `hub_publishing.take` does.
        """
        if self.hub is None:
            return None
        from weightshare.api.hub_publishing import Wish, take
        from weightshare.hub.cache import HubName
        from weightshare.hub.settings import HubSettings
        from weightshare.swarm.networks import Network

        name = HubName.parse(self.hub)
        wish = Wish(
            name,
            partial=self.partial,
            allow_pickle=bool(ctx.params["allow_pickle"]),
            network=Network(ctx.params["network"]),
            bars=not settings.quiet and sys.stderr.isatty(),
            say=(lambda _: None) if settings.quiet else output.note,
        )
        taken = take(wish, HubSettings.from_environment())
        said = shared.given(ctx, "version", "license")
        facts: Asked = {**asked, "web_seeds": (*asked.get("web_seeds", ()), *taken.web_seeds)}
        facts["version"] = said.get("version", taken.version)
        # A licence in config.toml is for one's own models; this one says what its licence is.
        facts["license"] = said.get("license") or taken.license or asked.get("license")
        return Snapshot(taken.folder, ctx.params["name"] or name.repo, facts, taken.origin)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What stands in for DIR and `--name`, and the facts of the release with the Hub's among them."""

    folder: Path
    name: str
    asked: Asked
    origin: Origin


def row(standing: HubStanding | None) -> tuple[str, str | None]:
    """The line that says how the files stand to the Hub's."""
    return "Hub", standing.said if standing is not None else None


_OPTIONS = (
    click.option(
        "--hub",
        cls=shared.Option,
        metavar="ORG/MODEL[@REV]",
        help="Publish from the Hugging Face cache, in place, instead of DIR; downloads what is missing.",
    ),
    click.option(
        "--partial",
        cls=shared.Option,
        is_flag=True,
        help="With --hub: only the files that the cache has; download none.",
    ),
)

options = gathered("from_hub", FromHub, _OPTIONS)
"""The options; the command is called with one `from_hub: FromHub`."""
