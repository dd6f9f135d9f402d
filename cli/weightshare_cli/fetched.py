"""What `fetch` says of what it brought."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightshare.units import format_rate, format_size
from weightshare_cli import (
    landing_places,
    output,
    sourcing,
)
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results import Fetched


def say(fetched: Fetched, settings: Settings, event: str = "") -> None:
    """Say what was fetched: one object as JSON, or text with the path last."""
    if settings.json:
        output.say_json(fetched.to_json() | ({"event": event} if event else {}))
    else:
        _show(fetched, settings)


def _show(fetched: Fetched, settings: Settings) -> None:
    output.warn(fetched.warnings)
    if not settings.quiet:
        taken = fetched.received
        sources = sourcing.came(fetched)
        moved = taken.swarm + taken.hub
        pace = f" ({format_rate(moved / fetched.seconds)})" if moved and fetched.seconds >= 0.1 else ""
        output.note(f"{fetched.release} by {output.who(fetched.publisher, fetched.publisher_name)}")
        output.note(f"{output.count(fetched.files, 'file')}, {format_size(fetched.bytes)}, every byte proven")
        if fetched.mirrors:
            output.note(output.vouched(fetched.mirrors))
        output.note(f"{', '.join(sources) or 'nothing to fetch'}, in {output.took(fetched.seconds)}{pace}")
        if fetched.parts:
            held = format_size(sum(fetched.parts.values()))
            output.note(
                f"{held} of {output.count(len(fetched.parts), 'shard')}, staged; a plain fetch brings the rest."
            )
        elif not fetched.complete:
            output.note("Only the files you asked for; the release has more.")
        landing_places.say(fetched.hub_cache)
    output.say_path(fetched.path)
