"""The published example is a release that the gate accepts, and the page that explains it names its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders_releases import knows, pin, release, signer
from weightshare.errors import BadSignatureError, UnknownPublisherError
from weightshare.trust.gate import verify

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
EXAMPLE = MANIFESTS / "examples" / "test-key.weightshare.json"


def test_whoever_pins_the_test_key_accepts_the_example() -> None:
    verified = verify(EXAMPLE.read_bytes(), knows(pin(signer())))
    assert verified.release == "acme/m7b@1.0"
    assert verified.fingerprint in (MANIFESTS / "README.md").read_text()


def test_nobody_else_does() -> None:
    with pytest.raises(UnknownPublisherError):
        verify(EXAMPLE.read_bytes(), knows())


def test_one_changed_byte_of_the_payload_is_noticed() -> None:
    envelope = EXAMPLE.read_bytes()
    at = envelope.index(b'"payload":"') + 40
    changed = envelope[:at] + (b"A" if envelope[at : at + 1] != b"A" else b"B") + envelope[at + 1 :]
    with pytest.raises(BadSignatureError):
        verify(changed, knows(pin(signer())))


def test_the_same_release_gives_the_same_bytes_on_every_machine() -> None:
    assert release().envelope == EXAMPLE.read_bytes()
