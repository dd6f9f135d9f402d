"""Talking to a release on a terminal, a line at a time, until an empty end of input."""

from __future__ import annotations

from collections.abc import Sequence

import click

from weightshare_cli import output, progress
from weightshare_cli.commands.run import Writer
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings


def chat(
    settings: Settings,
    release: str,
    *,
    trust: Sequence[str],
    device: str,
    private: bool,
    max_new_tokens: int,
    seed: int | None,
) -> None:
    """Load the release once and answer each line; Ctrl-D or Ctrl-C ends it."""
    from weightshare.api.running import open_runner

    with (
        progress.reporter(settings) as observe,
        open_runner(
            release, home=home_of(settings), trust=trust, device=device, private=private, observe=observe
        ) as runner,
    ):
        observe.stop()
        output.note(f"{release} on {runner.device}; Ctrl-D ends the chat")
        said: list[dict[str, str]] = []
        while (line := _line()) is not None:
            if not line:
                continue
            said.append({"role": "user", "content": line})
            writer = Writer(observe)
            answer = runner.generate(said, max_new_tokens=max_new_tokens, seed=seed, on_text=writer.write)
            writer.end(answer.text)
            if len(said) == 1:
                output.warn(runner.answered(answer).warnings)
            said.append({"role": "assistant", "content": answer.text})


def _line() -> str | None:
    try:
        line: str = click.prompt(">", prompt_suffix=" ", default="", show_default=False, err=True)
    except click.Abort:
        return None
    return line.strip()
