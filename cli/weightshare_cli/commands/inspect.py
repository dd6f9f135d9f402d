"""`weightshare inspect`: what a release holds, before fetching it."""

from __future__ import annotations

import textwrap
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

TEMPLATE_LINES = 12
"""Lines of a chat template that are shown without `--chat-template`."""


@click.command(
    "inspect",
    cls=options.Command,
    short_help="Show what a release holds and who signed it, without fetching it.",
    examples=[
        ("look before you fetch", "weightshare inspect 'magnet:?xt=urn:btmh:1220…'"),
        ("every file and tensor of a release here", "weightshare inspect acme/m7b --all"),
        ("the chat template, whole", "weightshare inspect acme/m7b --chat-template"),
        ("digests for a script", "weightshare inspect acme/m7b --json"),
    ],
)
@click.argument("source")
@click.option("--all", "everything", cls=options.Option, is_flag=True, help="List every file and tensor.")
@click.option(
    "--chat-template",
    "template",
    cls=options.Option,
    is_flag=True,
    help="Show the chat templates, whole, and nothing else.",
)
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
    template: bool,
    network: str,
    peers: tuple[tuple[str, int], ...],
    dht_nodes: tuple[tuple[str, int], ...],
    port: int | None,
    timeout: float,
) -> None:
    """Show what SOURCE holds and who signed it, what code it names, and its chat template.

    From a link the manifest is fetched, and the configuration files and templates, a few KiB; nothing is run.
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
    if template:
        _show_templates(seen, None)
        return
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
            ("layout", seen.layout.what if seen.layout is not None else None),
            ("model", _model(seen)),
            ("code, never run", _code(seen)),
            ("torrent", f"{seen.torrent_name}, pieces of {format_size(seen.piece_length)}"),
            ("info-hash v2", seen.info_hash_v2),
            ("info-hash v1", seen.info_hash_v1),
            ("files", f"{len(seen.files):,}, {format_size(seen.bytes)}"),
        ]
    )
    for hindrance in seen.hindrances:
        for line in textwrap.wrap(output.clean(f"to run it: {hindrance}"), output.WIDTH - 4):
            output.say(f"  {line}")
    output.say()
    output.table(
        [(format_size(file.size), file.path + _mark(file.note)) for file in seen.files[:limit]],
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
    if seen.says is not None and seen.says.templates:
        output.say()
        _show_templates(seen, TEMPLATE_LINES)


def _show_templates(seen: Inspected, limit: int | None) -> None:
    """Chat templates behind a bar, so that none of their lines passes for one of ours."""
    templates = seen.says.templates if seen.says is not None else ()
    if not templates:
        output.note(f"{seen.release} has no chat template among the files that were looked at.")
    for template in templates:
        output.say(f"  chat template {template.name}, from {template.path}")
        lines = [part for line in template.text.splitlines() for part in _folded(line)]
        for line in lines[:limit]:
            output.say(f"  | {line}".rstrip())
        if limit is not None and len(lines) > limit:
            output.say(f"  … and {output.count(len(lines) - limit, 'line')} more; --chat-template shows all")


def _folded(line: str) -> list[str]:
    step = output.WIDTH - 4
    shown = output.clean(line)
    return [shown[start : start + step] for start in range(0, len(shown), step)] or [""]


def _mark(note: str) -> str:
    return {"": "", "code": "  [code, never run]"}.get(note, f"  [{note}]")


def _model(seen: Inspected) -> str | None:
    if seen.says is None:
        return None
    parts = [
        *seen.says.architectures[:1],
        *([f"type {seen.says.model_type}"] if seen.says.model_type else []),
    ]
    return ", ".join(parts) or None


def _code(seen: Inspected) -> str | None:
    """What the release would have others run."""
    parts = list(dict.fromkeys(code.where for code in seen.says.code)) if seen.says is not None else []
    parts += seen.code
    shown = ", ".join(parts[:4])
    return shown + (f" and {len(parts) - 4} more" if len(parts) > 4 else "") or None


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
