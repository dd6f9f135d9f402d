"""`weightshare inspect`: what a release holds, before fetching it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from weightshare.units import format_size
from weightshare_cli import options, output, progress
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings
from weightshare_cli.sources import given

if TYPE_CHECKING:
    from weightshare.api.results import Inspected

SHOWN = 30
"""Rows of a list that are shown without `--all`."""


@click.command(
    "inspect",
    cls=options.Command,
    short_help="Show what a release holds and who signed it, without fetching it.",
    examples=[
        ("look before you fetch", "weightshare inspect 'magnet:?xt=urn:btmh:1220…'"),
        ("every file and tensor of a release here", "weightshare inspect acme/m7b --all"),
        ("digests for a script", "weightshare inspect acme/m7b --json"),
    ],
)
@click.argument("source")
@click.option("--all", "everything", cls=options.Option, is_flag=True, help="List every file and tensor.")
@options.network
@options.peers
@options.dht_nodes
@options.port
@options.timeout
@options.common
@click.pass_obj
def command(
    settings: Settings,
    source: str,
    everything: bool,
    network: str,
    peers: tuple[tuple[str, int], ...],
    dht_nodes: tuple[tuple[str, int], ...],
    port: int | None,
    timeout: float,
) -> None:
    """Show what SOURCE holds and who signed it. From a magnet link the manifest alone is fetched.

    SOURCE is what fetch takes, or a release or folder on this machine, whose tensors are listed too. An
    unknown publisher is no error here; it is said so.
    """
    from weightshare.api.inspecting import inspect

    with given(source) as source, progress.reporter(settings) as observe:
        seen = inspect(
            source,
            home=home_of(settings),
            network=network,
            port=port,
            peers=peers,
            dht_nodes=dht_nodes,
            timeout=timeout,
            observe=observe,
        )
    if settings.json:
        output.say_json(seen.to_json())
        return
    output.warn(seen.warnings)
    _show(seen, len(seen.files) + len(seen.tensors) if everything else SHOWN)


def _show(seen: Inspected, limit: int) -> None:
    output.say(seen.release)
    if seen.summary:
        output.say(f"  {seen.summary}")
    output.facts(
        [
            ("publisher", _signer(seen)),
            ("a team", seen.team),
            ("released", f"{seen.released}, sequence {seen.sequence}"),
            ("licence", seen.license or "not stated"),
            ("source", seen.source),
            ("weights", _weights(seen)),
            ("torrent", f"{seen.torrent_name}, pieces of {format_size(seen.piece_length)}"),
            ("info-hash v2", seen.info_hash_v2),
            ("info-hash v1", seen.info_hash_v1),
            ("files", f"{len(seen.files):,}, {format_size(seen.bytes)}"),
        ]
    )
    output.say()
    output.table(
        [
            (format_size(file.size), file.path + (f"  [{file.note}]" if file.note else ""))
            for file in seen.files[:limit]
        ],
        right=(0,),
        indent="  ",
    )
    _rest(len(seen.files) - limit, "file")
    if seen.tensors:
        output.say()
        output.table(
            [
                (tensor.name, tensor.dtype, " x ".join(str(size) for size in tensor.shape) or "scalar")
                for tensor in seen.tensors[:limit]
            ],
            indent="  ",
        )
        _rest(len(seen.tensors) - limit, "tensor")


def _signer(seen: Inspected) -> str:
    if seen.trusted:
        return output.who(seen.publisher, seen.publisher_name)
    if seen.publisher_name is not None:
        return f"NOT PROVEN to be {seen.publisher_name}; see the warning"
    return f"UNKNOWN: {seen.publisher}, which says it is {seen.claimed_name}"


def _weights(seen: Inspected) -> str | None:
    if seen.weights_format is None:
        return None
    parts = [seen.weights_format, ", ".join(seen.dtypes)]
    if seen.parameters is not None:
        parts.append(f"{seen.parameters:,} parameters")
    return ", ".join(part for part in parts if part)


def _rest(number: int, noun: str) -> None:
    if number > 0:
        output.say(f"  … and {output.count(number, noun)} more; --all lists them")
