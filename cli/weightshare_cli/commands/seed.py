"""`weightshare seed`: serve releases until stopped."""

from __future__ import annotations

import click

from weightshare_cli import options
from weightshare_cli.options import Settings
from weightshare_cli.serving import serve


@click.command(
    "seed",
    cls=options.Command,
    short_help="Serve published and fetched releases to others.",
    examples=[
        ("serve everything on this machine", "weightshare seed"),
        ("serve one release, at 12 MiB a second at most", "weightshare seed acme/m7b --max-up 12M"),
        ("on a fixed port, as a router's forwarding wants it", "weightshare seed --port 6881"),
    ],
)
@click.argument("releases", metavar="[RELEASE|DIR]…", nargs=-1)
@options.trust
@options.network
@options.port
@options.peers
@options.dht_nodes
@options.max_down
@options.max_up
@options.common
@click.pass_obj
def command(
    settings: Settings,
    releases: tuple[str, ...],
    trust: tuple[str, ...],
    network: str,
    port: int | None,
    peers: tuple[tuple[str, int], ...],
    dht_nodes: tuple[tuple[str, int], ...],
    max_down: int,
    max_up: int,
) -> None:
    """Serve releases from where they lie, until Ctrl-C. Without a name: every release on this machine.

    Files are opened for reading only. Whatever changed since it was last proven is proven again first.
    """
    serve(
        settings,
        releases,
        trust=trust,
        network=network,
        port=port,
        peers=peers,
        dht_nodes=dht_nodes,
        max_down=max_down,
        max_up=max_up,
    )
