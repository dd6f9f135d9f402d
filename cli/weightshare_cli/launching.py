"""Launch day on the command line: the options of `publish`, `seed` and `doctor` that have to do with it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from weightshare.errors import UsageError
from weightshare_cli import embargoes, output
from weightshare_cli import options as shared
from weightshare_cli.gathering import gathered
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings
from weightshare_cli.rehearsing import Rehearsal, rehearse

if TYPE_CHECKING:
    from weightshare.api.results import Published
    from weightshare.content.embargoes import Embargo

F = TypeVar("F", bound=Callable[..., Any])
Peers = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Launching:
    """What `publish` is asked to do about the launch; see the help of each option."""

    rehearse: bool = False
    embargo: bool = False
    allow: tuple[str, ...] = ()
    announce: str | None = None
    announce_at: int = 0
    mirrors: int | None = None
    qr: Path | None = None

    def opens(self, settings: Settings, trackers: Sequence[str], web_seeds: Sequence[str]) -> bool:
        """End an embargo if that is what was asked for, and say whether it was."""
        if self.announce is None:
            return False
        if self.embargo or self.allow or self.announce_at or self.rehearse:
            raise click.UsageError(
                "--announce ends an embargo; the options that begin one do not go with it."
            )
        embargoes.open_release(settings, self.announce, trackers=trackers, web_seeds=web_seeds)
        return True

    def held(self) -> Embargo | None:
        """The embargo that was asked for.

        Raises:
            UsageError: an entry of the list is none, or options that need an embargo come without one.
        """
        if not self.embargo:
            if self.allow or self.announce_at:
                raise UsageError("--allow and --announce-at go with --embargo.", hint="Add --embargo.")
            return None
        from weightshare.api.launching.embargo import new_embargo

        return new_embargo(self.allow, self.announce_at)

    def rehearsed(
        self, settings: Settings, made: Published, *, network: str, port: int | None, dht_nodes: Peers
    ) -> tuple[int, dict[str, object]]:
        """Rehearse if that is what was asked for; the exit status, and what JSON says of it."""
        how = Rehearsal(self.mirrors, self.qr)
        if not self.rehearse:
            if how != Rehearsal():
                raise UsageError("--mirrors and --qr go with --rehearse.", hint="Add --rehearse.")
            return 0, {}
        return rehearse(settings, made.info_hash_v2, how, network=network, port=port, dht_nodes=dht_nodes)

    def explain(self, settings: Settings, made: Published, out: Path | None) -> None:
        """Say what an embargo means, beside the release that was made."""
        if made.embargo is not None and not settings.quiet and not settings.json:
            embargoes.explain(made, out)


def allow(function: F) -> F:
    """`seed --allow`, which widens an embargo before the release is served."""

    @functools.wraps(function)
    def collect(*args: Any, **kwargs: Any) -> Any:
        more = kwargs.pop("allow")
        if more:
            _let_in(kwargs.get("releases", ()), more)
        return function(*args, **kwargs)

    return _ALLOW(collect)  # type: ignore[no-any-return]


def _let_in(releases: Sequence[str], more: Sequence[str]) -> None:
    from weightshare.api.launching.embargo import allow as let_in

    if len(releases) != 1:
        raise click.UsageError("--allow goes with one release, named, that is under embargo.")
    settings = click.get_current_context().ensure_object(Settings)
    held = let_in(releases[0], more, home=home_of(settings))
    if not settings.quiet:
        output.note(f"under embargo, {embargoes.describe(held)}")


def _option(*names: str, help_text: str, section: str = "Launch", **kwargs: Any) -> Callable[[Any], Any]:
    return click.option(*names, cls=shared.Option, section=section, help=help_text, **kwargs)


_ALLOW = _option(
    "--allow",
    section="Options",
    metavar="HOST",
    multiple=True,
    help_text="Under embargo, also let this address, range or host have it. Repeatable.",
)
_TRYING = (
    _option(
        "--mirrors",
        type=click.IntRange(min=0),
        metavar="N",
        help_text="How many others should hold all of the release already.",
    ),
    _option(
        "--qr",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help_text="Write the link as a QR picture: .svg or .png. Needs weightshare[qr].",
    ),
)
_OPTIONS = (
    _option(
        "--rehearse",
        is_flag=True,
        help_text="Then try it as a stranger would, and print a checklist and texts to post.",
    ),
    *_TRYING,
    _option(
        "--embargo",
        is_flag=True,
        help_text="Announce it nowhere and give it to those of --allow alone, until --announce.",
    ),
    _option(
        "--allow",
        metavar="HOST",
        multiple=True,
        help_text="Address, range (192.0.2.0/24) or host that may have it under embargo. Repeatable.",
    ),
    _option(
        "--announce-at",
        metavar="TIME",
        callback=embargoes.time_of,
        help_text="When the embargo ends by itself, such as 2026-12-01T16:00Z.",
    ),
    _option(
        "--announce",
        metavar="RELEASE|MAGNET",
        help_text="End an embargo, also of a release that is being served; needs no DIR.",
    ),
)
options = gathered("launching", Launching, _OPTIONS)
"""The options of `publish`; it is called with one `launching: Launching`."""
trying = gathered("rehearsal", Rehearsal, _TRYING)
"""The options of a command that rehearses; it is called with one `rehearsal: Rehearsal`."""
