"""Mirrors, and countersignatures whole and consistent, for tests to break one thing at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.builders_releases import Release, knows, pin, release, signer
from weightshare.manifest import strict_json
from weightshare.manifest.envelope import Envelope, Signature
from weightshare.manifest.model import PAYLOAD_TYPE
from weightshare.trust import gate
from weightshare.trust.countersign import countersign
from weightshare.trust.gate import VerifiedManifest
from weightshare.trust.keys import FileSigner, PublicKey
from weightshare.trust.pins import MIRROR_NAMESPACE, Pin

WHEN = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
NOW = WHEN + timedelta(days=1)
ACME, CDN, UNI, EVIL = signer(1), signer(2), signer(3), signer(66)


def mirror(key: FileSigner, name: str, **fields: object) -> Pin:
    """A pin of a key that is a mirror's and nothing else."""
    return pin(key, name, **{"namespaces": (MIRROR_NAMESPACE,), **fields})


KNOWN = knows(pin(ACME), mirror(CDN, "cdn"), mirror(UNI, "uni"))
"""A user who knows the publisher and two mirrors."""


def verified(made: Release | None = None) -> VerifiedManifest:
    """The proven manifest of a release, one by acme unless said otherwise."""
    made = made or release(ACME)
    return gate.verify(made.envelope, knows(pin(made.key)))


def info_hash(made: Release | None = None) -> bytes:
    """The v2 info-hash of its torrent."""
    return hashlib.sha256((made or release(ACME)).raw_info()).digest()


def vouch(key: FileSigner = CDN, made: Release | None = None, when: datetime = WHEN) -> bytes:
    """A sound countersignature."""
    return countersign(verified(made), info_hash(made), when, "weightshare 0.1", key)


def resigned(change: Callable[[dict[str, Any]], object], key: FileSigner = CDN) -> bytes:
    """A countersignature whose statement was changed and signed anew, by the same key."""
    statement = json.loads(Envelope.parse(vouch(key)).payload)
    change(statement)
    return sealed(strict_json.dumps(statement), key)


def sealed(payload: bytes, *keys: FileSigner, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """Any bytes, signed."""
    unsigned = Envelope(payload_type, payload, ())
    signatures = [
        Signature(key.public_key.fingerprint, key.sign(unsigned.pae()), PublicKey(key.public_key.raw).openssh)
        for key in keys
    ]
    return Envelope(payload_type, payload, tuple(signatures)).to_bytes()
