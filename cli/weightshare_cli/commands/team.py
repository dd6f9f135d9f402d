"""`weightshare trust team`: several keys as one publisher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from weightshare_cli import options, output
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings
from weightshare_cli.passphrase import known

if TYPE_CHECKING:
    from weightshare.api.team_files import TeamFile

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
keep = click.option(
    "--keep",
    cls=options.Option,
    type=FILE,
    metavar="MANIFEST",
    multiple=True,
    help="An earlier release that stays good although its keys go. Repeatable.",
)
out = click.option(
    "--out", cls=options.Option, type=options.FOLDER, metavar="DIR", help="Put the root file here."
)
threshold = click.option(
    "--threshold",
    cls=options.Option,
    type=click.IntRange(min=1, max=64),
    metavar="N",
    help="How many of the keys must sign. Default: as before.",
)


@click.group(
    "team",
    cls=options.Group,
    short_help="Be one publisher with several keys.",
    examples=[
        (
            "three maintainers, two of whom must sign",
            "weightshare trust team new acme --key a.pub --key b.pub --key c.pub --threshold 2",
        ),
        ("each of them", "weightshare trust team sign acme.1.root.json --key ~/.ssh/id_ed25519"),
        ("everybody, from then on", "weightshare trust add acme acme.1.root.json"),
    ],
)
@options.common
def command() -> None:
    """Be one publisher with several keys, of which a number must sign.

    Who belongs to a team stands in a root file (TUF). The next version is signed by the keys of the one before
    and by its own, so whoever knows one root can follow to the newest. Releases carry the roots along.
    """


@command.command(
    "new",
    examples=[
        (
            "three maintainers, two of whom must sign",
            "weightshare trust team new acme --key a.pub --key b.pub --key c.pub --threshold 2",
        ),
        (
            "a key that published alone becomes a team, and what it signed stays good",
            "weightshare trust team new acme --key a.pub --key b.pub --threshold 2 --keep m7b.json",
        ),
    ],
)
@click.argument("name")
@click.option(
    "--key",
    "keys",
    cls=options.Option,
    metavar="FILE.pub",
    multiple=True,
    required=True,
    help="A member's public key. Repeatable.",
)
@click.option(
    "--threshold",
    cls=options.Option,
    type=click.IntRange(min=1, max=64),
    metavar="N",
    required=True,
    help="How many of the keys must sign.",
)
@keep
@out
@options.common
@click.pass_obj
def new(
    settings: Settings,
    name: str,
    keys: tuple[str, ...],
    threshold: int,
    keep: tuple[Path, ...],
    out: Path | None,
) -> None:
    """Write the first root of the team NAME, for its members to sign.

    NAME is the ORG of the releases the team will sign. If you are known by a single key so far, let that key sign
    the root too: whoever knows it then takes the team for you.
    """
    from weightshare.api import teams

    _show(teams.new_team(name, keys, threshold, keep=keep, out=out, home=home_of(settings)), settings)


@command.command(
    "add-key",
    examples=[
        ("take Dave in", "weightshare trust team add-key acme.1.root.json dave.pub"),
        ("and let three sign from now on", "weightshare trust team add-key acme dave.pub --threshold 3"),
    ],
)
@click.argument("team", metavar="ROOT|NAME")
@click.argument("key", metavar="FILE.pub")
@threshold
@keep
@out
@options.common
@click.pass_obj
def add_key(
    settings: Settings, team: str, key: str, threshold: int | None, keep: tuple[Path, ...], out: Path | None
) -> None:
    """Write the next root of a team, with one more key."""
    from weightshare.api import teams

    home = home_of(settings)
    _show(teams.change_team(team, add=[key], threshold=threshold, keep=keep, out=out, home=home), settings)


@command.command(
    "remove-key",
    examples=[
        ("let Bob's key go", "weightshare trust team remove-key acme.1.root.json bob.pub"),
        (
            "but stand by a release that he signed",
            "weightshare trust team remove-key acme SHA256:… --keep m7b.weightshare.json",
        ),
    ],
)
@click.argument("team", metavar="ROOT|NAME")
@click.argument("key", metavar="SHA256:…|FILE.pub")
@click.option(
    "--add",
    cls=options.Option,
    metavar="FILE.pub",
    multiple=True,
    help="Put this key in its place. Repeatable.",
)
@threshold
@keep
@out
@options.common
@click.pass_obj
def remove_key(
    settings: Settings,
    team: str,
    key: str,
    add: tuple[str, ...],
    threshold: int | None,
    keep: tuple[Path, ...],
    out: Path | None,
) -> None:
    """Write the next root of a team, with one key less.

    Releases that only count with that key's signature are not believed any more by whoever has the new root,
    unless it names them: --keep.
    """
    from weightshare.api import teams

    changed = teams.change_team(
        team, add=add, remove=[key], threshold=threshold, keep=keep, out=out, home=home_of(settings)
    )
    _show(changed, settings)


@command.command(
    "sign",
    examples=[
        (
            "with the SSH key you have",
            "weightshare trust team sign acme.1.root.json --key ~/.ssh/id_ed25519",
        )
    ],
)
@click.argument("root", type=FILE)
@options.key
@options.common
@click.pass_obj
def sign(settings: Settings, root: Path, key: str | None) -> None:
    """Add a signature to the file ROOT, as one of its members or of the root before."""
    from weightshare.api import teams

    signed = teams.sign_root(
        root,
        key=key,
        passphrase=lambda: known(key or "the key"),
        waiting=output.note,
        home=home_of(settings),
    )
    _show(signed, settings)


@command.command(
    "show",
    examples=[
        ("a root file", "weightshare trust team show acme.1.root.json"),
        ("a team that you know", "weightshare trust team show acme"),
    ],
)
@click.argument("team", metavar="ROOT|NAME")
@options.common
@click.pass_obj
def show(settings: Settings, team: str) -> None:
    """Show who belongs to a team, and what its root still lacks."""
    from weightshare.api import teams

    _show(teams.show_team(team, home=home_of(settings)), settings)


def _show(team: TeamFile, settings: Settings) -> None:
    if settings.json:
        output.say_json(team.to_json())
        return
    output.say(f"{team.name}  root {team.version}")
    kept = output.count(team.kept, "release") + " of retired keys" if team.kept else None
    output.facts(
        [
            ("identity", team.fingerprint),
            ("must sign", f"{team.threshold} of {len(team.keys)}"),
            *(("key" if not index else "", key) for index, key in enumerate(team.keys)),
            ("keeps good", kept),
            ("root", str(team.path) if team.path else None),
            ("lacks", _lacking(team)),
        ]
    )
    if settings.quiet or team.path is None:
        return
    name = output.quoted(team.path.name)
    output.note("")
    if not team.complete:
        output.note("It says nothing until enough have signed:")
        output.note(f"  weightshare trust team sign {name} --key ~/.ssh/id_ed25519")
        return
    output.note("It is complete. Whoever is to know the team:")
    output.note(f"  weightshare trust add {output.quoted(team.name)} {name}")


def _lacking(team: TeamFile) -> str | None:
    parts = []
    if team.missing_previous:
        parts.append(f"{team.missing_previous} of the keys of root {team.version - 1}")
    if team.missing_own:
        parts.append(f"{team.missing_own} of its own keys")
    return " and ".join(parts) or None
