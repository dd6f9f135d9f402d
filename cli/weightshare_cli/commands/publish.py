"""`weightshare publish`: a folder becomes a signed release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from weightshare_cli import adopting as adoption
from weightshare_cli import from_hub as hub_options
from weightshare_cli import launching, options, output, progress, signing
from weightshare_cli.adopting import Adopting
from weightshare_cli.home import home_of
from weightshare_cli.launching import Launching
from weightshare_cli.options import Settings
from weightshare_cli.passphrase import known
from weightshare_cli.published import show

if TYPE_CHECKING:
    from weightshare.api.asking import Asked
    from weightshare.api.results import Published
    from weightshare.api.results.old import Adopted


@click.command(
    "publish",
    cls=options.Command,
    short_help="Check, hash and sign a checkpoint; print its magnet link.",
    examples=[
        (
            "publish a folder and keep serving it",
            "weightshare publish ./model --name acme/m7b --license Apache-2.0 --seed",
        ),
        (
            "sign with the SSH key you have",
            "weightshare publish ./model --name acme/m7b --key ~/.ssh/id_ed25519",
        ),
        (
            "sign with the key in your ssh-agent; others check with ssh-keygen",
            "weightshare publish ./model --name acme/m7b --key agent --sshsig --out post",
        ),
        (
            "a link that works before the first peer does",
            "weightshare publish ./model --name acme/m7b --torrent-url https://acme.example/m7b.torrent",
        ),
        (
            "also sign for OpenSSF Model Signing tools: writes ./model/model.sig",
            "weightshare publish ./model --name acme/m7b --oms-key oms.pem",
        ),
        (
            "from the Hugging Face cache, where it lies",
            "weightshare publish --hub acme/m7b --seed",
        ),
        (
            "sign for an old torrent that others made of this folder",
            "weightshare publish ./mistral-7B-v0.1 --name acme/m7b-2023 --adopt m7b.torrent",
        ),
        (
            "as a team: prepare, let the members sign, finish",
            "weightshare publish ./model --name acme/m7b --prepare",
        ),
        (
            "",
            "weightshare sign m7b.weightshare.json --key ~/.ssh/id_ed25519",
        ),
        (
            "",
            "weightshare publish --finish m7b.weightshare.json --seed",
        ),
        (
            "for mirrors alone, until you open it on the day",
            "weightshare publish ./model --name acme/m7b --embargo --allow 192.0.2.7 --seed",
        ),
        ("", "weightshare publish --announce acme/m7b"),
        (
            "try it all before you post: a checklist, a post, a README block, a QR picture",
            "weightshare publish ./model --name acme/m7b --rehearse --mirrors 2 --qr m7b.svg",
        ),
    ],
)
@click.argument(
    "directory", metavar="DIR", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@hub_options.options
@click.option("--name", cls=options.Option, metavar="ORG/MODEL", help="What the release is called.")
@click.option(
    "--version", cls=options.Option, default="1", show_default=True, help="Which release of the model it is."
)
@options.shared(
    "--license",
    setting="license",
    section="Options",
    metavar="SPDX",
    help_text="Licence, such as Apache-2.0.",
)
@click.option("--summary", cls=options.Option, default="", metavar="TEXT", help="One line about the release.")
@options.key
@click.option(
    "--oms-key",
    cls=options.Option,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PEM",
    help="Also write model.sig, an OpenSSF Model Signing signature, with this ECDSA key.",
)
@click.option(
    "--sequence",
    cls=options.Option,
    type=click.IntRange(min=1),
    metavar="N",
    help="Position among the model's releases. Default: the time.",
)
@click.option(
    "--supersedes",
    cls=options.Option,
    metavar="MANIFEST",
    multiple=True,
    help="An earlier release that this one replaces: its weightshare.json. Repeatable.",
)
@click.option(
    "--revokes",
    cls=options.Option,
    metavar="MANIFEST REASON",
    nargs=2,
    multiple=True,
    help="An earlier release that must not be used any more, and why. Repeatable.",
)
@click.option(
    "--tracker", "trackers", cls=options.Option, metavar="URL", multiple=True, help="Tracker. Repeatable."
)
@click.option(
    "--web-seed",
    "web_seeds",
    cls=options.Option,
    metavar="URL",
    multiple=True,
    help="HTTP server that has the files too. Repeatable.",
)
@click.option(
    "--torrent-url",
    "torrent_urls",
    cls=options.Option,
    metavar="URL",
    multiple=True,
    help="Where you will put the .torrent; goes into the magnet. Repeatable.",
)
@click.option(
    "--piece-length",
    cls=options.Option,
    callback=options.size,
    metavar="SIZE",
    help="Power of two from 16K: 1M, 4M. Default: by total size.",
)
@click.option(
    "--v2-only", cls=options.Option, is_flag=True, help="No BitTorrent v1 half; older clients cannot join."
)
@click.option(
    "--v1-twin", cls=options.Option, is_flag=True, help="Also write a plain v1 .torrent, for old clients."
)
@click.option(
    "--allow-pickle",
    cls=options.Option,
    is_flag=True,
    help="Publish files that can run code when loaded (.bin, .pt, …).",
)
@click.option(
    "--sshsig",
    cls=options.Option,
    is_flag=True,
    help="Also make a detached SSH signature (.sig) that ssh-keygen -Y verify checks.",
)
@click.option(
    "--out",
    cls=options.Option,
    type=options.FOLDER,
    metavar="DIR",
    help="Also put .torrent and manifest here.",
)
@click.option(
    "--prepare",
    cls=options.Option,
    is_flag=True,
    help="For a team: only write the manifest that its members are to sign.",
)
@click.option(
    "--finish",
    cls=options.Option,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="MANIFEST",
    help="For a team: make the release of a manifest that enough of them signed.",
)
@click.option(
    "--seed", "keep_seeding", cls=options.Option, is_flag=True, help="Serve it afterwards, until Ctrl-C."
)
@launching.options
@adoption.options
@options.network
@options.port
@options.dht_nodes
@options.max_up
@options.common
@click.pass_context
def command(
    ctx: click.Context,
    directory: Path | None,
    from_hub: hub_options.FromHub,
    name: str | None,
    version: str,
    license: str | None,
    summary: str,
    key: str | None,
    oms_key: Path | None,
    sequence: int | None,
    supersedes: tuple[str, ...],
    revokes: tuple[tuple[str, str], ...],
    trackers: tuple[str, ...],
    web_seeds: tuple[str, ...],
    torrent_urls: tuple[str, ...],
    piece_length: int | None,
    v2_only: bool,
    v1_twin: bool,
    allow_pickle: bool,
    sshsig: bool,
    out: Path | None,
    prepare: bool,
    finish: Path | None,
    keep_seeding: bool,
    launching: Launching,
    adopting: Adopting,
    network: str,
    port: int | None,
    dht_nodes: tuple[tuple[str, int], ...],
    max_up: int,
) -> None:
    """Check, hash and sign the checkpoint in DIR, and print its magnet link.

    DIR stays where it is and is served from there; so does the snapshot that --hub names. Refused are files
    that run code when loaded, links that leave the folder, names that other systems cannot store, and
    safetensors files with a bad header.

    With --adopt nothing new is made: DIR holds the files of an old v1 torrent, every piece of which is checked,
    and a manifest for that torrent is signed, to be posted beside its link. Who signs it vouches for the bytes.
    """
    settings = ctx.ensure_object(Settings)
    if launching.opens(settings, trackers, web_seeds):
        return
    from_hub.check(directory, finish=finish, oms_key=oms_key)
    if from_hub.hub is None and adopting.source is None:
        _check_call(directory, name, prepare=prepare, finish=finish)
    embargo = launching.held()
    if sshsig and (prepare or finish is not None):
        raise click.UsageError(
            "--sshsig signs as one publisher at once; a team's member makes a detached signature with "
            "ssh-keygen -Y sign -n weightshare."
        )
    if finish is not None and oms_key is not None:
        raise click.UsageError("--oms-key is for --prepare: the others sign a manifest that lists model.sig.")
    asked: Asked = {
        "license": license,
        "piece_length": piece_length,
        "revokes": revokes,
        "sequence": sequence,
        "summary": summary,
        "supersedes": supersedes,
        "torrent_urls": torrent_urls,
        "trackers": trackers,
        "v1_twin": v1_twin,
        "v2_only": v2_only,
        "version": version,
        "web_seeds": web_seeds,
    }
    if adopting.source is not None:
        adopted = adoption.adopt(ctx, settings, directory, name, adopting, asked)
        if keep_seeding:
            _serve(ctx, settings, adopted, network=network, port=port, dht_nodes=dht_nodes)
        return
    home = home_of(settings)
    snapshot = from_hub.take(settings, click.get_current_context(), asked)
    origin = None
    if snapshot is not None:
        directory, name, asked, origin = snapshot.folder, snapshot.name, snapshot.asked, snapshot.origin
    with progress.reporter(settings) as observe:

        def passphrase() -> str:
            with observe.paused():
                return known(key or "the key")

        def waiting(message: str) -> None:
            with observe.paused():
                output.note(message)

        if finish is not None:
            from weightshare.api.preparing import finish as finish_release

            made = finish_release(
                finish,
                directory,
                allow_pickle=allow_pickle,
                out=out,
                home=home,
                embargo=embargo,
                observe=observe,
                **asked,
            )
        elif directory is None or name is None:
            raise AssertionError("checked above")
        elif prepare:
            from weightshare.api.preparing import prepare as prepare_release

            prepared = prepare_release(
                directory,
                name,
                key=key,
                oms_key=oms_key,
                passphrase=passphrase,
                waiting=waiting,
                allow_pickle=allow_pickle,
                out=out,
                home=home,
                observe=observe,
                origin=origin,
                **asked,
            )
            observe.stop()
            signing.show(prepared, settings)
            return
        else:
            from weightshare.api.publishing import publish

            made = publish(
                directory,
                name,
                key=key,
                oms_key=oms_key,
                passphrase=passphrase,
                waiting=waiting,
                allow_pickle=allow_pickle,
                detached=sshsig,
                embargo=embargo,
                out=out,
                home=home,
                observe=observe,
                origin=origin,
                **asked,
            )
    if not settings.json:
        show(made, settings, keep_seeding=keep_seeding or launching.rehearse)
        launching.explain(settings, made, out)
    status, tried = launching.rehearsed(settings, made, network=network, port=port, dht_nodes=dht_nodes)
    if settings.json:
        output.say_json(made.to_json() | tried | ({"event": "published"} if keep_seeding else {}))
    if keep_seeding:
        _serve(ctx, settings, made, network=network, port=port, dht_nodes=dht_nodes)
    if status:
        raise click.exceptions.Exit(status)


def _serve(
    ctx: click.Context,
    settings: Settings,
    made: Published | Adopted,
    *,
    network: str,
    port: int | None,
    dht_nodes: tuple[tuple[str, int], ...],
) -> None:
    from weightshare_cli.serving import serve

    serve(
        settings,
        (made.release,),
        network=network,
        port=port,
        dht_nodes=dht_nodes,
        limits=options.given(ctx, "max_up"),
        published=made.to_json(),
    )


def _check_call(directory: Path | None, name: str | None, *, prepare: bool, finish: Path | None) -> None:
    if prepare and finish is not None:
        raise click.UsageError("--prepare comes before the signatures and --finish after them; give one.")
    if finish is None and directory is None:
        raise click.UsageError("Missing argument 'DIR'.")
    if finish is None and name is None:
        raise click.UsageError("Missing option '--name'.")
    if finish is not None and name is not None:
        raise click.UsageError("--name is in the manifest already; --finish does not take it.")
