"""`weightshare sign`: one maintainer's signature on a team's manifest."""

from __future__ import annotations

from pathlib import Path

import click

from weightshare_cli import options, output, signing
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings
from weightshare_cli.passphrase import known

MANIFEST = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    "sign",
    cls=options.Command,
    short_help="Add a signature to a manifest that a team is to sign.",
    examples=[
        ("what am I to sign?", "weightshare sign m7b.weightshare.json --show"),
        (
            "sign with the SSH key you have",
            "weightshare sign m7b.weightshare.json --key ~/.ssh/id_ed25519",
        ),
        (
            "put together copies that were signed at the same time",
            "weightshare sign m7b.weightshare.json --merge from-bob.json --merge from-carol.json",
        ),
    ],
)
@click.argument("manifest", type=MANIFEST)
@options.key
@click.option(
    "--merge",
    cls=options.Option,
    type=MANIFEST,
    metavar="FILE",
    multiple=True,
    help="Take over the signatures in this copy; without --key, sign nothing. Repeatable.",
)
@click.option(
    "--show", "looking", cls=options.Option, is_flag=True, help="Show what would be signed; sign nothing."
)
@options.common
@click.pass_obj
def command(
    settings: Settings, manifest: Path, key: str | None, merge: tuple[Path, ...], looking: bool
) -> None:
    """Add a signature to MANIFEST, which `weightshare publish --prepare` wrote.

    The manifest lists every file with its digest, so it is all that a member of the team needs. Look at it
    before you sign it: --show.
    """
    from weightshare.api.cosigning import look_at, sign_manifest

    if looking:
        prepared, statement = look_at(manifest, home=home_of(settings))
        signing.show_statement(prepared, statement, settings)
        return

    prepared = sign_manifest(
        manifest,
        key=key,
        passphrase=lambda: known(key or "the key"),
        waiting=output.note,
        merge=list(merge),
        home=home_of(settings),
    )
    signing.show(prepared, settings)
