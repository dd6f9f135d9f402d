"""`weightshare demo`: the whole path, played on this machine."""

from __future__ import annotations

import click

from weightshare_cli import options, output
from weightshare_cli.options import Settings


@click.command(
    "demo",
    cls=options.Command,
    short_help="Play the whole path on a small real model, on this machine alone.",
    examples=[
        ("watch it", "weightshare demo"),
        ("keep the folders, to look around in afterwards", "weightshare demo --keep"),
    ],
)
@click.option("--keep", cls=options.Option, is_flag=True, help="Leave the temporary folders when it is over.")
@options.common
@click.pass_obj
def command(settings: Settings, keep: bool) -> None:
    """Publish, serve, fetch, refuse, verify and run a small real model, each step a command of its own.

    All of it happens in a temporary folder and on the loopback device; your own keys and releases are not
    touched.
    """
    from weightshare.content.home import cache_dir
    from weightshare_cli.demonstration.acts import Play, closing
    from weightshare_cli.demonstration.stage import Stage

    hush = settings.json or settings.quiet
    with Stage((lambda _: None) if hush else output.say, keep=keep, full=settings.verbose) as stage:
        play = Play(stage, cache_dir() / "demo")
        play.all()
        if settings.json:
            output.say_json(
                {
                    "ok": True,
                    "answer": play.answer,
                    "acts": [{"title": title, "seconds": round(taken, 3)} for title, taken in play.times],
                    "folder": str(stage.folder) if keep else None,
                }
            )
            return
        output.say()
        output.say(closing(play))
        if keep:
            output.say(f"The folders are in {stage.folder}.")
