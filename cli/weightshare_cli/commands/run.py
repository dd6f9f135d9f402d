"""`weightshare run`: a proven release answers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from weightshare.errors import UsageError
from weightshare.units import format_size
from weightshare_cli import options, output, progress
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results import Ran

MAX_PROMPT = 1024 * 1024


@click.command(
    "run",
    cls=options.Command,
    short_help="Load a release, proving every byte, and generate text.",
    examples=[
        ("ask once", "weightshare run acme/m7b 'What is the capital of France?'"),
        ("chat, on a terminal", "weightshare run acme/m7b"),
        (
            "a prompt from a file, the same answer every time",
            "weightshare run acme/m7b --seed 1 < prompt.txt",
        ),
        ("a folder that holds a weightshare.json", "weightshare run ./m7b 'Hello' --device cpu"),
    ],
)
@click.argument("release", metavar="RELEASE|DIR")
@click.argument("prompt", required=False)
@click.option(
    "--max-new-tokens",
    cls=options.Option,
    type=click.IntRange(min=1),
    metavar="N",
    default=256,
    show_default=True,
    help="Longest answer, in tokens.",
)
@click.option(
    "--seed",
    cls=options.Option,
    type=int,
    metavar="N",
    help="Draw tokens, the same for the same N. Default: always the likeliest.",
)
@click.option(
    "--device",
    cls=options.Option,
    type=click.Choice(["auto", "cpu", "cuda"]),
    metavar="auto|cpu|cuda",
    default="auto",
    show_default=True,
    help="Where to run.",
)
@click.option(
    "--private",
    cls=options.Option,
    is_flag=True,
    help="Copy the weights into memory of its own instead of mapping the files.",
)
@options.trust
@options.common
@click.pass_obj
def command(
    settings: Settings,
    release: str,
    prompt: str | None,
    max_new_tokens: int,
    seed: int | None,
    device: str,
    private: bool,
    trust: tuple[str, ...],
) -> None:
    """Load RELEASE and answer PROMPT. Without one: a chat on a terminal, else the prompt is read from stdin.

    Every byte that is used is proven against the signed manifest first, and no code from the release ever
    runs.
    """
    from weightshare.api.running import run

    if release.startswith(("magnet:", "http://", "https://")):
        raise UsageError(
            "`run` takes a release or folder on this machine, and this is a link.",
            hint="Fetch it first: weightshare fetch LINK prints the folder to run.",
        )
    if prompt is None and sys.stdin.isatty() and not settings.json:
        from weightshare_cli.chat import chat

        chat(
            settings,
            release,
            trust=trust,
            device=device,
            private=private,
            max_new_tokens=max_new_tokens,
            seed=seed,
        )
        return
    words = _from_stdin() if prompt is None else prompt
    with progress.reporter(settings) as observe:
        writer = Writer(observe)
        ran = run(
            release,
            words,
            home=home_of(settings),
            trust=trust,
            device=device,
            private=private,
            max_new_tokens=max_new_tokens,
            seed=seed,
            on_text=None if settings.json else writer.write,
            observe=observe,
        )
    if settings.json:
        output.say_json(ran.to_json())
        return
    writer.end(ran.text)
    output.warn(ran.warnings)
    if not settings.quiet:
        output.note(_cost(ran))


class Writer:
    """Puts an answer on stdout as it comes, what is not printable in it as escapes."""

    def __init__(self, observe: progress.Reporter) -> None:
        self._observe = observe
        self._wrote = ""

    def write(self, text: str) -> None:
        """Write a piece of the answer."""
        if not self._wrote:
            self._observe.stop()
        self._wrote += text
        output.put(output.clean(text, keep="\n\t"), end=False)

    def end(self, text: str) -> None:
        """End the line; write the whole answer if none of it came in pieces."""
        if not self._wrote:
            self.write(text)
        if not self._wrote.endswith("\n"):
            output.put("")


def _from_stdin() -> str:
    prompt = sys.stdin.read(MAX_PROMPT + 1).strip()
    if not prompt or len(prompt) > MAX_PROMPT:
        found = "nothing" if not prompt else f"more than {format_size(MAX_PROMPT)}"
        raise UsageError(
            f"Expected a prompt on stdin; found {found}.", hint="Give it as the second argument."
        )
    return prompt


def _cost(ran: Ran) -> str:
    return (
        f"{format_size(ran.load_bytes)} proven and loaded in {output.took(ran.load_seconds)}; "
        f"{ran.tokens} tokens at {ran.tokens_per_second:.1f} a second on {ran.device}"
    )
