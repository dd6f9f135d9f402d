"""A single key as the publisher, and the second kind of key that may have to sign beside it."""

from __future__ import annotations

from weightshare.errors import (
    BadSignatureError,
    StrippedSignatureError,
    TrustError,
    UnknownPublisherError,
)
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import Manifest
from weightshare.trust.keys import PublicKey
from weightshare.trust.pins import Pin
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.signatures import sound_post_quantum_keys
from weightshare.trust.standing import Standing, changed_publisher, revoked_key


def assess_single(
    envelope: Envelope,
    manifest: Manifest,
    sound: list[PublicKey],
    known: KnownPublishers,
    expected: bytes | None,
) -> Standing:
    """Of the keys whose signatures hold, speak of the one expected, else of a pinned one; and say what is wrong."""

    def rank(key: PublicKey) -> int:
        pin = known.find(key.fingerprint)
        if expected is not None and key.fingerprint_bytes == expected:
            return 0
        return 2 if pin is None else 3 if pin.revoked else 1

    signers = tuple(sorted(sound, key=rank))
    pin = known.find(signers[0].fingerprint)
    return Standing(signers, pin, None, _single_problem(envelope, manifest, signers[0], known, pin))


def _single_problem(
    envelope: Envelope, manifest: Manifest, signer: PublicKey, known: KnownPublishers, pin: Pin | None
) -> TrustError | None:
    fingerprint = signer.fingerprint
    if fingerprint not in manifest.publisher.keys:
        return BadSignatureError(
            f"The manifest names other keys for {manifest.publisher.name} than the one that signed it, "
            f"{fingerprint}.",
            fingerprint=fingerprint,
        )
    if pin is not None and pin.revoked:
        return revoked_key(pin)
    changed = changed_publisher(manifest, fingerprint, known)
    if changed is not None:
        return changed
    if pin is None:
        mirror = known.find_mirror(fingerprint)
        only = f" You know the key as the mirror {mirror.name}, of which no releases count." if mirror else ""
        return UnknownPublisherError(
            f"You do not know the publisher: {manifest.publisher.name}, {fingerprint}.{only}",
            hint=f"Compare the fingerprint with one they publish, then add --trust {fingerprint}",
            fingerprint=fingerprint,
            public_key=signer.openssh,
            name=manifest.publisher.name,
        )
    return _stripped(envelope, manifest, pin)


def _stripped(envelope: Envelope, manifest: Manifest, pin: Pin) -> TrustError | None:
    """Whether the second kind of signature is missing, from a publisher who is known to give both."""
    if not pin.post_quantum:
        return None
    sound = {key.fingerprint for key in sound_post_quantum_keys(envelope)}
    if pin.post_quantum in sound & set(manifest.publisher.keys):
        return None
    return StrippedSignatureError(
        f"You know {pin.name} by two keys, and the ML-DSA-44 signature by {pin.post_quantum} is missing "
        "or does not hold.",
        hint="Somebody may have taken it away. Ask the publisher for the release as they made it.",
        name=pin.name,
        missing=pin.post_quantum,
    )
