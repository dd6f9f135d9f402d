"""`weightshare serve`: a proven release behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from weightshare.errors import UsageError
from weightshare.units import format_size
from weightshare_cli import missing_pages, options, output, progress
from weightshare_cli.answering import Answering, loading_options
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results.serving import Serving

API_KEY = "WEIGHTSHARE_API_KEY"
"""The variable that may hold the key that requests must carry."""


@click.command(
    "serve",
    cls=options.Command,
    short_help="Answer OpenAI's clients with a release, every byte of it proven.",
    examples=[
        ("on http://127.0.0.1:8000/v1", "weightshare serve acme/m7b"),
        (
            "on a port that is free, under a short name",
            "weightshare serve ./m7b --port 0 --served-model-name m7b",
        ),
        (
            "with vLLM where it is installed, and an option of vLLM's own",
            "weightshare serve acme/m7b --engine vllm -- --max-model-len 4096",
        ),
    ],
)
@click.argument("release", metavar="RELEASE|DIR")
@click.argument("words", metavar="[-- VLLM OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--engine",
    cls=options.Option,
    type=click.Choice(["auto", "transformers", "vllm"]),
    metavar="auto|transformers|vllm",
    default="auto",
    show_default=True,
    help="Whose server. auto: vLLM's where it is installed and finds a GPU.",
)
@click.option(
    "--served-model-name",
    "name",
    cls=options.Option,
    metavar="NAME",
    help="What requests call the model. Default: the release's name.",
)
@loading_options
@options.trust
@click.option(
    "--host",
    cls=options.Option,
    section="Network",
    metavar="HOST",
    default="127.0.0.1",
    show_default=True,
    help="Listen on this address; one that is not loopback lets others in.",
)
@click.option(
    "--port",
    cls=options.Option,
    section="Network",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=8000,
    show_default=True,
    help="Listen here; 0 takes any free port.",
)
@click.option(
    "--api-key-file",
    "key_file",
    cls=options.Option,
    section="Network",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"Answer only who sends the key in FILE. Or set {API_KEY}.",
)
@options.common
@click.pass_obj
def command(
    settings: Settings,
    release: str,
    words: tuple[str, ...],
    engine: Literal["auto", "transformers", "vllm"],
    name: str | None,
    answering: Answering,
    trust: tuple[str, ...],
    host: str,
    port: int,
    key_file: Path | None,
) -> None:
    """Load RELEASE and answer /v1/chat/completions, /v1/completions and /v1/models until Ctrl-C.

    Every byte is proven against the signed manifest before anything listens. No code from the release ever runs, and
    nothing is downloaded, whatever a request names.
    """
    from weightshare.api.serving import Endpoint, serve
    from weightshare.manifest.magnet_repair import holds_link
    from weightshare_cli.serving import stopping

    if release.startswith(("magnet:", "http://", "https://")) or holds_link(release):
        raise UsageError(
            "`serve` takes a release or folder on this machine, and this is a link.",
            hint="Fetch it first: weightshare fetch LINK prints the folder to serve.",
        )
    answering.check()
    api_key = _key(key_file)
    missing_pages.guard(settings)
    stop = threading.Event()
    # Until it listens, Ctrl-C interrupts; from then on it is the normal end.
    with progress.reporter(settings) as observe, ExitStack() as stack:

        def listening(where: Serving) -> None:
            stack.enter_context(stopping(stop))
            observe.stop()
            _say(settings, where, open_to_all=api_key is None)

        serve(
            release,
            Endpoint(host, port, name, api_key, words, settings.verbose),
            home=home_of(settings),
            trust=trust,
            engine=engine,
            on_listening=listening,
            stop=stop,
            observe=observe,
            **answering.loading(),
        )
    if settings.json:
        output.say_json({"event": "stopped"})


def _key(file: Path | None) -> str | None:
    """The key that requests must carry. Never from the command line, which others on this machine can read."""
    key = os.environ.get(API_KEY) if file is None else file.read_text("utf-8")
    if key is None:
        return None
    if not key.strip():
        raise UsageError(
            f"The key in {file or API_KEY} is empty.", hint="Put a long random word there, or leave it out."
        )
    return key.strip()


def _say(settings: Settings, where: Serving, *, open_to_all: bool) -> None:
    from weightshare.run.server_guard import is_loopback

    warnings = list(where.warnings)
    if not is_loopback(where.host):
        asked = "nobody is asked for a key" if open_to_all else "the key"
        warnings.append(
            f"{where.host} is reachable from other machines: {asked}"
            + (", and nothing is encrypted." if open_to_all else " and all answers go unencrypted.")
        )
    output.warn(warnings)
    if settings.json:
        output.say_json(where.to_json())
    cost = f"{format_size(where.load_bytes)} proven and loaded in {output.took(where.load_seconds)}; "
    output.note(
        f"listening on {where.url} as {where.model}; {cost if where.load_bytes else ''}Ctrl-C ends it"
    )
