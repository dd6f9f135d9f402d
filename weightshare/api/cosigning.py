"""`sign`: a maintainer adds a signature to a manifest that a colleague prepared.

The manifest is the only thing that has to travel. Copies that were signed at the same time are merged: what is
signed is the payload, and that is the same in all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from weightshare.api.documents import naming, read_document, write_document
from weightshare.api.results import Prepared, Tally
from weightshare.api.signers import open_signer
from weightshare.api.trusting import team_of
from weightshare.content.home import Home
from weightshare.errors import ManifestError, UsageError
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import Manifest
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.signatures import sound_keys
from weightshare.trust.signing import add_signature
from weightshare.trust.teams import Quorum, Team
from weightshare.units import MAX_ENVELOPE


def sign_manifest(
    manifest_file: str | Path,
    *,
    key: str | Path | None = None,
    passphrase: Callable[[], str] | None = None,
    waiting: Callable[[str], None] | None = None,
    merge: Sequence[str | Path] = (),
    home: Home | None = None,
) -> Prepared:
    """Add a signature to a manifest, in place.

    Args:
        manifest_file: what `publish --prepare` wrote.
        key: an Ed25519 key that the manifest names; None for the only one in `home`.
        passphrase: asked when the key wants one.
        waiting: told what is waited for when an ssh-agent takes its time.
        merge: copies of the same manifest, whose signatures are taken over.
        home: where keys and the known publishers are.

    Raises:
        UsageError: there is no such file, or a copy is of another manifest.
        ManifestError: it is no manifest.
        KeyFileError: no usable key, or one that the manifest does not name.
        DiskError: it cannot be written.
    """
    began = time.monotonic()
    home = home or Home.default()
    path = Path(manifest_file)
    envelope, manifest = read_manifest(path)
    for other in merge:
        envelope = _merged(envelope, Path(other))
    if key is not None or not merge:
        signer = open_signer(key, home, passphrase, waiting)
        envelope = add_signature(envelope, manifest.publisher, signer)
    write_document(path, envelope.to_bytes())
    return _prepared(path, envelope, manifest, home, began)


def look_at(manifest_file: str | Path, *, home: Home | None = None) -> tuple[Prepared, Manifest]:
    """What a maintainer is asked to sign, and how far the signing has come.

    Raises:
        UsageError: there is no such file.
        ManifestError: it is no manifest.
    """
    began = time.monotonic()
    path = Path(manifest_file)
    envelope, manifest = read_manifest(path)
    return _prepared(path, envelope, manifest, home or Home.default(), began), manifest


def _prepared(path: Path, envelope: Envelope, manifest: Manifest, home: Home, began: float) -> Prepared:
    team = _team(envelope, manifest, home)
    return Prepared(
        release=manifest.release,
        publisher=team.fingerprint if team is not None else manifest.publisher.keys[0],
        publisher_name=manifest.publisher.name,
        manifest=path.absolute(),
        payload_sha256=envelope.payload_sha256.hex(),
        tally=tally(envelope, manifest, home),
        files=len(manifest.files),
        bytes=manifest.size,
        seconds=time.monotonic() - began,
    )


def _team(envelope: Envelope, manifest: Manifest, home: Home) -> Team | None:
    """The team that is to sign: as it is known here, else as the roots beside the manifest say."""
    team = team_of(home, manifest.model.id)
    if team is None and envelope.roots:
        from weightshare.trust import roots

        team = roots.start(envelope.roots)
    return team


def read_manifest(path: Path) -> tuple[Envelope, Manifest]:
    """A manifest that is being signed: read strictly, though nobody may have signed it yet.

    Raises:
        UsageError: there is no such file.
        ManifestError: it is no manifest.
    """
    hint = "Give the file that `weightshare publish --prepare` wrote."
    data = read_document(path, MAX_ENVELOPE, hint=hint)
    with naming(path):
        envelope = Envelope.parse(data)
        return envelope, Manifest.from_payload(envelope.payload)


def tally(envelope: Envelope, manifest: Manifest, home: Home) -> Tally:
    """How far the signing has come, by the team's newest root that is known here."""
    team = _team(envelope, manifest, home)
    sound = tuple(
        key for key in sound_keys(envelope, KnownPublishers()) if key.fingerprint in manifest.publisher.keys
    )
    if team is None:
        return Tally(len(sound), 1, len(manifest.publisher.keys))
    quorum: Quorum = team.current.releases
    return Tally(quorum.count(sound), quorum.threshold, len(quorum.keys))


def _merged(envelope: Envelope, path: Path) -> Envelope:
    other, _ = read_manifest(path)
    if other.payload != envelope.payload:
        raise UsageError(
            f"{path} is another manifest: its payload is {other.payload_sha256.hex()}, "
            f"not {envelope.payload_sha256.hex()}.",
            hint="Everybody has to sign the very file that was prepared.",
        )
    sound = {key.fingerprint for key in sound_keys(other, KnownPublishers())}
    if not sound:
        raise ManifestError(f"No signature in {path} holds over the manifest.", field="signatures")
    mine = {signature.keyid for signature in envelope.signatures}
    added = [s for s in other.signatures if s.keyid in sound and s.keyid not in mine]
    return replace(envelope, signatures=(*envelope.signatures, *added))
