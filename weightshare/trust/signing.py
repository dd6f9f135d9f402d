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
    return envelope if second is None else add_signature(envelope, manifest.publisher, second)


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


def add_signature(envelope: Envelope, publisher: Publisher, signer: Signer | PostQuantumSigner) -> Envelope:
    """The envelope with one more signature; one by the same key takes the place of the earlier.

    Raises:
        KeyFileError: the signer is not among the publisher's keys, or its signature does not hold.
    """
    key = signer.public_key
    if key.fingerprint not in publisher.keys:
        raise KeyFileError(
            f"The key {key.fingerprint} is not among the keys the manifest names for "
            f"{publisher.name}: {', '.join(publisher.keys)}.",
        )
    sig = signer.sign(envelope.pae())
    if not key.verify(sig, envelope.pae()):
        raise KeyFileError(f"What signed for {key.fingerprint} gave a signature that does not hold.")
    # The comment is often an address of the maintainer's machine; it is nobody's business.
    line = PublicKey(key.raw).openssh if isinstance(key, PublicKey) else key.line
    others = tuple(other for other in envelope.signatures if other.public_key != line)
    return replace(envelope, signatures=(*others, Signature(key.fingerprint, sig, line)))
