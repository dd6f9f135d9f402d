"""`weightshare trust export`: the pinned publishers for stock `ssh-keygen`."""

from __future__ import annotations

from pathlib import Path

import click

from weightshare_cli import options, output
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings


@click.command(
    "export",
    cls=options.Command,
    examples=[
        ("the file that ssh-keygen -f takes", "weightshare trust export --out allowed_signers"),
        (
            "with what is revoked, for its -r",
            "weightshare trust export --out allowed_signers --revoked revoked_keys",
        ),
    ],
)
@click.option(
    "--out",
    cls=options.Option,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the file here instead of to stdout.",
)
@click.option(
    "--revoked",
    cls=options.Option,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the revoked keys here, for ssh-keygen -Y verify -r.",
)
@options.common
@click.pass_obj
def command(settings: Settings, out: Path | None, revoked: Path | None) -> None:
    """Write the pinned publishers as an allowed_signers file for ssh-keygen.

    `ssh-keygen -Y verify -f FILE -I NAME -n weightshare -s SIGNATURE < weightshare.json` then checks what
    `publish --sshsig` made, without weightshare.

    What ssh-keygen cannot be told (a revoked key, a fingerprint without its key, a team) is left out and
    named.
    """
    from weightshare.api.exporting import trust_export

    found = trust_export(out=out, revoked=revoked, home=home_of(settings))
    if settings.json:
        output.say_json(
            {
                "allowed_signers": found.render(),
                "out": str(out) if out else None,
                "revoked": [key.fingerprint for key in found.revoked],
                "revoked_out": str(revoked) if revoked else None,
                "left_out": [
                    {"name": pin.name, "fingerprint": pin.fingerprint, "reason": reason}
                    for pin, reason in found.left_out
                ],
                "notes": list(found.notes),
            }
        )
        return
    output.warn(
        [
            *(
                f"Left out: {pin.name or 'a key'} ({pin.fingerprint}): {reason}."
                for pin, reason in found.left_out
            ),
            *found.notes,
        ]
    )
    if out is None:
        output.put(found.render(), end=False)
        return
    output.say_path(out)
    if not settings.quiet:
        output.note(
            f"{output.count(len(found.exported), 'key')} for ssh-keygen -Y verify -f {output.quoted(str(out))}"
        )
