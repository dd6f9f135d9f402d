"""`weightshare trust`: the publishers whose releases you accept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weightshare_cli import options, output
from weightshare_cli.asking import can_ask
from weightshare_cli.commands.export import command as export
from weightshare_cli.commands.team import command as team
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.key_sources import FoundKeys
    from weightshare.trust.publishers import Pin


@click.group(
    "trust",
    cls=options.Group,
    short_help="Say which publishers you know.",
    examples=[
        ("trust a publisher by the fingerprint on their site", "weightshare trust add acme SHA256:…"),
        ("whom do I trust?", "weightshare trust list"),
    ],
)
@options.common
def command() -> None:
    """Say which publishers you know.

    A release is accepted only when a key you have pinned here signed it. Take fingerprints from a place the
    publisher controls, not from where you found the magnet link.
    """


command.add_command(team)
command.add_command(export)


@command.command(
    "add",
    examples=[
        ("by fingerprint", "weightshare trust add acme SHA256:…"),
        ("by public key file", "weightshare trust add acme acme.pub"),
        ("by the SSH keys of their GitHub account", "weightshare trust add acme github:acme"),
        (
            "the same without asking GitHub, from a file with what it lists",
            "weightshare trust add acme github:acme --from acme.keys",
        ),
        ("a team, by its newest root", "weightshare trust add acme acme.1.root.json"),
        ("for some of their models only", "weightshare trust add acme acme.pub --models 'acme/m7*'"),
        ("a mirror, whose countersignatures then count", "weightshare trust add cdn cdn.pub --mirror"),
    ],
)
@click.argument("name")
@click.argument("key", metavar="SHA256:…|FILE.pub|github:USER|ROOT")
@click.option(
    "--only",
    cls=options.Option,
    metavar="SHA256:…",
    multiple=True,
    help="Of several keys, pin this one. Repeatable.",
)
@click.option(
    "--from",
    "saved",
    cls=options.Option,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With github:USER: read this file, saved from USER.keys or the API, instead of asking.",
)
@click.option(
    "--post-quantum",
    cls=options.Option,
    metavar="SHA256:…",
    help="Demand a signature by this ML-DSA-44 key as well.",
)
@click.option(
    "--models",
    cls=options.Option,
    metavar="GLOB",
    multiple=True,
    help="Accept the key for these models only. Repeatable.",
)
@click.option(
    "--mirror",
    cls=options.Option,
    is_flag=True,
    help="Pin a mirror: its countersignatures count, its releases do not.",
)
@click.option(
    "--replace",
    cls=options.Option,
    is_flag=True,
    help="Give a name that is pinned another key; the old one goes.",
)
@options.network
@options.common
@click.pass_obj
def add(
    settings: Settings,
    name: str,
    key: str,
    only: tuple[str, ...],
    saved: Path | None,
    post_quantum: str | None,
    models: tuple[str, ...],
    mirror: bool,
    replace: bool,
    network: str,
) -> None:
    """Pin the publisher NAME to a key or a team.

    A key is named by its fingerprint, a file of public keys, or the GitHub account that lists it; a team by its
    identity or its newest root file.

    With github:USER every Ed25519 key of the account is pinned, after they were shown; others are named and
    left. GH_HOST names another host than github.com, as for GitHub's own gh.

    With --mirror, pin a mirror instead; a publisher's key becomes a mirror's too.
    """
    from weightshare.api import pinning

    added = pinning.trust_add(
        name,
        key,
        post_quantum=post_quantum,
        models=models or ("*",),
        only=only,
        saved=saved,
        mirror=mirror,
        replace=replace,
        network=network,
        confirm=(lambda found: _ask(name, key, found)) if can_ask(settings) else None,
        home=home_of(settings),
    )
    if settings.json:
        single = _json(added.pins[0]) if len(added.pins) == 1 else {"name": added.pins[0].name}
        more = {"skipped": list(added.skipped), "notes": list(added.notes)}
        output.say_json({**single, "pins": [_json(pin) for pin in added.pins], **more})
        return
    output.warn([*added.notes, *(f"Not pinned: {text}" for text in added.skipped)])
    for pin in added.pins:
        output.say(f"{pin.name}  {pin.fingerprint}")
    if not settings.quiet:
        name = added.pins[0].name
        if mirror:
            output.note(f"Countersignatures by {name} now count with --require-mirrors.")
        else:
            output.note(f"Releases of {name} are now accepted when {_signers(added.pins)} signed them.")


@command.command("list", examples=[("every pinned publisher", "weightshare trust list")])
@options.common
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the pinned publishers and mirrors."""
    from weightshare.api import pinning

    pins = pinning.trust_list(home_of(settings))
    if settings.json:
        output.say_json({"publishers": [_json(pin) for pin in pins]})
        return
    output.table([row for pin in pins for row in ((pin.name, pin.fingerprint), ("", _remark(pin)))])
    if not pins and not settings.quiet:
        output.note("No publishers yet; weightshare trust add NAME SHA256:… pins one.")


@command.command("remove", examples=[("trust acme no more", "weightshare trust remove acme")])
@click.argument("name")
@click.option(
    "--mirror",
    cls=options.Option,
    is_flag=True,
    help="Forget only that they are a mirror.",
)
@options.common
@click.pass_obj
def remove(settings: Settings, name: str, mirror: bool) -> None:
    """Forget the publisher or mirror NAME; releases already here stay."""
    from weightshare.api import pinning

    pinning.trust_remove(name, home_of(settings), mirror=mirror)
    if settings.json:
        output.say_json({"name": name, "removed": True})
        return
    output.say(f"{name} is not trusted {'as a mirror ' if mirror else ''}any more.")


def _ask(name: str, source: str, found: FoundKeys) -> bool:
    output.note(f"{source} lists:")
    for key in found.keys:
        output.note(f"  {key.fingerprint}")
    output.note("Compare them with what the publisher says elsewhere, if they say it anywhere.")
    return click.confirm(f"Pin {'it' if len(found.keys) == 1 else 'all of them'} for {name}?", err=True)


def _signers(pins: Sequence[Pin]) -> str:
    if len(pins) > 1:
        return "one of these keys"
    pin = pins[0]
    if pin.team is not None:
        quorum = pin.team.current.releases
        return f"{quorum.threshold} of its {len(quorum.keys)} keys"
    return "this key and its ML-DSA-44 key" if pin.post_quantum else "this key"


def _remark(pin: Pin) -> str:
    parts = ["REVOKED"] if pin.revoked else []
    if pin.team is not None:
        quorum = pin.team.current.releases
        parts.append(f"team, {quorum.threshold} of {len(quorum.keys)}, root {pin.team.version}")
    if pin.post_quantum:
        parts.append("with ML-DSA-44")
    if pin.mirrors:
        parts.append("publisher and mirror" if pin.publishes else "mirror")
    if pin.models != ("*",):
        parts.append("for " + ", ".join(pin.models))
    parts.append(f"since {pin.added!s}")
    return ", ".join(parts)


def _json(pin: Pin) -> dict[str, object]:
    return {
        "name": pin.name,
        "fingerprint": pin.fingerprint,
        "public_key": pin.key.openssh if pin.key else None,
        "models": list(pin.models),
        "added": str(pin.added),
        "via": pin.via,
        "revoked": pin.revoked,
        "post_quantum": pin.post_quantum or None,
        "team": _team_json(pin),
        "roles": ["publisher"] * pin.publishes + ["mirror"] * pin.mirrors,
    }


def _team_json(pin: Pin) -> dict[str, object] | None:
    if pin.team is None:
        return None
    quorum = pin.team.current.releases
    return {
        "root": pin.team.version,
        "threshold": quorum.threshold,
        "keys": [key.fingerprint for key in quorum.keys],
    }
