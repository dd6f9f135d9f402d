"""Earlier releases: as a publisher names them, and as those on this machine speak of each other."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from weightshare.api.documents import naming, read_document
from weightshare.content.store import Store
from weightshare.errors import WeightshareError
from weightshare.manifest.envelope import Envelope
from weightshare.trust import gate
from weightshare.trust.gate import VerifiedManifest
from weightshare.trust.publishers import KnownPublishers
from weightshare.units import MAX_ENVELOPE

_DIGEST = re.compile(r"[0-9a-f]{64}")


def releases_of(store: Store, fingerprint: str, known: KnownPublishers) -> tuple[VerifiedManifest, ...]:
    """The releases of a publisher that are here, those alone whose manifest holds.

    Args:
        store: the releases.
        fingerprint: the publisher's identity, `SHA256:…`.
        known: the publishers the user knows.
    """
    found = []
    for record in store.records():
        if record.publisher == fingerprint:
            with suppress(WeightshareError):
                found.append(gate.verify(store.envelope(record), known))
    return tuple(found)


def payload_of(manifest: str | Path) -> bytes:
    """What other manifests call a release by: the SHA-256 of its manifest's payload (32 bytes).

    Args:
        manifest: its `weightshare.json`, or the digest itself in hex.

    Raises:
        UsageError: there is no such file.
        ManifestError: it is no manifest.
    """
    if _DIGEST.fullmatch(str(manifest)):
        return bytes.fromhex(str(manifest))
    hint = "Give the weightshare.json of a release, or the SHA-256 of its payload."
    data = read_document(Path(manifest), MAX_ENVELOPE, hint=hint)
    with naming(Path(manifest)):
        return Envelope.parse(data).payload_sha256
