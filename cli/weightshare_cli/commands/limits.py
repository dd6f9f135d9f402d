"""`weightshare limits`: what seeders and fetches may use, shown, and changed while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from weightshare.units import format_rate, format_size
from weightshare_cli import options, output
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results import LimitsShown
    from weightshare.limits import Window

_NAMES = ("max_down", "max_up", "max_connections", "upload_per_day", "ratio")
_SAID = {"limits": "set by `weightshare limits`", "config": "config.toml", "schedule": "the schedule"}


@click.command(
    "limits",
    cls=options.Command,
    short_help="Show and change the limits of all that seeds and fetches here.",
    examples=[
        ("what holds now, and what was given today", "weightshare limits"),
        ("slow a running seeder down, at once", "weightshare limits --max-up 2M"),
        ("back to what flags and config.toml say", "weightshare limits --reset"),
        ("not more than 50 GiB a day", "weightshare limits --upload-per-day 50G"),
    ],
)
@click.option(
    "--max-down",
    cls=options.Option,
    callback=options.size,
    metavar="RATE",
    help="Cap on what comes in, bytes a second: 800K, 12M. 0: none.",
)
@click.option(
    "--max-up",
    cls=options.Option,
    callback=options.size,
    metavar="RATE",
    help="Cap on what goes out. 0: none.",
)
@click.option(
    "--max-connections",
    cls=options.Option,
    type=click.IntRange(min=0),
    metavar="N",
    help="Cap on connections to peers, of each seeder and fetch. 0: none.",
)
@click.option(
    "--upload-per-day",
    cls=options.Option,
    callback=options.size,
    metavar="SIZE",
    help="Upload budget: give so much a day, then nothing until midnight. 0: none.",
)
@click.option(
    "--ratio",
    cls=options.Option,
    callback=options.times,
    metavar="R",
    help="Ratio limit: give each release so many times its own size. 0: none.",
)
@click.option(
    "--reset",
    cls=options.Option,
    is_flag=True,
    help="Take back what was set here before; comes before what is set along with it.",
)
@options.common
@click.pass_context
def command(
    ctx: click.Context,
    max_down: int | None,
    max_up: int | None,
    max_connections: int | None,
    upload_per_day: int | None,
    ratio: float | None,
    reset: bool,
) -> None:
    """Show what seeders and fetches of this home may use, or set it. Those that run follow within two seconds.

    What is set here stays until --reset, and beats a flag or the environment of any seed or fetch; those beat the
    schedule in config.toml, and that its other limits. Rates and connections are those of each seeder and fetch; the
    upload budget is shared by all of this home, and spent from midnight to midnight.
    """
    from weightshare.api.limits import change_limits, show_limits
    from weightshare.limits import Limits

    settings = ctx.ensure_object(Settings)
    home = home_of(settings)
    said = options.given(ctx, *_NAMES, environment=False)
    if said or reset:
        change_limits(Limits(**said), reset=reset, home=home)
    shown = show_limits(home=home)
    if settings.json:
        output.say_json(shown.to_json())
        return
    _show(shown)


def _show(shown: LimitsShown) -> None:
    limits = shown.limits
    rows = [
        ("max-down", _rate(limits.max_down), "max_down"),
        ("max-up", _rate(limits.max_up), "max_up"),
        ("max-connections", str(limits.max_connections or "none"), "max_connections"),
        ("upload-per-day", _size(limits.budget.per_day), "upload_per_day"),
        ("ratio", f"{limits.budget.ratio:g}" if limits.budget.ratio else "none", "ratio"),
    ]
    output.table([(name, value, _SAID.get(limits.sources[key], "")) for name, value, key in rows])
    for window in shown.schedule.windows:
        output.say(f"schedule: {_window(window)}{', now' if window == limits.window else ''}")
    spent = "" if limits.uploads else "; the budget is used up until midnight"
    output.say(f"given today: {format_size(limits.given_today)}{spent}")
    for entry in shown.releases:
        reached = limits.budget.spent_on(entry.given, entry.bytes)
        output.say(
            f"  {entry.release}: {format_size(entry.given)} ever, ratio {entry.ratio:.2f}"
            + (", rests" if reached else "")
        )


def _rate(value: int) -> str:
    return format_rate(value) if value else "none"


def _size(value: int) -> str:
    return format_size(value) if value else "none"


def _window(window: Window) -> str:
    from weightshare.limits import DAYS

    days = ",".join(DAYS[day] for day in sorted(window.days)) if len(window.days) < len(DAYS) else "daily"
    speeds = [
        f"max-{way} {_rate(value)}"
        for way, value in (("down", window.max_down), ("up", window.max_up))
        if value is not None
    ]
    end = window.end.isoformat("minutes")
    return f"{days} {window.begin.isoformat('minutes')}-{'24:00' if end == '00:00' else end}, {', '.join(speeds)}"
