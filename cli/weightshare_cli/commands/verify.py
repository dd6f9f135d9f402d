"""`weightshare verify`: are the bytes on this disk those that were signed?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from weightshare.errors import CorruptError
from weightshare.units import format_size
from weightshare_cli import errors, options, output, progress
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

RANGES = 8
"""Runs of bad pieces that are named; more are counted."""


@click.command(
    "verify",
    cls=options.Command,
    short_help="Check files on this disk against their signed manifest.",
    examples=[
        ("a release in the store", "weightshare verify acme/m7b"),
        ("a folder that holds a weightshare.json", "weightshare verify ./m7b"),
        (
            "and demand their detached SSH signature too",
            "weightshare verify acme/m7b --sshsig m7b.weightshare.json.sig",
        ),
    ],
)
@click.argument("release", metavar="RELEASE|DIR")
@click.option(
    "--sshsig",
    cls=options.Option,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Demand this detached SSH signature over the manifest too, by a key pinned for the publisher.",
)
@options.trust
@options.common
@click.pass_obj
def command(settings: Settings, release: str, sshsig: Path | None, trust: tuple[str, ...]) -> None:
    """Read every byte of RELEASE and compare it with the signed manifest.

    Each corrupt, missing and extra file is named, with the bad pieces of a corrupt one; exit 4 if there is
    any.
    """
    from weightshare.api.checking import verify

    with progress.reporter(settings) as observe:
        found = verify(release, detached=sshsig, home=home_of(settings), trust=trust, observe=observe)
    if settings.json:
        output.say_json(found.to_json())
    else:
        output.warn(found.warnings)
        bad = [verdict for verdict in found.files if not verdict.ok]
        output.table([(file.problem or "bad", _detail(file.path, file.bad_pieces)) for file in bad])
        if found.ok:
            output.say(
                f"ok  {found.release}: {output.count(len(found.files), 'file')}, {format_size(found.bytes)}, "
                f"in {output.took(found.seconds)}"
            )
            output.say(f"    as signed by {output.who(found.publisher, found.publisher_name)}")
            if found.sshsig:
                output.say(f"    and by the detached SSH signature of {found.sshsig}")
    if not found.ok:
        if not settings.json:
            _complain(len([verdict for verdict in found.files if not verdict.ok]), found.release)
        raise click.exceptions.Exit(CorruptError.exit_code)


def _complain(bad: int, release: str) -> None:
    output.tell(
        errors.paragraph("error", f"{output.count(bad, 'file')} of {release} not as signed.", colour="red")
    )
    output.tell(errors.paragraph("hint", "Fetching the release again replaces what is bad.", colour="cyan"))


def _detail(path: str, pieces: Sequence[int]) -> str:
    return f"{path}: {runs(pieces)}" if pieces else path


def runs(pieces: Sequence[int]) -> str:
    """Piece indices for a reader: `piece 4`, `pieces 3, 7-9`."""
    spans: list[list[int]] = []
    for index in sorted(pieces):
        if spans and index == spans[-1][1] + 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    shown = [str(low) if low == high else f"{low}-{high}" for low, high in spans[:RANGES]]
    if len(spans) > RANGES:
        shown.append(f"… {len(pieces):,} in all")
    return f"piece{'' if len(pieces) == 1 else 's'} {', '.join(shown)}"
