"""`weightshare run`: a proven release answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from weightshare.errors import UsageError
from weightshare.progress import Observer
from weightshare_cli import answering as answers
from weightshare_cli import options
from weightshare_cli.answering import Answering, answer
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings
from weightshare_cli.streaming import open_link

if TYPE_CHECKING:
    from weightshare.api.running import OpenRunner


@click.command(
    "run",
    cls=options.Command,
    short_help="Load a release, proving every byte, and generate text.",
    examples=[
        ("ask once", "weightshare run acme/m7b 'What is the capital of France?'"),
        ("chat, on a terminal", "weightshare run acme/m7b"),
        (
            "a prompt from a file; a draw, the same one every time",
            "weightshare run acme/m7b --seed 1 < prompt.txt",
        ),
        ("about a text from a pipe", "cat story.txt | weightshare run acme/m7b 'Sum this up.'"),
        ("by a link: fetch it, and load it while it comes", "weightshare run 'magnet:?xt=…' 'Hello'"),
        ("and mend what is damaged on this disk", "weightshare run acme/m7b 'Hello' --repair"),
        ("a folder that holds a weightshare.json", "weightshare run ./m7b 'Hello' --device cpu"),
        ("an adapter, on the model it was made for", "weightshare run acme/lora 'Hello' --base acme/m7b"),
    ],
)
@click.argument("release", metavar="RELEASE|DIR|LINK")
@click.argument("prompt", required=False)
@answers.options
@click.option(
    "--repair",
    cls=options.Option,
    is_flag=True,
    help="Where bytes on this disk are not as signed, fetch the bad pieces anew and go on.",
)
@click.option(
    "--base",
    cls=options.Option,
    metavar="RELEASE|DIR",
    help="For an adapter: the model it was made for. Default: the one it names, if that is here.",
)
@click.option(
    "--allow-pickle",
    cls=options.Option,
    is_flag=True,
    help="Load Mistral's consolidated.*.pth too, by torch's restricted unpickler.",
)
@options.trust
@options.network
@options.peers
@options.dht_nodes
@options.port
@options.timeout
@options.common
@click.pass_obj
def command(
    settings: Settings,
    release: str,
    prompt: str | None,
    answering: Answering,
    repair: bool,
    base: str | None,
    allow_pickle: bool,
    trust: tuple[str, ...],
    network: str,
    peers: tuple[tuple[str, int], ...],
    dht_nodes: tuple[tuple[str, int], ...],
    port: int | None,
    timeout: float,
) -> None:
    """Load RELEASE and answer PROMPT. Without one: a chat on a terminal, else the prompt is read from stdin.

    What comes on stdin beside a PROMPT goes before it. The likeliest token is taken each time, unless --seed,
    --temperature, --top-p or --top-k asks for a draw; what these leave open is as the release says.

    A magnet link, a .torrent or its URL is fetched first unless it is here, as `weightshare fetch --run` does:
    what has landed is loaded while the rest is on its way.

    Every byte that is used is proven against the signed manifest first, and no code from the release ever
    runs. Bytes that are not as signed end it with exit 4 and their pieces named, or with --repair are fetched
    anew; the options under Network are for that, and for links.
    """

    def opened(observe: Observer) -> OpenRunner:
        from weightshare.api.opening import is_link
        from weightshare.api.repairing import Sources
        from weightshare.api.running import open_runner

        if is_link(release):
            if base is not None:
                raise UsageError(
                    "--base goes with an adapter that is on this machine, and this is a link.",
                    hint="Fetch it first: weightshare fetch LINK prints the folder to run.",
                )
            return open_link(
                settings,
                observe,
                release,
                answering,
                trust=trust,
                network=network,
                peers=peers,
                dht_nodes=dht_nodes,
                port=port,
                timeout=timeout,
                allow_pickle=allow_pickle,
            )
        sources = Sources(network, peers, dht_nodes, port, timeout)
        return open_runner(
            release,
            home=home_of(settings),
            trust=trust,
            repair=sources if repair else None,
            base=base,
            observe=observe,
            allow_pickle=allow_pickle,
            **answering.loading(),
        )

    answer(settings, opened, prompt, answering)
