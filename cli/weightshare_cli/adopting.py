"""`publish --adopt`: a signed manifest for a torrent that others made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weightshare.units import format_size
from weightshare_cli import options as shared
from weightshare_cli import output, progress
from weightshare_cli.gathering import gathered
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings
from weightshare_cli.passphrase import known

if TYPE_CHECKING:
    from weightshare.api.asking import Asked
    from weightshare.api.results.old import Adopted


_NOT_WITH = (
    *("hub", "oms_key", "sshsig", "prepare", "finish", "piece_length", "v2_only", "v1_twin"),
    *("embargo", "allow", "announce_at", "rehearse"),
)


@dataclass(frozen=True, slots=True)
class Adopting:
    """Which torrent is adopted, and how its metadata is got; see the help of each option."""

    source: str | None = None
    peers: tuple[tuple[str, int], ...] = ()


_OPTIONS = (
    click.option(
        "--adopt",
        cls=shared.Option,
        metavar="TORRENT|LINK",
        help="Sign for DIR as the v1 torrent that others made of it: same info-hash, same swarm.",
    ),
    click.option(
        "--adopt-peer",
        "adopt_peers",
        cls=shared.Option,
        section="Network",
        callback=shared.addresses,
        metavar="HOST:PORT",
        multiple=True,
        help="With --adopt and a link: ask this peer for its metadata too. Repeatable.",
    ),
)


options = gathered("adopting", Adopting, _OPTIONS, {"adopt": "source", "adopt_peers": "peers"})
"""The options of `publish` about adoption; the command is called with one `adopting: Adopting`."""


def adopt(
    ctx: click.Context,
    settings: Settings,
    directory: Path | None,
    name: str | None,
    adopting: Adopting,
    asked: Asked,
) -> Adopted:
    """Adopt a torrent, as `publish` was asked to, and show what came of it.

    Args:
        ctx: of the command `publish`, whose other options hold here too.
        settings: of this call.
        directory: the folder that holds the torrent's files.
        name: `ORG/MODEL`.
        adopting: which torrent.
        asked: the facts of the release.

    Raises:
        click.UsageError: options that do not go together.
        WeightshareError: as `adopting.adopt` does.
    """
    from weightshare.api.old import adopting as api
    from weightshare.api.old.swarming import Reach

    said = shared.given(ctx, *_NOT_WITH, environment=False)
    if said:
        raise click.UsageError(f"--{next(iter(said)).replace('_', '-')} does not go with --adopt.")
    if directory is None:
        raise click.UsageError("Missing argument 'DIR', the folder that holds the torrent's files.")
    if name is None:
        raise click.UsageError("Missing option '--name'.")
    params = ctx.params
    with progress.reporter(settings) as observe:

        def passphrase() -> str:
            with observe.paused():
                return known(params["key"] or "the key")

        def waiting(message: str) -> None:
            with observe.paused():
                output.note(message)

        made = api.adopt(
            directory,
            adopting.source or "",
            name,
            key=params["key"],
            passphrase=passphrase,
            waiting=waiting,
            allow_pickle=params["allow_pickle"],
            out=params["out"],
            home=home_of(settings),
            reach=Reach(
                network=params["network"],
                port=params["port"],
                peers=adopting.peers,
                dht_nodes=params["dht_nodes"],
            ),
            observe=observe,
            **asked,
        )
    seeding = bool(params["keep_seeding"])
    if settings.json:
        output.say_json(made.to_json() | ({"event": "published"} if seeding else {}))
    else:
        _show(made, settings, seeding=seeding)
    return made


def _show(made: Adopted, settings: Settings, *, seeding: bool) -> None:
    output.warn(made.warnings)
    output.say(made.release)
    output.facts(
        [
            ("files", f"{made.files:,}, {format_size(made.bytes)}"),
            ("signer", output.who(made.publisher, made.publisher_name)),
            ("adopts", f"{made.info_hash_v1} (v1), a torrent that others may have made"),
            ("manifest", str(made.manifest)),
            ("torrent", str(made.torrent)),
            ("took", output.took(made.seconds)),
        ]
    )
    output.say()
    output.say(output.quoted(made.magnet))
    if not settings.quiet:
        output.note("")
        output.note("Post the manifest beside the link; with it the old torrent is proven:")
        output.note(f"  weightshare fetch {output.quoted('magnet:?…')} --manifest {made.manifest.name}")
        if not seeding:
            output.note("To serve it in its own swarm:")
            output.note(f"  weightshare seed {output.quoted(made.release)}")
