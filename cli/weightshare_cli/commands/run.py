"""`weightshare run`: a proven release answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from weightshare.errors import UsageError
from weightshare.progress import Observer
from weightshare_cli import answering as answers
from weightshare_cli import options
from weightshare_cli.answering import Answering, answer
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.running import OpenRunner


@click.command(
    "run",
    cls=options.Command,
    short_help="Load a release, proving every byte, and generate text.",
    examples=[
        ("ask once", "weightshare run acme/m7b 'What is the capital of France?'"),
        ("chat, on a terminal", "weightshare run acme/m7b"),
        (
            "a prompt from a file; a draw, the same one every time",
            "weightshare run acme/m7b --seed 1 < prompt.txt",
        ),
        ("about a text from a pipe", "cat story.txt | weightshare run acme/m7b 'Sum this up.'"),
        ("a folder that holds a weightshare.json", "weightshare run ./m7b 'Hello' --device cpu"),
    ],
)
@click.argument("release", metavar="RELEASE|DIR")
@click.argument("prompt", required=False)
@answers.options
@options.trust
@options.common
@click.pass_obj
def command(
    settings: Settings,
    release: str,
    prompt: str | None,
    answering: Answering,
    trust: tuple[str, ...],
) -> None:
    """Load RELEASE and answer PROMPT. Without one: a chat on a terminal, else the prompt is read from stdin.

    What comes on stdin beside a PROMPT goes before it. The likeliest token is taken each time, unless --seed,
    --temperature, --top-p or --top-k asks for a draw; what these leave open is as the release says.

    Every byte that is used is proven against the signed manifest first, and no code from the release ever
    runs.
    """
    if release.startswith(("magnet:", "http://", "https://")):
        raise UsageError(
            "`run` takes a release or folder on this machine, and this is a link.",
            hint="Fetch it first: weightshare fetch LINK prints the folder to run.",
        )

    def opened(observe: Observer) -> OpenRunner:
        from weightshare.api.running import open_runner

        return open_runner(
            release, home=home_of(settings), trust=trust, observe=observe, **answering.loading()
        )

    answer(settings, opened, prompt, answering)
