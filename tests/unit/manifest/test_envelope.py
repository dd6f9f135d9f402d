from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightshare.errors import ManifestError, UnsupportedError
from weightshare.manifest.envelope import Envelope, Signature
from weightshare.manifest.model import PAYLOAD_TYPE
from weightshare.units import MAX_ENVELOPE

Change = Callable[[dict[str, Any]], object]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SIGNATURES = st.builds(Signature, keyid=TEXTS, sig=st.binary(max_size=80), public_key=TEXTS)


@given(st.binary(max_size=200), st.lists(SIGNATURES, max_size=3))
def test_round_trip(payload: bytes, signatures: list[Signature]) -> None:
    envelope = Envelope(PAYLOAD_TYPE, payload, tuple(signatures))
    assert Envelope.parse(envelope.to_bytes()) == envelope


def test_pae_is_the_specifications_example() -> None:
    # DSSE protocol, "Test Vectors".
    envelope = Envelope("http://example.com/HelloWorld", b"hello world", ())
    assert envelope.pae() == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_pae_counts_bytes_not_characters() -> None:
    assert Envelope("é", "é".encode(), ()).pae() == "DSSEv1 2 é 2 é".encode()


def _document() -> dict[str, Any]:
    envelope = Envelope(PAYLOAD_TYPE, b"{}", (Signature("SHA256:x", b"s" * 64, "ssh-ed25519 AAAA"),))
    document: dict[str, Any] = json.loads(envelope.to_bytes())
    return document


def test_unknown_fields_are_ignored() -> None:
    document = _document() | {"roots": [], "x": 1}
    document["signatures"][0]["cert"] = "x"
    assert Envelope.parse(json.dumps(document).encode()).payload == b"{}"


BAD: dict[str, tuple[Change, str]] = {
    "no payload": (lambda d: d.pop("payload"), "payload"),
    "payload is an object": (lambda d: d.update(payload={}), "payload"),
    "payload not base64": (lambda d: d.update(payload="***="), "payload"),
    "payload with a line break": (lambda d: d.update(payload="e30=\n"), "payload"),
    "payload base64url": (lambda d: d.update(payload="-_-_"), "payload"),
    "payload unpadded": (lambda d: d.update(payload="e30"), "payload"),
    "payload with stray bits": (lambda d: d.update(payload="e31="), "payload"),
    "no type": (lambda d: d.pop("payloadType"), "payloadType"),
    "no signatures": (lambda d: d.pop("signatures"), "signatures"),
    "signatures an object": (lambda d: d.update(signatures={}), "signatures"),
    "65 signatures": (lambda d: d.update(signatures=d["signatures"] * 65), "signatures"),
    "signature a text": (lambda d: d.update(signatures=["x"]), "signatures[0]"),
    "no sig": (lambda d: d["signatures"][0].pop("sig"), "signatures[0].sig"),
    "sig not base64": (lambda d: d["signatures"][0].update(sig="x"), "signatures[0].sig"),
    "sig too long": (
        lambda d: d["signatures"][0].update(sig=base64.b64encode(b"s" * 20_000).decode()),
        "signatures[0].sig",
    ),
    "keyid a number": (lambda d: d["signatures"][0].update(keyid=1), "signatures[0].keyid"),
    "key a number": (lambda d: d["signatures"][0].update(publicKey=1), "signatures[0].publicKey"),
    "key too long": (lambda d: d["signatures"][0].update(publicKey="x" * 20_000), "signatures[0].publicKey"),
}


@pytest.mark.parametrize(("change", "field"), BAD.values(), ids=BAD.keys())
def test_a_broken_envelope_is_refused_by_field(change: Change, field: str) -> None:
    document = _document()
    change(document)
    with pytest.raises(ManifestError) as caught:
        Envelope.parse(json.dumps(document).encode())
    assert caught.value.facts["field"] == field


def test_sixty_four_signatures_pass() -> None:
    document = _document()
    document["signatures"] *= 64
    assert len(Envelope.parse(json.dumps(document).encode()).signatures) == 64


def test_another_payload_type_is_unsupported() -> None:
    document = _document() | {"payloadType": "application/\x1b[2J"}
    with pytest.raises(UnsupportedError) as caught:
        Envelope.parse(json.dumps(document).encode())
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize("data", [b"", b"[]", b'"x"', b"\x00" * 100, b"{" * 100, b"x" * (MAX_ENVELOPE + 1)])
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        Envelope.parse(data)


def test_a_sigstore_bundle_is_no_envelope() -> None:
    bundle = {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": _document()}
    with pytest.raises(ManifestError, match="payloadType"):
        Envelope.parse(json.dumps(bundle).encode())


ALPHABET = st.sampled_from("AQgwBCDE+/=-_ \n*é")
CANONICAL = re.compile(r"(?:[\w+/]{4})*(?:[\w+/][AQgw]==|[\w+/]{2}[AEIMQUYcgkosw048]=)?", re.ASCII)


@given(st.text(ALPHABET, max_size=12) | st.binary(max_size=9).map(lambda raw: base64.b64encode(raw).decode()))
def test_base64_has_one_spelling(text: str) -> None:
    document = json.loads(Envelope(PAYLOAD_TYPE, b"", ()).to_bytes()) | {"payload": text}
    try:
        payload = Envelope.parse(json.dumps(document).encode()).payload
    except ManifestError:
        payload = None
    assert (payload is not None) == ("_" not in text and CANONICAL.fullmatch(text) is not None)
    assert payload is None or base64.b64encode(payload).decode() == text
