"""What `publish` says of the release that it made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weightshare.units import MIB, format_rate, format_size
from weightshare_cli import from_hub as hub_options
from weightshare_cli import output
from weightshare_cli.embargoes import describe
from weightshare_cli.options import Settings

if TYPE_CHECKING:
    from weightshare.api.results import Published


def show(made: Published, settings: Settings, *, keep_seeding: bool) -> None:
    """Show a release and its link, and what there is to do next."""
    output.warn(made.warnings)
    # Of a small folder the time is that of the passphrase prompt, not of the hashing.
    pace = f" ({format_rate(made.bytes / made.seconds)})" if made.bytes >= 64 * MIB else ""
    output.say(made.release)
    output.facts(
        [
            ("files", f"{made.files:,}, {format_size(made.bytes)}"),
            ("publisher", output.who(made.publisher, made.publisher_name)),
            ("info-hash v2", made.info_hash_v2),
            ("info-hash v1", made.info_hash_v1),
            ("manifest", str(made.manifest)),
            ("signature", str(made.sshsig) if made.sshsig else None),
            ("torrent", str(made.torrent)),
            ("v1 twin", str(made.v1_twin) if made.v1_twin else None),
            ("OMS", str(made.oms) if made.oms else None),
            hub_options.row(made.hub),
            ("embargo", describe(made.embargo) if made.embargo else None),
            ("took", output.took(made.seconds) + pace),
        ]
    )
    output.say()
    output.say(output.quoted(made.magnet))
    if made.sshsig is not None and not settings.quiet:
        output.note("")
        output.note("Anybody who knows your key can check the manifest with OpenSSH alone:")
        output.note("  weightshare trust export --out allowed_signers")
        output.note(f"  {_keygen(made, made.sshsig)}")
    if not settings.quiet and not keep_seeding:
        output.note("")
        output.note("Nobody can fetch it until you serve it:")
        output.note(f"  weightshare seed {output.quoted(made.release)}")


def _keygen(made: Published, signature: Path) -> str:
    """The `ssh-keygen` line that checks the detached signature, to be copied."""
    name = output.quoted(made.publisher_name or made.release.partition("/")[0])
    return (
        f"ssh-keygen -Y verify -f allowed_signers -I {name} -n weightshare "
        f"-s {output.quoted(str(signature))} < {output.quoted(str(made.manifest))}"
    )
