"""Signs a manifest: serialise it once, sign the DSSE bytes, and check each signature before anybody else does.

A team's maintainers sign one after another: `unsigned` makes the envelope, each `add_signature` gives a fuller one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from weightshare.errors import KeyFileError
from weightshare.manifest.envelope import Envelope, Signature
from weightshare.manifest.model import PAYLOAD_TYPE, Manifest, Publisher
from weightshare.trust.keys import PublicKey, Signer
from weightshare.trust.post_quantum import PostQuantumSigner


def sign(manifest: Manifest, signer: Signer, second: PostQuantumSigner | None = None) -> Envelope:
    """The manifest in an envelope, signed by one publisher.

    Args:
        manifest: what to say; `publisher.keys` must hold the fingerprint of each key that signs.
        signer: the key that says it.
        second: the ML-DSA-44 key that says it too.

    Raises:
        ManifestError: the manifest breaks a rule of the format.
        UnsafePathError: it lists a path that no release may hold.
        KeyFileError: a signer is not among the publisher's keys, or its signature does not hold.
    """
    envelope = add_signature(unsigned(manifest), manifest.publisher, signer)
    return envelope if second is None else add_second(envelope, manifest.publisher, second)


def unsigned(manifest: Manifest, roots: Iterable[bytes] = ()) -> Envelope:
    """The manifest in an envelope that nobody has signed yet.

    Args:
        manifest: what will be said.
        roots: a team's root files, version 1 first.

    Raises:
        ManifestError: the manifest breaks a rule of the format.
        UnsafePathError: it lists a path that no release may hold.
    """
    return Envelope(PAYLOAD_TYPE, manifest.to_payload(), (), tuple(roots))


def add_signature(envelope: Envelope, publisher: Publisher, signer: Signer) -> Envelope:
    """The envelope with one more Ed25519 signature; one by the same key takes the place of the earlier.

    Raises:
        KeyFileError: the signer is not among the publisher's keys, or its signature does not hold.
    """
    key = signer.public_key
    _check_named(key.fingerprint, publisher)
    signature = signer.sign(envelope.pae())
    if not key.verify(signature, envelope.pae()):
        raise _unsound(key.fingerprint)
    # The comment is often an address of the maintainer's machine; it is nobody's business.
    return _with(envelope, Signature(key.fingerprint, signature, PublicKey(key.raw).openssh))


def add_second(envelope: Envelope, publisher: Publisher, signer: PostQuantumSigner) -> Envelope:
    """The envelope with an ML-DSA-44 signature beside the others.

    Raises:
        KeyFileError: the signer is not among the publisher's keys, or its signature does not hold.
    """
    key = signer.public_key
    _check_named(key.fingerprint, publisher)
    signature = signer.sign(envelope.pae())
    if not key.verify(signature, envelope.pae()):
        raise _unsound(key.fingerprint)
    return _with(envelope, Signature(key.fingerprint, signature, key.line))


def _check_named(fingerprint: str, publisher: Publisher) -> None:
    if fingerprint not in publisher.keys:
        raise KeyFileError(
            f"The key {fingerprint} is not among the keys the manifest names for "
            f"{publisher.name}: {', '.join(publisher.keys)}.",
        )


def _with(envelope: Envelope, signature: Signature) -> Envelope:
    others = tuple(other for other in envelope.signatures if other.public_key != signature.public_key)
    return replace(envelope, signatures=(*others, signature))


def _unsound(fingerprint: str) -> KeyFileError:
    return KeyFileError(f"What signed for {fingerprint} gave a signature that does not hold.")
