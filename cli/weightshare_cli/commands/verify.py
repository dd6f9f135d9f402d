"""`weightshare verify`: are the bytes on this disk those that were signed?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weightshare.errors import CorruptError, UsageError
from weightshare.units import format_size
from weightshare_cli import errors, options, output, progress
from weightshare_cli import unsigned as old_torrents
from weightshare_cli.home import home_of
from weightshare_cli.options import Settings
from weightshare_cli.passphrase import known

if TYPE_CHECKING:
    from weightshare.api.results import Verified

RANGES = 8
"""Runs of bad pieces that are named; more are counted."""


@click.command(
    "verify",
    cls=options.Command,
    short_help="Check files on this disk against their signed manifest.",
    examples=[
        ("a release in the store", "weightshare verify acme/m7b"),
        ("a folder that holds a weightshare.json", "weightshare verify ./m7b"),
        ("and fetch what is damaged or missing", "weightshare verify acme/m7b --repair"),
        (
            "and demand their detached SSH signature too",
            "weightshare verify acme/m7b --sshsig m7b.weightshare.json.sig",
        ),
        (
            "a folder that holds an OpenSSF Model Signing signature",
            "weightshare verify ./m7b --oms model.sig --oms-key signer.pub.pem",
        ),
        (
            "as a mirror: vouch for the bytes once they are proven",
            "weightshare verify acme/m7b --sign-as cdn --out m7b.cdn.countersig.json",
        ),
        (
            "does a mirror that I know vouch for them too?",
            "weightshare verify acme/m7b --attestation m7b.cdn.countersig.json",
        ),
    ],
)
@click.argument("release", metavar="RELEASE|DIR")
@click.option(
    "--sshsig",
    cls=options.Option,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Demand this detached SSH signature over the manifest too, by a key pinned for the publisher.",
)
@options.trust
@click.option(
    "--oms",
    cls=options.Option,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Check DIR against this OpenSSF Model Signing signature instead; looked up here, then in DIR.",
)
@click.option(
    "--oms-key",
    cls=options.Option,
    type=click.Path(path_type=Path),
    metavar="PEM",
    help="Public key of its signer.",
)
@click.option(
    "--oms-certificate-chain",
    "oms_chain",
    cls=options.Option,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PEM",
    multiple=True,
    help="For a signature by certificate: the authorities you trust. Needs model_signing. Repeatable.",
)
@click.option(
    "--oms-identity",
    cls=options.Option,
    metavar="WHO",
    help="For a signature through Sigstore: who must have signed. Needs model_signing.",
)
@click.option(
    "--oms-identity-provider",
    cls=options.Option,
    metavar="URL",
    help="Likewise: who must have vouched for them.",
)
@click.option(
    "--sign-as",
    cls=options.Option,
    metavar="KEY",
    help="Sign for the bytes as a mirror, with this key, named as for publish.",
)
@click.option(
    "--out",
    cls=options.Option,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write that countersignature.",
)
@click.option("--force", cls=options.Option, is_flag=True, help="Replace that file if it is there.")
@click.option(
    "--repair",
    cls=options.Option,
    is_flag=True,
    help="Fetch what is damaged or missing, piece by piece, and check again.",
)
@options.require_mirrors
@options.attestations
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
    sshsig: Path | None,
    trust: tuple[str, ...],
    oms: Path | None,
    oms_key: Path | None,
    oms_chain: tuple[Path, ...],
    oms_identity: str | None,
    oms_identity_provider: str | None,
    sign_as: str | None,
    out: Path | None,
    force: bool,
    repair: bool,
    require_mirrors: int,
    attestations: tuple[Path, ...],
    network: str,
    peers: tuple[tuple[str, int], ...],
    dht_nodes: tuple[tuple[str, int], ...],
    port: int | None,
    timeout: float,
) -> None:
    """Read every byte of RELEASE and compare it with the signed manifest.

    Each corrupt, missing and extra file is named, with the bad pieces of a corrupt one; exit 4 if there is
    any. With --repair a release that was fetched is mended first, and the options under Network are for that.
    With --oms the signed manifest is that of OpenSSF Model Signing, and DIR needs no weightshare.json.

    With --sign-as, and only if every byte of the whole release is as signed, a countersignature is written:
    a mirror's word that its bytes are right, beside the publisher's signature and never instead of it.
    """
    if oms is None:
        if oms_key or oms_chain or oms_identity or oms_identity_provider:
            raise click.UsageError("The --oms-… options say how to check --oms FILE, which is missing.")
        if old_torrents.verify(click.get_current_context(), settings, release):
            return
        from weightshare.api.checking import verify
        from weightshare.api.repairing import Sources

        if sign_as is None and (out is not None or force):
            raise UsageError("--out and --force say where a countersignature goes; --sign-as KEY makes one.")
        if out is not None and str(out) == "-":
            raise UsageError("A countersignature goes to a file, not to stdout.", hint="Name one with --out.")
        with progress.reporter(settings) as observe:

            def waiting(message: str) -> None:
                with observe.paused():
                    output.note(message)

            found = verify(
                release,
                detached=sshsig,
                home=home_of(settings),
                trust=trust,
                sign_as=sign_as,
                passphrase=lambda: known(sign_as or "the key"),
                waiting=waiting,
                out=out,
                force=force,
                attestations=attestations,
                require_mirrors=require_mirrors,
                repair=Sources(network, peers, dht_nodes, port, timeout) if repair else None,
                observe=observe,
            )
    else:
        from weightshare.api.oms_checking import verify_oms

        if trust:
            raise click.UsageError("--trust is about a release's publisher; --oms-key says whom --oms is by.")
        if sshsig is not None:
            raise click.UsageError("--sshsig is over a release's manifest, which --oms does not read.")
        if repair:
            raise UsageError("--repair fetches from a swarm, and a folder that --oms checks has none.")
        if sign_as is not None or out is not None or force or attestations or require_mirrors:
            raise UsageError(
                "Mirrors vouch for releases of weightshare, and --oms checks a folder by another signature."
            )
        with progress.reporter(settings) as observe:
            found = verify_oms(
                release,
                oms,
                key=oms_key,
                certificate_chain=oms_chain,
                identity=oms_identity,
                identity_provider=oms_identity_provider,
                observe=observe,
            )
    if settings.json:
        output.say_json(found.to_json())
    else:
        output.warn(found.warnings)
        bad = [verdict for verdict in found.files if not verdict.ok]
        noun = "piece" if found.oms is None else "shard"
        output.table([(file.problem or "bad", _detail(file.path, file.bad_pieces, noun)) for file in bad])
        if found.ok:
            output.say(
                f"ok  {_subject(found)}: {output.count(len(found.files), 'file')}, {format_size(found.bytes)}, "
                f"in {output.took(found.seconds)}"
            )
            output.say(f"    as signed by {_signer(found)}")
            if found.repaired:
                output.say(f"    after {format_size(found.repaired)} were fetched anew")
            if found.sshsig:
                output.say(f"    and by the detached SSH signature of {found.sshsig}")
            if found.mirrors:
                output.say(f"    {output.vouched(found.mirrors)}")
            if found.attestation is not None:
                output.say(f"    countersigned in {found.attestation}")
    if not found.ok:
        if not settings.json:
            _complain(found)
            if sign_as is not None:
                output.note("Nothing was signed.")
        raise click.exceptions.Exit(CorruptError.exit_code)


def _subject(found: Verified) -> str:
    return found.release or str(found.path)


def _signer(found: Verified) -> str:
    if found.oms is None:
        return output.who(found.publisher, found.publisher_name)
    how = f"OpenSSF Model Signing, {found.oms.serialization}, {found.oms.hash}"
    by = ", checked by model_signing" if found.oms.checked_by != "weightshare" else ""
    return f"{found.oms.method} {found.publisher} ({how}{by})"


def _complain(found: Verified) -> None:
    bad = len([verdict for verdict in found.files if not verdict.ok])
    message = f"{output.count(bad, 'file')} of {_subject(found)} not as signed."
    output.tell(errors.paragraph("error", message, colour="red"))
    if found.oms is None:
        hint = "With --repair the bad pieces are fetched anew, where the release was fetched."
        output.tell(errors.paragraph("hint", hint, colour="cyan"))


def _detail(path: str, pieces: Sequence[int], noun: str) -> str:
    return f"{path}: {runs(pieces, noun)}" if pieces else path


def runs(pieces: Sequence[int], noun: str = "piece") -> str:
    """Piece indices for a reader: `piece 4`, `pieces 3, 7-9`."""
    spans: list[list[int]] = []
    for index in sorted(pieces):
        if spans and index == spans[-1][1] + 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    shown = [str(low) if low == high else f"{low}-{high}" for low, high in spans[:RANGES]]
    if len(spans) > RANGES:
        shown.append(f"… {len(pieces):,} in all")
    return f"{noun}{'' if len(pieces) == 1 else 's'} {', '.join(shown)}"
