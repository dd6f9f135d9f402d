"""The command tree: which verbs there are, and the module each is loaded from when it is called."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

import click

from weightshare.version import __version__
from weightshare_cli import options


class Verb(NamedTuple):
    """A command's module under `commands`, and its line in the list; the line repeats the command's own."""

    module: str
    help: str


SECTIONS: dict[str, dict[str, Verb]] = {
    "Share": {
        "publish": Verb("publish", "Check, hash and sign a checkpoint; print its magnet link."),
        "sign": Verb("sign", "Add a signature to a manifest that a team is to sign."),
        "seed": Verb("seed", "Serve published and fetched releases to others."),
        "limits": Verb("limits", "Show and change the limits of all that seeds and fetches here."),
    },
    "Get": {
        "fetch": Verb("fetch", "Fetch a release, its publisher proven before the first weight byte."),
        "inspect": Verb("inspect", "Show what a release holds and who signed it, without fetching it."),
        "verify": Verb("verify", "Check files on this disk against their signed manifest."),
        "run": Verb("run", "Load a release, proving every byte, and generate text."),
        "serve": Verb("serve", "Answer OpenAI's clients with a release, every byte of it proven."),
    },
    "Keep": {
        "scan": Verb("scan", "Find files of known releases that other programs keep on this disk."),
        "ls": Verb("ls", "List the releases on this machine."),
        "rm": Verb("rm", "Remove a release from this machine."),
    },
    "Trust": {
        "keys": Verb("keys", "Make and show signing keys."),
        "trust": Verb("trust", "Say which publishers you know."),
    },
    "Learn": {
        "doctor": Verb("doctor", "Find out what works: this machine, a link, a release."),
        "demo": Verb("demo", "Play the whole path on a small real model, on this machine alone."),
    },
}


class Root(click.Group):
    """The `weightshare` group: commands by section, each imported at its first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in the order of the help page."""
        return [name for name, _ in _verbs()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, imported now."""
        verb = dict(_verbs()).get(cmd_name)
        if verb is None:
            return None
        command = import_module(f"weightshare_cli.commands.{verb.module}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"weightshare_cli.commands.{verb.module}.command is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest verb named where there is none of that name."""
        name = args[0]
        if name not in dict(_verbs()) and not name.startswith("-"):
            near = difflib.get_close_matches(name, dict(_verbs()), 1)
            advice = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"There is no command {name!r}.{advice}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The sections, from the table above: no command is imported for a list."""
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, verb.help) for name, verb in verbs.items()], col_spacing=4)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples."""
        options.write_examples(
            formatter,
            (
                ("see it work, on this machine alone", "weightshare demo"),
                (
                    "publish a checkpoint and keep serving it",
                    "weightshare publish ./model --name acme/m7b --seed",
                ),
                (
                    "fetch one; quote the link, it holds characters that shells act on",
                    "weightshare fetch 'magnet:?xt=…'",
                ),
                ("ask it something", "weightshare run acme/m7b 'What is the capital of France?'"),
            ),
        )


def _verbs() -> Iterator[tuple[str, Verb]]:
    for verbs in SECTIONS.values():
        yield from verbs.items()


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    subcommand_metavar="COMMAND …",
)
@click.version_option(__version__, prog_name="weightshare", message="%(prog)s %(version)s")
@options.common
def cli() -> None:
    """Publish and fetch model checkpoints over BitTorrent, every byte signed for and proven."""
