"""Our countersignatures in the hands of another DSSE implementation: python-securesystemslib's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders_mirrors import CDN, UNI, sealed, vouch
from weightshare.trust.keys import FileSigner

dsse = pytest.importorskip("securesystemslib.dsse", reason="securesystemslib is not installed")
signer = pytest.importorskip("securesystemslib.signer", reason="securesystemslib is not installed")
errors = pytest.importorskip("securesystemslib.exceptions", reason="securesystemslib is not installed")


def _key(ours: FileSigner) -> Any:
    """The same public key as that library has it."""
    public = ours.public_key
    return signer.SSlibKey(public.fingerprint, "ed25519", "ed25519", {"public": public.raw.hex()})


def _envelope(data: bytes) -> Any:
    return dsse.Envelope.from_dict(json.loads(data))


def test_it_verifies_with_the_mirrors_key() -> None:
    envelope = _envelope(vouch(CDN))
    assert set(envelope.verify([_key(CDN)], 1)) == {CDN.public_key.fingerprint}
    statement = json.loads(envelope.payload)
    assert envelope.payload_type == "application/vnd.in-toto+json"
    assert statement["predicateType"] == "https://in-toto.io/attestation/svr/v0.1"
    assert {"verifier", "timeCreated", "properties"} <= statement["predicate"].keys()


def test_it_fails_with_another_key_or_another_payload() -> None:
    with pytest.raises(errors.VerificationError):
        _envelope(vouch(CDN)).verify([_key(UNI)], 1)
    envelope = _envelope(vouch(CDN))
    envelope.payload += b" "
    with pytest.raises(errors.VerificationError):
        envelope.verify([_key(CDN)], 1)


def test_two_signatures_meet_a_threshold_of_two() -> None:
    envelope = _envelope(sealed(b"{}", CDN, UNI))
    assert len(envelope.verify([_key(CDN), _key(UNI)], 2)) == 2
