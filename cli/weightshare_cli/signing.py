"""How far the signing of a team's manifest has come, and what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightshare.units import format_size
from weightshare_cli import from_hub, output
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results import Prepared
    from weightshare.manifest.model import Manifest


def show(prepared: Prepared, settings: Settings) -> None:
    """Print a manifest that is being signed."""
    if settings.json:
        output.say_json(prepared.to_json())
        return
    output.warn(prepared.warnings)
    tally = prepared.tally
    output.say(prepared.release)
    output.facts(
        [
            ("files", f"{prepared.files:,}, {format_size(prepared.bytes)}"),
            ("publisher", output.who(prepared.publisher, prepared.publisher_name)),
            ("payload", f"SHA-256 {prepared.payload_sha256}"),
            ("signed", f"{tally.signed} of {tally.keys} keys, {tally.threshold} must"),
            ("manifest", str(prepared.manifest)),
            from_hub.row(prepared.hub),
        ]
    )
    if settings.quiet:
        return
    output.note("")
    name = output.quoted(prepared.manifest.name)
    if tally.missing:
        output.note(f"{output.count(tally.missing, 'signature')} to come. Each member signs with")
        output.note(f"  weightshare sign {name} --key ~/.ssh/id_ed25519")
        return
    output.note("Enough have signed. Whoever has the files makes the release:")
    output.note(f"  weightshare publish --finish {name}")


def show_statement(prepared: Prepared, manifest: Manifest, settings: Settings) -> None:
    """Print all that a signature would say, for whoever is about to give it."""
    if settings.json:
        files = [
            {"path": entry.path, "size": entry.size, "sha256": entry.sha256.hex()} for entry in manifest.files
        ]
        output.say_json(prepared.to_json() | {"statement": files, "sequence": manifest.model.sequence})
        return
    show(prepared, settings)
    output.say()
    output.facts(
        [
            ("released", f"{manifest.model.released}, sequence {manifest.model.sequence}"),
            ("licence", manifest.license.spdx if manifest.license else "not stated"),
            ("summary", manifest.model.summary),
            (
                "root",
                f"version {manifest.publisher.root_version}" if manifest.publisher.root_version else None,
            ),
            *(("revokes", f"{entry.manifest.hex()}: {entry.reason}") for entry in manifest.revokes),
        ]
    )
    output.say()
    output.table(
        [(format_size(entry.size), entry.sha256.hex(), entry.path) for entry in manifest.files],
        right=(0,),
        indent="  ",
    )
