"""`weightshare scan`: which files of known releases do other programs keep on this disk?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from weightshare.units import format_size
from weightshare_cli import options, output, progress
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results import Scanned, ScannedFile, ScannedRelease


@click.command(
    "scan",
    cls=options.Command,
    short_help="Find files of known releases that other programs keep on this disk.",
    examples=[
        ("where Ollama, LM Studio and the others keep models", "weightshare scan"),
        ("and serve what is whole from where it lies", "weightshare scan --add"),
        ("look for one release, on another disk", "weightshare scan /mnt/models --release m7b.torrent"),
        ("how much there is to hash", "weightshare scan --dry-run"),
    ],
)
@click.argument("folders", metavar="[DIR]…", nargs=-1, type=options.FOLDER)
@click.option(
    "--release",
    "releases",
    cls=options.Option,
    metavar="SOURCE",
    multiple=True,
    help="Also look for this release: a .torrent with its manifest beside it, a manifest, or a release's "
    "folder. Repeatable.",
)
@click.option(
    "--add",
    cls=options.Option,
    is_flag=True,
    help="Record the releases of which every file was found: seed, run and verify use the files where they lie.",
)
@click.option(
    "--dry-run", cls=options.Option, is_flag=True, help="Only list places and sizes; hash and record nothing."
)
@options.trust
@options.common
@click.pass_obj
def command(
    settings: Settings,
    folders: tuple[Path, ...],
    releases: tuple[str, ...],
    add: bool,
    dry_run: bool,
    trust: tuple[str, ...],
) -> None:
    """Look in DIR for files that known releases contain, whatever they are called there.

    Without DIR: in the caches of Hugging Face (vLLM's too), Ollama, LM Studio and llama.cpp. Known are the releases of
    the store, those only begun among them, and what --release names. Files are compared by size, then by hash; a
    second scan hashes only what changed. fetch takes what was found from there. Nothing is written to these
    folders.
    """
    from weightshare.api.scanning import scan

    with progress.reporter(settings) as observe:
        found = scan(
            folders,
            home=home_of(settings),
            releases=releases,
            trust=trust,
            add=add,
            dry_run=dry_run,
            observe=observe,
        )
    if settings.json:
        output.say_json(found.to_json())
        return
    _show(found, settings, added=add)


def _show(found: Scanned, settings: Settings, *, added: bool) -> None:
    output.warn(found.warnings)
    output.table(
        [
            (
                place.tool or "looked in",
                output.count(place.files, "file"),
                format_size(place.bytes),
                str(place.path),
            )
            for place in found.places
        ],
        right=(1, 2),
    )
    if not found.places:
        output.say("None of the programs that scan knows keeps models here; name a folder.")
    for release in found.releases:
        if release.found or release.store is not None or settings.verbose:
            _say(release, found.dry_run)
    silent = sum(1 for r in found.releases if not r.found and r.store is None)
    if silent and not settings.verbose:
        output.say(f"{output.count(silent, 'known release')} without a file here")
    if settings.quiet:
        return
    if found.dry_run:
        output.note(
            f"{output.count(found.to_hash, 'file')} to hash ({format_size(found.to_hash_bytes)}), "
            f"{found.candidates - found.to_hash:,} known from before"
        )
        return
    output.note(
        f"{output.count(found.hashed, 'file')} hashed ({format_size(found.hashed_bytes)}), "
        f"{found.candidates - found.hashed:,} known from before, in {output.took(found.seconds)}"
    )
    if any(release.added for release in found.releases):
        output.note("weightshare seed serves them from where they lie.")
    elif not added and any(release.whole and release.store is None for release in found.releases):
        output.note("weightshare scan --add lets seed and run use them where they lie.")
    elif any(release.found and release.store is None for release in found.releases):
        output.note("weightshare fetch takes them from there and brings only the rest.")


def _say(release: ScannedRelease, dry_run: bool) -> None:
    like = "may be here" if dry_run else "here"
    of = f"{release.here:,} of {output.count(len(release.files), 'file')} {like}"
    output.say(f"{release.release}: {of}, {format_size(release.bytes_here)} of {format_size(release.bytes)}")
    for file in release.files:
        if file.places:
            _say_file(file)
    if release.store is not None:
        output.say(f"  in the store already, in {release.store}")
    if release.added is not None:
        output.say(f"  recorded, in {release.added}")
    if release.problem:
        output.say(f"  not recorded: {release.problem}")


def _say_file(file: ScannedFile) -> None:
    more = f" and {len(file.places) - 1} more" if len(file.places) > 1 else ""
    output.say(f"  {file.path}")
    output.say(f"    {file.places[0]}{more}")
