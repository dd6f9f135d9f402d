"""`weightshare seed`: serve releases until stopped."""

from __future__ import annotations

import click

from weightshare_cli import launching, options
from weightshare_cli.options import Settings
from weightshare_cli.serving import serve


@click.command(
    "seed",
    cls=options.Command,
    short_help="Serve published and fetched releases to others.",
    examples=[
        ("serve everything on this machine", "weightshare seed"),
        ("serve one release, at 12 MiB a second at most", "weightshare seed acme/m7b --max-up 12M"),
        (
            "not more than 50 GiB a day, and each release twice over",
            "weightshare seed --upload-per-day 50G --ratio 2",
        ),
        ("on a fixed port, as a router's forwarding wants it", "weightshare seed --port 6881"),
    ],
)
@click.argument("releases", metavar="[RELEASE|DIR]…", nargs=-1)
@click.option(
    "--unsigned",
    cls=options.Option,
    is_flag=True,
    help="Also serve torrents that were fetched although nobody signed them.",
)
@options.trust
@options.network
@options.port
@options.peers
@options.dht_nodes
@options.max_down
@options.max_up
@options.max_connections
@options.upload_per_day
@options.ratio
@launching.allow
@options.common
@click.pass_context
def command(
    ctx: click.Context,
    releases: tuple[str, ...],
    unsigned: bool,
    trust: tuple[str, ...],
    network: str,
    port: int | None,
    peers: tuple[tuple[str, int], ...],
    dht_nodes: tuple[tuple[str, int], ...],
    max_down: int,
    max_up: int,
    max_connections: int,
    upload_per_day: int,
    ratio: float,
) -> None:
    """Serve releases from where they lie, until Ctrl-C. Without a name: every release on this machine.

    Files are opened for reading only. Whatever changed since it was last proven is proven again first.

    Limits can be changed while it runs, with weightshare limits or in config.toml.
    """
    serve(
        ctx.ensure_object(Settings),
        releases,
        unsigned=unsigned,
        trust=trust,
        network=network,
        port=port,
        peers=peers,
        dht_nodes=dht_nodes,
        limits=options.given(ctx, "max_down", "max_up", "max_connections", "upload_per_day", "ratio"),
    )
