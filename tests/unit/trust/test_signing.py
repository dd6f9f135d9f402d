from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders_releases import manifest, signer
from weightshare.errors import KeyFileError, ManifestError
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import PAYLOAD_TYPE, Publisher
from weightshare.trust.keys import PublicKey
from weightshare.trust.signing import sign


def test_the_signature_is_over_the_pae_bytes_and_brings_its_key() -> None:
    key = signer()
    envelope = sign(manifest(key), key)
    (signature,) = envelope.signatures
    assert envelope.payload_type == PAYLOAD_TYPE
    assert envelope.payload == manifest(key).to_payload()
    assert key.public_key.verify(signature.sig, envelope.pae())
    assert not key.public_key.verify(signature.sig, envelope.payload)
    assert signature.keyid == key.public_key.fingerprint
    assert PublicKey.parse(signature.public_key) == key.public_key
    assert Envelope.parse(envelope.to_bytes()) == envelope


def test_the_keys_comment_stays_at_home() -> None:
    key = signer()
    assert key.public_key.comment
    assert key.public_key.comment.encode() not in sign(manifest(key), key).to_bytes()


def test_signing_twice_gives_the_same_bytes() -> None:
    key = signer()
    assert sign(manifest(key), key).to_bytes() == sign(manifest(key), key).to_bytes()


def test_a_key_that_the_manifest_does_not_name_does_not_sign_it() -> None:
    with pytest.raises(KeyFileError, match="not among the keys"):
        sign(manifest(signer(1)), signer(2))


def test_a_manifest_that_breaks_the_format_is_not_signed() -> None:
    key = signer()
    broken = replace(manifest(key), publisher=Publisher("a b", (key.public_key.fingerprint,)))
    with pytest.raises(ManifestError):
        sign(broken, key)


def test_a_signer_that_signs_wrongly_is_found_out() -> None:
    class Broken:
        public_key = signer().public_key

        def sign(self, message: bytes) -> bytes:
            return signer(2).sign(message)

    with pytest.raises(KeyFileError, match="does not hold"):
        sign(manifest(), Broken())
