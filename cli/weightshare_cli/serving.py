"""Serving until stopped: what `seed` and `publish --seed` share."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from weightshare.units import format_rate, format_size
from weightshare_cli import output, progress
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results import SeedStatus
    from weightshare.errors import WeightshareError
    from weightshare.limits import Effective


def serve(
    settings: Settings,
    releases: Sequence[str],
    *,
    trust: Sequence[str] = (),
    network: str,
    port: int | None = None,
    peers: Sequence[tuple[str, int]] = (),
    dht_nodes: Sequence[tuple[str, int]] = (),
    limits: Mapping[str, Any] | None = None,
    unsigned: bool = False,
    published: dict[str, object] | None = None,
) -> None:
    """Seed until Ctrl-C or SIGTERM, which is its normal end.

    The first line on stdout says that it listens and where, flushed at once, so that a program can wait for
    it. With JSON the last one sums up, with what `published` holds in it, and in between is one for each change of the
    limits. `limits` are those that this call says itself, by their names in `seed`.
    """
    from weightshare.api.results import limits_json
    from weightshare.api.seeding import seed

    stop = threading.Event()
    began = time.monotonic()
    with progress.reporter(settings) as observe:

        def listening(bound: int, serving: tuple[str, ...]) -> None:
            with observe.paused():
                _say_listening(settings, bound, serving)

        def left_out(error: WeightshareError) -> None:
            with observe.paused():
                output.warn([f"{error.message} It is not served."])

        def limited(now: Effective, resting: tuple[str, ...]) -> None:
            if settings.json:
                output.say_json({"event": "limits", **limits_json(now), "resting": list(resting)})

        def warn(warning: str) -> None:
            with observe.paused():
                output.warn([warning])

        def opened(release: str) -> None:
            with observe.paused():
                _say_opened(settings, release)

        def status(now: SeedStatus) -> None:
            observe.status(describe(now))

        with stopping(stop):
            last = seed(
                tuple(releases),
                home=home_of(settings),
                trust=tuple(trust),
                network=network,
                port=port,
                peers=tuple(peers),
                dht_nodes=tuple(dht_nodes),
                unsigned=unsigned,
                on_listening=listening,
                on_status=status,
                on_left_out=left_out,
                on_limits=limited,
                on_warning=warn,
                on_opened=opened,
                observe=observe,
                stop=stop,
                **(limits or {}),
            )
    if settings.json:
        output.say_json(
            (published or {})
            | {
                "event": "stopped",
                "port": last.port,
                "releases": list(last.releases),
                "uploaded": last.uploaded,
                "seeded_seconds": round(time.monotonic() - began, 3),
            }
        )
    elif not settings.quiet:
        output.note(f"stopped; {format_size(last.uploaded)} given")


def describe(status: SeedStatus) -> str:
    """How a seeder stands, as one line: what it does, and what of that is limited, and why."""
    parts = [
        output.count(len(status.releases), "release"),
        output.count(status.peers, "peer"),
        f"{format_rate(status.up_rate)} up{_held(status.limits)}",
        f"{format_size(status.uploaded)} given",
    ]
    if len(status.resting) == 1:
        parts.append(f"{status.resting[0]} rests at ratio {status.limits.budget.ratio:g}")
    elif status.resting:
        parts.append(f"{len(status.resting)} releases rest at ratio {status.limits.budget.ratio:g}")
    if status.troubles:
        parts.append(status.troubles)
    return f"seeding   {', '.join(parts)}"


def _held(limits: Effective) -> str:
    """What holds the uploads of a seeder down, in brackets; empty if nothing does."""
    if not limits.uploads:
        return f" (upload budget of {format_size(limits.budget.per_day)} for today used up)"
    if not limits.max_up:
        return ""
    by = "by the schedule" if limits.sources.get("max_up") == "schedule" else "by you"
    return f" (capped {by}: {format_rate(limits.max_up)})"


def _say_listening(settings: Settings, port: int, releases: tuple[str, ...]) -> None:
    if settings.json:
        output.say_json({"event": "listening", "port": port, "releases": list(releases)})
        return
    output.say(f"listening on port {port}, serving {output.count(len(releases), 'release')}; Ctrl-C ends it")
    for release in releases:
        output.say(f"  {release}")


def _say_opened(settings: Settings, release: str) -> None:
    if settings.json:
        output.say_json({"event": "announced", "release": release})
    else:
        output.say(f"{release} is open to everybody now, and announced")


class stopping:  # noqa: N801  a context manager, used like a function
    """While inside, a signal asks for the end instead of raising; a second one raises."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._ask)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()
