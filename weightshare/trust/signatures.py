"""Which keys' signatures in an envelope hold. It says nothing of whether anybody trusts them.

A `keyid` only says which pinned key to try; nothing is believed for it. A key that signs twice counts once.
"""

from __future__ import annotations

from weightshare.errors import KeyFileError
from weightshare.manifest.envelope import Envelope, Signature
from weightshare.trust.key_types import is_key_type
from weightshare.trust.keys import PublicKey
from weightshare.trust.post_quantum import KEY_TYPE, SIGNATURE_SIZE, PostQuantumKey
from weightshare.trust.publishers import KnownPublishers


def sound_keys(envelope: Envelope, known: KnownPublishers) -> list[PublicKey]:
    """The distinct keys whose signature over the envelope's PAE bytes holds, in the envelope's order.

    Args:
        envelope: as parsed.
        known: whose pinned keys are tried beside the one that a signature brings along.
    """
    message = envelope.pae()
    pinned = [pin.key for pin in known.pins if pin.key is not None]
    pinned += [key for pin in known.pins if pin.team for key in pin.team.current.releases.keys]
    sound: dict[PublicKey, None] = {}
    for signature in envelope.signatures:
        if len(signature.sig) != 64:  # another algorithm's; not ours to judge
            continue
        for key in _candidates(signature, pinned):
            if key.verify(signature.sig, message):
                sound.setdefault(key)
                break
    return list(sound)


def sound_post_quantum_keys(envelope: Envelope) -> list[PostQuantumKey]:
    """The distinct ML-DSA-44 keys whose signature over the envelope's PAE bytes holds, in the envelope's order.

    Raises:
        KeyFileError: there is such a signature, and this installation cannot check it.
    """
    message = envelope.pae()
    sound: dict[PostQuantumKey, None] = {}
    for signature in envelope.signatures:
        if len(signature.sig) != SIGNATURE_SIZE or not signature.public_key.startswith(KEY_TYPE):
            continue
        try:
            key = PostQuantumKey.parse(signature.public_key)
        except KeyFileError:
            continue
        if key.verify(signature.sig, message):
            sound.setdefault(key)
    return list(sound)


def refused_keys(envelope: Envelope) -> list[str]:
    """Why keys that the envelope carries do not serve, a sentence each; empty if all of them do."""
    reasons: dict[str, None] = {}
    for signature in envelope.signatures:
        try:
            if is_key_type(signature.public_key.partition(" ")[0]):
                PublicKey.parse(signature.public_key)
        except KeyFileError as error:
            reasons.setdefault(error.message)
    return list(reasons)


def _candidates(signature: Signature, pinned: list[PublicKey]) -> list[PublicKey]:
    candidates = sorted(pinned, key=lambda key: key.fingerprint != signature.keyid)
    try:
        carried = [PublicKey.parse(signature.public_key)] if signature.public_key else []
    except KeyFileError:
        carried = []
    return carried + candidates
