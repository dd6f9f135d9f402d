"""`weightshare fetch`: a link becomes proven files."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weightshare.errors import UsageError
from weightshare.progress import Observer
from weightshare.units import format_size
from weightshare_cli import answering as answers
from weightshare_cli import (
    landing_places,
    looking,
    options,
    output,
    previewing,
    progress,
    serving,
    sourcing,
)
from weightshare_cli import unsigned as old_torrents
from weightshare_cli.answering import Answering, answer
from weightshare_cli.asking import ask_about, can_ask
from weightshare_cli.errors import paragraph
from weightshare_cli.fetched import say
from weightshare_cli.home import home_of
from weightshare_cli.landing_places import LandingPlace
from weightshare_cli.options import Settings
from weightshare_cli.sources import given
from weightshare_cli.streaming import open_link
from weightshare_cli.unsigned import Old

if TYPE_CHECKING:
    from weightshare.api.results import Fetched, SeedStatus, StrangerInfo
    from weightshare.api.running import OpenRunner
    from weightshare.trust.gate import VerifiedManifest


@click.command(
    "fetch",
    cls=options.Command,
    short_help="Fetch a release, its publisher proven before the first weight byte.",
    examples=[
        (
            "fetch by magnet link; quote it, a shell acts on the & in it",
            "weightshare fetch 'magnet:?xt=urn:btmh:1220…'",
        ),
        ("into a folder of your choice", "weightshare fetch 'magnet:?xt=…' ./m7b"),
        (
            "where from_pretrained, vLLM and llama.cpp look for models of the Hub",
            "weightshare fetch 'magnet:?xt=…' --hf-cache",
        ),
        ("the link from a file or a pipe", "weightshare fetch - < link.txt"),
        (
            "only some files, at 12 MiB a second",
            "weightshare fetch m7b.torrent --include '*.json' --max-down 12M",
        ),
        (
            "only the tensors of one layer, and the small files",
            "weightshare fetch m7b.torrent --tensors 'model.layers.0.*'",
        ),
        (
            "on the first of two nodes, what tensor parallelism needs there",
            "weightshare fetch 'magnet:?xt=…' --rank 0 --of 2",
        ),
        (
            "in a script, from a publisher not pinned before",
            "weightshare fetch 'magnet:?xt=…' --trust SHA256:…",
        ),
        (
            "on each node of a cluster at once, helping the others for ten minutes",
            "weightshare fetch 'magnet:?xt=…' --network lan --seed-for 10m",
        ),
        ("what would it bring, and from where?", "weightshare fetch 'magnet:?xt=…' --dry-run"),
        (
            "and answer, loading what has landed while the rest comes",
            "weightshare fetch 'magnet:?xt=…' --run --prompt 'Hello'",
        ),
        (
            "an old torrent, proven by a manifest that somebody signed for it",
            "weightshare fetch 'magnet:?xt=urn:btih:…' --manifest m7b.weightshare.json",
        ),
        (
            "only if two mirrors that you know vouch for the bytes",
            "weightshare fetch 'magnet:?xt=…' --require-mirrors 2 \\\n"
            "      --attestation cdn.countersig.json --attestation uni.countersig.json",
        ),
    ],
)
@click.argument("source")
@click.argument("directory", metavar="[DIR]", required=False, type=options.FOLDER)
@options.trust
@click.option(
    "--include", cls=options.Option, metavar="GLOB", multiple=True, help="Only files that match. Repeatable."
)
@click.option(
    "--exclude",
    cls=options.Option,
    metavar="GLOB",
    multiple=True,
    help="All but files that match. Repeatable.",
)
@click.option(
    "--tensors",
    cls=options.Option,
    metavar="GLOB",
    multiple=True,
    help="Of the weights only the pieces with tensors of such a name. Repeatable.",
)
@click.option(
    "--rank",
    cls=options.Option,
    type=click.IntRange(min=0),
    default=0,
    metavar="R",
    help="With --of: only the pieces that rank R of N needs, counted from 0.",
)
@click.option(
    "--of",
    cls=options.Option,
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="How many ranks split the tensors, as transformers would.",
)
@click.option(
    "--allow-pickle",
    cls=options.Option,
    is_flag=True,
    help="Accept files that can run code when loaded (.bin, .pt, …).",
)
@click.option(
    "--force", cls=options.Option, is_flag=True, help="Replace different files that stand in the way."
)
@landing_places.options
@click.option(
    "--dry-run",
    cls=options.Option,
    is_flag=True,
    help="Only say what would be fetched, and what is here already.",
)
@looking.option
@click.option(
    "--seed-for",
    cls=options.Option,
    callback=options.duration,
    default="0",
    metavar="DURATION",
    help="Serve it to the others for so long once it is complete: 90s, 30m, 2h. Ctrl-C ends it sooner.",
)
@click.option(
    "--order",
    cls=options.Option,
    type=click.Choice(["rarest", "model"]),
    metavar="rarest|model",
    default="rarest",
    help="What comes first: what is rarest, or small files, headers and tensors by layer.",
)
@click.option(
    "--run",
    "running",
    cls=options.Option,
    is_flag=True,
    help="Load it while it comes, then chat on a terminal, or answer --prompt or stdin.",
)
@click.option("--prompt", cls=options.Option, metavar="TEXT", help="What --run answers.")
@sourcing.options
@old_torrents.options
@answers.options
@options.require_mirrors
@options.attestations
@options.network
@options.peers
@options.dht_nodes
@options.port
@options.max_down
@options.max_up
@options.max_connections
@options.timeout
@options.common
@click.pass_context
def command(
    ctx: click.Context,
    source: str,
    directory: Path | None,
    trust: tuple[str, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    tensors: tuple[str, ...],
    rank: int,
    of: int,
    allow_pickle: bool,
    force: bool,
    landing: LandingPlace,
    dry_run: bool,
    scan: bool,
    seed_for: float,
    order: str,
    running: bool,
    prompt: str | None,
    sources: str,
    answering: Answering,
    old: Old,
    require_mirrors: int,
    attestations: tuple[Path, ...],
    network: str,
    peers: tuple[tuple[str, int], ...],
    dht_nodes: tuple[tuple[str, int], ...],
    port: int | None,
    max_down: int,
    max_up: int,
    max_connections: int,
    timeout: float,
) -> None:
    """Fetch SOURCE into the store, into DIR, or into the Hub's cache, and print the folder's path.

    SOURCE is a magnet link, a v2 info-hash, a .torrent (file or URL), a weightshare.json, or - to read one
    from stdin. The publisher is proven before the first weight byte is asked for, and every byte before its
    file gets its name. Interrupted, the same command resumes.

    With --tensors or --rank small files come whole, and of the weights only the pieces that hold what was asked
    for, each proven alone. What is here of a shard stays staged without its final name; the same command
    without them fetches the rest. `--include 'tensor:GLOB'` is --tensors GLOB.

    With --run the release is loaded while it is fetched, and answers moments after the last piece of its
    weights; stdout has the answer and not the path. The options on how to load and to answer are those of
    `weightshare run`.

    An old v1 torrent (xt=urn:btih) is proven by a weightshare.json that somebody signed for it: --manifest. With
    --unsigned any torrent is taken without a proof, apart from the releases, and never run.

    --require-mirrors demands countersignatures besides, by distinct keys pinned with `weightshare trust add
    --mirror`, also before the first weight byte. A mirror vouches for bytes, never for the publisher.
    """
    from weightshare.api import fetching

    settings = ctx.ensure_object(Settings)
    looking.check(scan, running=running, dry_run=dry_run)
    if old.asked:
        old_torrents.fetch(ctx, settings, source, directory, old, say)
        return
    if not running:
        _only_with_run(ctx, prompt)
    elif dry_run or seed_for or include or exclude:
        raise UsageError(
            "--run goes neither with --dry-run and --seed-for, nor with --include and --exclude.",
            hint="Fetch with these first; then `weightshare run` answers.",
        )
    directory = landing.folder(directory)
    stop = threading.Event()
    given_away = 0
    limits = options.given(ctx, "max_down", "max_up", "max_connections")
    with given(source) as source, ExitStack() as stack:
        if running:
            order = order if options.given(ctx, "order") else "model"
            link = source

            def opened(observe: Observer) -> OpenRunner:
                return open_link(
                    settings,
                    observe,
                    link,
                    answering,
                    directory=directory,
                    trust=trust,
                    allow_pickle=allow_pickle,
                    force=force,
                    network=network,
                    port=port,
                    peers=peers,
                    dht_nodes=dht_nodes,
                    timeout=timeout,
                    attestations=attestations,
                    require_mirrors=require_mirrors,
                    order=order,
                    sources=sources,
                    hub_cache=landing.hub_cache(),
                    **limits,
                )

            answer(settings, opened, prompt, answering)
            return
        observe = stack.enter_context(progress.reporter(settings))
        asking = can_ask(settings)

        def confirm(stranger: StrangerInfo) -> bool:
            with observe.paused():
                return ask_about(stranger)

        how: fetching.How = {
            "home": home_of(settings),
            "trust": trust,
            "confirm": confirm if asking else None,
            "include": include,
            "exclude": exclude,
            "tensors": tensors,
            "rank": rank,
            "of": of,
            "allow_pickle": allow_pickle,
            "network": network,
            "port": port,
            "peers": peers,
            "dht_nodes": dht_nodes,
            "timeout": timeout,
            "attestations": attestations,
            "require_mirrors": require_mirrors,
            "order": order,
            "hub_cache": landing.hub_cache(),
            "observe": observe,
            "sources": sources,
        }
        if dry_run:
            preview = fetching.dry_run(source, directory, **how)
            observe.stop()
            previewing.show(preview, settings)
            return

        def warn(warning: str) -> None:
            with observe.paused():
                output.warn([warning])

        def passed(verified: VerifiedManifest) -> None:
            from weightshare.api.forecasting import forecast

            expected = forecast([entry.path for entry in verified.manifest.files])
            for hindrance in expected.notes(plainly=False):
                with observe.paused():
                    output.tell(paragraph("note", hindrance))

        def fetched_now(fetched: Fetched) -> None:
            if seed_for:
                with observe.paused():
                    say(fetched, settings, "complete")
                stack.enter_context(serving.stopping(stop))

        def status(now: SeedStatus) -> None:
            nonlocal given_away
            given_away = now.uploaded
            observe.status(serving.describe(now))

        if not (settings.quiet or include or exclude or tensors):
            how["on_passed"] = passed  # whoever takes a part has something else in mind than to run it
        if scan:
            how["on_passed"] = looking.first(settings, observe, how.get("on_passed"))
        fetched = fetching.fetch(
            source,
            directory,
            force=force,
            on_warning=warn,
            seed_for=seed_for,
            on_fetched=fetched_now,
            on_status=status,
            stop=stop,
            **limits,
            **how,
        )
    if not seed_for:
        say(fetched, settings)
    elif settings.json:
        output.say_json(fetched.to_json() | {"event": "stopped", "uploaded": given_away})
    elif not settings.quiet:
        output.note(f"stopped; {format_size(given_away)} given")


def _only_with_run(ctx: click.Context, prompt: str | None) -> None:
    said = [f"--{name.replace('_', '-')}" for name in options.given(ctx, *answers.NAMES, environment=False)]
    if prompt is not None or said:
        raise UsageError(
            f"{'--prompt' if prompt is not None else said[0]} is for a release that answers, and nothing says so.",
            hint="Add --run.",
        )
