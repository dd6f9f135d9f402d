"""`weightshare keys`: the signing keys of a publisher."""

from __future__ import annotations

import os

import click

from weightshare.errors import StoreError
from weightshare_cli import options, output
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings
from weightshare_cli.passphrase import ENVIRONMENT, ask_new


@click.group(
    "keys",
    cls=options.Group,
    short_help="Make and show signing keys.",
    examples=[
        ("make a key called acme", "weightshare keys new acme"),
        ("what others need to trust it", "weightshare keys show acme"),
    ],
)
@options.common
def command() -> None:
    """Make and show signing keys.

    A key is an Ed25519 key in OpenSSH's format. If you already have ~/.ssh/id_ed25519, you need no other:
    publish with --key ~/.ssh/id_ed25519, or
    with --key agent for the one that your ssh-agent holds.
    """


@command.command(
    "new",
    examples=[
        ("make a key called acme", "weightshare keys new acme"),
        ("protect it with a passphrase", "weightshare keys new acme --passphrase"),
        ("the same in a script", f'{ENVIRONMENT}="$(pass show acme)" weightshare keys new acme'),
        ("with a second key for the time of quantum computers", "weightshare keys new acme --hybrid"),
    ],
)
@click.argument("name")
@click.option(
    "--passphrase",
    "ask",
    cls=options.Option,
    is_flag=True,
    help=f"Ask for a passphrase to protect the key with. In scripts set {ENVIRONMENT} instead.",
)
@click.option(
    "--hybrid",
    cls=options.Option,
    is_flag=True,
    help="Also make an ML-DSA-44 key (post-quantum). Both will sign, and both are demanded.",
)
@options.common
@click.pass_obj
def new(settings: Settings, name: str, ask: bool, hybrid: bool) -> None:
    """Make a signing key called NAME.

    NAME is your name as a publisher, the ORG of the releases it will sign.
    """
    from weightshare.api import identity

    passphrase = os.environ.get(ENVIRONMENT) or None
    if ask and passphrase is None:
        passphrase = ask_new()
    key, path = identity.new_key(name, passphrase=passphrase, home=home_of(settings))
    second = identity.new_second_key(path, passphrase=passphrase) if hybrid else None
    if settings.json:
        output.say_json(
            _json(name, key.fingerprint, key.openssh, str(path))
            | {"encrypted": passphrase is not None}
            | {"post_quantum": second.fingerprint if second else None}
        )
        return
    output.say(key.fingerprint)
    output.facts(
        [
            ("key", str(path)),
            ("public key", f"{path}.pub"),
            ("ML-DSA-44", second.fingerprint if second else None),
        ]
    )
    if not settings.quiet:
        output.note("")
        output.note("Keep the key to yourself and back it up. Others trust it by its fingerprint:")
        more = f" --post-quantum {second.fingerprint}" if second else ""
        output.note(f"  weightshare trust add {output.quoted(name)} {key.fingerprint}{more}")


@command.command("list", examples=[("every key in the home folder", "weightshare keys list")])
@options.common
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the keys in the home folder."""
    from weightshare.api import identity

    home = home_of(settings)
    found = identity.own_keys(home)
    if settings.json:
        output.say_json(
            {
                "keys": [
                    _json(name, key.fingerprint, key.openssh, str(home.keys / name)) for name, key in found
                ]
            }
        )
        return
    output.table([(name, key.fingerprint) for name, key in found])
    if not found and not settings.quiet:
        output.note("No keys yet; weightshare keys new NAME makes one.")


@command.command(
    "show",
    examples=[
        ("fingerprint and public key", "weightshare keys show acme"),
        ("the public key alone, to post it", "weightshare keys show acme --quiet > acme.pub"),
    ],
)
@click.argument("name")
@options.common
@click.pass_obj
def show(settings: Settings, name: str) -> None:
    """Show a key's fingerprint and public half.

    With --quiet the public key alone, as others can hand it to `weightshare trust add`.
    """
    from weightshare.api import identity

    home = home_of(settings)
    keys = dict(identity.own_keys(home))
    if name not in keys:
        raise StoreError(
            f"There is no key called {name!r} in {home.keys}.",
            hint="weightshare keys list shows those there are.",
            name=name,
        )
    key, second = keys[name], identity.second_key(name, home)
    if settings.json:
        output.say_json(
            _json(name, key.fingerprint, key.openssh, str(home.keys / name))
            | {"post_quantum": second.line if second else None}
        )
        return
    if not settings.quiet:
        output.say(key.fingerprint)
    output.say(key.openssh)
    if second is not None:
        output.say(second.line)


def _json(name: str, fingerprint: str, openssh: str, path: str) -> dict[str, object]:
    return {"name": name, "fingerprint": fingerprint, "public_key": openssh, "path": path}
