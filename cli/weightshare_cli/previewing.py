"""What `fetch --dry-run` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightshare.units import format_size
from weightshare_cli import output
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results import Preview, PreviewedFile


def show(preview: Preview, settings: Settings) -> None:
    """What a fetch would bring, and from where."""
    if settings.json:
        output.say_json(preview.to_json())
        return
    output.warn(preview.warnings)
    output.say(f"{preview.release} by {output.who(preview.publisher, preview.publisher_name)}")
    output.table(
        [(format_size(file.size), _origin(file), file.path) for file in preview.files],
        right=(0,),
        indent="  ",
    )
    output.say(f"{format_size(preview.from_peers)} of {format_size(preview.bytes)} from peers")
    output.say(f"into {preview.path}")


def _origin(file: PreviewedFile) -> str:
    """Where a file would come from, and how much of it from elsewhere."""
    parts = [f"{format_size(size)} of {release}" for release, size in file.pieces.items()]
    if not parts:
        return file.source
    rest = [f"{format_size(file.from_peers)} {file.source}"] if file.from_peers else []
    return " + ".join([*rest, *parts])
