"""Old torrents on the command line: `fetch --unsigned`, `fetch --manifest`, and unsigned ones in the other commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weightshare.errors import CorruptError, UsageError
from weightshare.limits import Limits
from weightshare.units import format_rate, format_size
from weightshare_cli import answering as answers
from weightshare_cli import options as shared
from weightshare_cli import output, progress
from weightshare_cli.asking import ask_about, can_ask
from weightshare_cli.errors import paragraph
from weightshare_cli.gathering import gathered
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings
from weightshare_cli.sources import given

if TYPE_CHECKING:
    from weightshare.api.old.swarming import Reach
    from weightshare.api.results import Fetched, StrangerInfo
    from weightshare.api.results.old import Unsigned
    from weightshare.manifest.plain import Plain


_WHOLE_ONLY = (
    "include",
    "exclude",
    "tensors",
    "rank",
    "of",
    "dry_run",
    "seed_for",
    "order",
    "running",
    "prompt",
    "require_mirrors",
    "attestations",
    *answers.NAMES,
)
"""Options of `fetch` that are about parts of a release, or about what no old torrent has."""
_SPELT = {"running": "run", "attestations": "attestation"}


@dataclass(frozen=True, slots=True)
class Old:
    """Whether and how an old torrent is to be fetched; see the help of each option."""

    unsigned: bool = False
    manifest: str | None = None

    @property
    def asked(self) -> bool:
        """Whether an old torrent is meant at all."""
        return self.unsigned or self.manifest is not None


_OPTIONS = (
    click.option(
        "--manifest",
        cls=shared.Option,
        metavar="FILE|URL",
        help="Prove an old v1 torrent by this weightshare.json, which somebody signed for it.",
    ),
    click.option(
        "--unsigned",
        cls=shared.Option,
        is_flag=True,
        help="Take a torrent that nobody signed. Nothing of it is proven, and it never becomes a release.",
    ),
)


options = gathered("old", Old, _OPTIONS)
"""The options of `fetch` for old torrents; the command is called with one `old: Old`."""


def fetch(
    ctx: click.Context,
    settings: Settings,
    source: str,
    directory: Path | None,
    old: Old,
    say: Callable[[Fetched, Settings], None],
) -> None:
    """Fetch an old torrent, as `fetch` was asked to.

    Args:
        ctx: of the command `fetch`, whose other options hold here too.
        settings: of this call.
        source: the torrent.
        directory: where it goes, None for the store.
        old: how.
        say: shows a release that was fetched and proven.

    Raises:
        UsageError: options that do not go together.
        WeightshareError: as `fetch_unsigned` and `fetch_adopted` do.
    """
    _check(ctx, old)
    with given(source) as source, progress.reporter(settings) as observe:

        def warn(warning: str) -> None:
            with observe.paused():
                output.warn([warning])

        reach = _reach(ctx, warn)
        if old.manifest is None:
            from weightshare.api.old.unsigned import fetch_unsigned

            def found(plain: Plain) -> None:
                with observe.paused():
                    size = f"{output.count(len(plain.files), 'file')}, {format_size(plain.size)}"
                    output.tell(paragraph("unsigned", f"{plain.name}: {size}, and nobody signed them"))

            unsigned = fetch_unsigned(
                source,
                directory,
                home=home_of(settings),
                allow_pickle=ctx.params["allow_pickle"],
                force=ctx.params["force"],
                reach=reach,
                on_found=found,
                observe=observe,
            )
        else:
            from weightshare.api.old.proving import fetch_adopted

            def confirm(stranger: StrangerInfo) -> bool:
                with observe.paused():
                    return ask_about(stranger)

            fetched = fetch_adopted(
                source,
                old.manifest,
                directory,
                home=home_of(settings),
                trust=ctx.params["trust"],
                confirm=confirm if can_ask(settings) else None,
                allow_pickle=ctx.params["allow_pickle"],
                force=ctx.params["force"],
                reach=reach,
                observe=observe,
            )
    if old.manifest is None:
        _show(unsigned, settings)
    else:
        say(fetched, settings)


def list_unsigned(settings: Settings) -> list[dict[str, object]]:
    """The unsigned torrents for `ls --json`."""
    from weightshare.api.old.keeping import ls_unsigned

    return [one.to_json() for one in ls_unsigned(home=home_of(settings))]


def show_unsigned(settings: Settings) -> bool:
    """The unsigned torrents for `ls`, under a warning; whether there are any."""
    from weightshare.api.old.keeping import ls_unsigned

    found = ls_unsigned(home=home_of(settings))
    if found:
        output.say("unsigned: nobody vouches for these")
    rows = [
        (
            one.name,
            one.info_hash[:12],
            format_size(one.bytes),
            "unsigned" if one.complete else "unsigned, incomplete",
            str(one.path),
        )
        for one in found
    ]
    output.table(rows, right=(2,), indent="  ")
    return bool(found)


def remove(settings: Settings, name: str) -> bool:
    """Take an unsigned torrent away, if the name means one; whether it did."""
    from weightshare.api.old.keeping import rm_unsigned
    from weightshare.api.old.naming import find_unsigned

    record = find_unsigned(name, home=home_of(settings))
    if record is None:
        return False
    removed = rm_unsigned(record, home=home_of(settings))
    if settings.json:
        output.say_json(removed.to_json() | {"unsigned": True})
    else:
        kept = f", {output.count(removed.kept, 'file')} kept" if removed.kept else ""
        output.say(
            f"removed {removed.release} (unsigned): {output.count(removed.deleted, 'file')} deleted{kept}, "
            f"{format_size(removed.freed)} freed"
        )
    return True


def verify(ctx: click.Context, settings: Settings, name: str) -> bool:
    """Hold an unsigned torrent against what was recorded when it arrived, if the name means one; whether it did.

    Raises:
        UsageError: options that are about a signature.
    """
    from weightshare.api.old.keeping import verify_unsigned
    from weightshare.api.old.naming import find_unsigned

    record = find_unsigned(name, home=home_of(settings))
    if record is None:
        return False
    said = shared.given(ctx, "sshsig", "sign_as", "repair", "require_mirrors", environment=False)
    if said:
        raise UsageError(
            f"{record.name} was fetched unsigned: there is no signature to check or to add to.",
            hint=f"Leave out --{next(iter(said)).replace('_', '-')}.",
        )
    with progress.reporter(settings) as observe:
        found = verify_unsigned(record, home=home_of(settings), observe=observe)
    if settings.json:
        output.say_json(found.to_json())
    else:
        output.warn(found.warnings)
        output.table([("changed", f"{path}: {why}") for path, why in found.bad.items()])
        if found.ok:
            output.say(
                f"unchanged  {found.name}: {output.count(found.files, 'file')}, {format_size(found.bytes)}, "
                f"in {output.took(found.seconds)}"
            )
            output.say("           as they arrived; nobody signed them")
    if not found.ok:
        if not settings.json:
            message = f"{output.count(len(found.bad), 'file')} of {found.name} not as it arrived."
            output.tell(paragraph("error", message, colour="red"))
        raise click.exceptions.Exit(CorruptError.exit_code)
    return True


def _check(ctx: click.Context, old: Old) -> None:
    if old.unsigned and old.manifest is not None:
        raise UsageError(
            "--manifest proves the torrent, and --unsigned goes without a proof.", hint="Give one of the two."
        )
    said = [*shared.given(ctx, *_WHOLE_ONLY, environment=False)]
    if old.unsigned:
        said += shared.given(ctx, "trust", environment=False)
    if said:
        name = _SPELT.get(said[0], said[0]).replace("_", "-")
        raise UsageError(
            f"--{name} does not go with {'--unsigned' if old.unsigned else '--manifest'}.",
            hint="An old torrent is fetched whole; what is proven can be run and served afterwards.",
        )


def _reach(ctx: click.Context, warn: Callable[[str], None]) -> Reach:
    from weightshare.api.old.swarming import Reach

    said = ctx.params
    return Reach(
        network=said["network"],
        port=said["port"],
        peers=said["peers"],
        dht_nodes=said["dht_nodes"],
        timeout=said["timeout"],
        limits=Limits(**shared.given(ctx, "max_down", "max_up", "max_connections")),
        on_warning=warn,
    )


def _show(unsigned: Unsigned, settings: Settings) -> None:
    if settings.json:
        output.say_json(unsigned.to_json())
        return
    output.warn(unsigned.warnings)
    if not settings.quiet:
        pace = unsigned.received / unsigned.seconds if unsigned.seconds >= 0.1 else 0
        rate = f" ({format_rate(pace)})" if pace else ""
        files = output.count(len(unsigned.sha256), "file")
        output.note(f"{unsigned.name}: {files}, {format_size(unsigned.bytes)}, unsigned, none of it proven")
        output.note(f"{format_size(unsigned.received)} from peers, in {output.took(unsigned.seconds)}{rate}")
        output.note(f"SHA-256 of what arrived: {unsigned.sums}")
    output.say_path(unsigned.path)
