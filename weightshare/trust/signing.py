"""Signs a manifest: serialise it once, sign the DSSE bytes, and check the result before anybody else does."""

from __future__ import annotations

from weightshare.errors import KeyFileError
from weightshare.manifest.envelope import Envelope, Signature
from weightshare.manifest.model import PAYLOAD_TYPE, Manifest
from weightshare.trust.keys import PublicKey, Signer


def sign(manifest: Manifest, signer: Signer) -> Envelope:
    """The manifest in an envelope, signed.

    Args:
        manifest: what to say; `publisher.keys` must hold the signer's fingerprint.
        signer: the key that says it.

    Raises:
        ManifestError: the manifest breaks a rule of the format.
        UnsafePathError: it lists a path that no release may hold.
        KeyFileError: the signer is not among the publisher's keys, or its signature does not hold.
    """
    key = signer.public_key
    if key.fingerprint not in manifest.publisher.keys:
        raise KeyFileError(
            f"The key {key.fingerprint} is not among the keys the manifest names for "
            f"{manifest.publisher.name}: {', '.join(manifest.publisher.keys)}.",
        )
    unsigned = Envelope(PAYLOAD_TYPE, manifest.to_payload(), ())
    signature = signer.sign(unsigned.pae())
    if not key.verify(signature, unsigned.pae()):
        raise KeyFileError(f"What signed for {key.fingerprint} gave a signature that does not hold.")
    # The comment is often an address of the maintainer's machine; it is nobody's business.
    carried = PublicKey(key.raw).openssh
    return Envelope(PAYLOAD_TYPE, unsigned.payload, (Signature(key.fingerprint, signature, carried),))
