"""A countersignature, one lie at a time: each must end in its own error, and the honest one must be read."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders_mirrors import (
    ACME,
    CDN,
    EVIL,
    KNOWN,
    UNI,
    WHEN,
    info_hash,
    mirror,
    resigned,
    sealed,
    verified,
    vouch,
)
from tests.builders_releases import FILES, knows, pin, release
from weightshare.errors import (
    BadSignatureError,
    KeyFileError,
    ManifestError,
    RevokedError,
    TrustError,
    UnknownMirrorError,
    UnsignedError,
    UnsupportedError,
)
from weightshare.manifest.envelope import Envelope
from weightshare.trust import gate
from weightshare.trust.countersign import (
    MAX_COUNTERSIGNATURE,
    PROPERTY,
    Countersignature,
    countersign,
    read,
)
from weightshare.trust.keys import FileSigner

VOUCH = vouch()
PAYLOAD = Envelope.parse(VOUCH).payload

Statement = dict[str, Any]


# ---- the honest one


def test_what_a_mirror_signed_is_read_back() -> None:
    found = read(VOUCH, KNOWN)
    assert (found.mirror, found.mirror_name) == (CDN.public_key, "cdn")
    assert found.fingerprint == CDN.public_key.fingerprint
    assert found.release == "acme/m7b@1.0"
    assert found.payload_sha256 == verified().payload_sha256
    assert found.info_hash_v2 == info_hash()
    assert (found.bytes_rehashed, found.files) == (sum(map(len, FILES.values())), len(FILES))
    assert (found.time_verified, found.tool) == (WHEN, "weightshare 0.1")
    assert found.time_verified.tzinfo is not None


def test_the_statement_is_the_documented_one() -> None:
    assert json.loads(PAYLOAD) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "acme/m7b@1.0", "digest": {"sha256": verified().payload_sha256.hex()}}],
        "predicateType": "https://in-toto.io/attestation/svr/v0.1",
        "predicate": {
            "verifier": {"id": f"urn:weightshare:mirror:v1:{CDN.public_key.fingerprint}"},
            "timeCreated": "2026-11-22T10:00:00Z",
            "properties": ["WEIGHTSHARE_EVERY_BYTE_AS_SIGNED"],
            "weightshare": {
                "infoHashV2": info_hash().hex(),
                "bytesRehashed": sum(map(len, FILES.values())),
                "files": len(FILES),
                "tool": "weightshare 0.1",
            },
        },
    }
    assert json.loads(VOUCH)["payloadType"] == "application/vnd.in-toto+json"


def test_times_are_written_in_utc() -> None:
    elsewhere = WHEN.astimezone(timezone(timedelta(hours=9)))
    assert vouch(when=elsewhere) == VOUCH


def test_a_carried_key_has_no_comment() -> None:
    assert CDN.public_key.comment
    assert CDN.public_key.comment not in json.loads(VOUCH)["signatures"][0]["publicKey"]


def test_a_mirror_that_is_pinned_by_its_key_need_not_bring_it() -> None:
    document = json.loads(VOUCH)
    del document["signatures"][0]["publicKey"]
    assert read(json.dumps(document).encode(), KNOWN).mirror == CDN.public_key


def test_what_a_later_minor_version_adds_is_ignored() -> None:
    def add(statement: Statement) -> None:
        statement["predicate"]["weightshare"]["more"] = {"x": 1}
        statement["predicate"]["verifier"]["policy"] = {"uri": "https://example.com"}
        statement["predicate"]["properties"].append("ACME_SCANNED")
        statement["subject"][0]["digest"]["sha512"] = "0" * 128

    assert read(resigned(add), KNOWN).mirror_name == "cdn"


def test_nobody_else_makes_one() -> None:
    found = read(VOUCH, KNOWN)
    with pytest.raises(TypeError, match="only"):
        Countersignature(found.mirror, "cdn", "x", b"", b"", 0, 0, found.time_verified, "", seal=object())
    for steal in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            steal(found)


class _Liar(FileSigner):
    """Signs something else than it was given."""

    def sign(self, message: bytes) -> bytes:
        return super().sign(message + b"?")


def test_a_signature_that_does_not_hold_is_not_handed_out() -> None:
    liar = _Liar(CDN._private_key)
    with pytest.raises(KeyFileError, match="does not hold"):
        countersign(verified(), info_hash(), WHEN, "weightshare 0.1", liar)


# ---- who signed


def test_an_unknown_mirror_is_refused() -> None:
    with pytest.raises(UnknownMirrorError, match="do not know") as caught:
        read(vouch(EVIL), KNOWN)
    assert caught.value.exit_code == 3
    assert EVIL.public_key.fingerprint in caught.value.hint
    assert caught.value.facts == {"fingerprint": EVIL.public_key.fingerprint}


def test_a_publisher_is_no_mirror() -> None:
    with pytest.raises(UnknownMirrorError):
        read(vouch(ACME), KNOWN)
    assert read(vouch(ACME), knows(pin(ACME, namespaces=("weightshare", "weightshare-mirror"))))


def test_a_revoked_mirror_is_refused() -> None:
    for gone in (mirror(CDN, "", revoked=True), pin(CDN, "", revoked=True)):
        with pytest.raises(RevokedError):
            read(VOUCH, knows(mirror(CDN, "cdn"), gone))


def test_without_a_signature_it_is_nobodys() -> None:
    with pytest.raises(UnsignedError):
        read(sealed(PAYLOAD), KNOWN)


def test_a_signature_by_another_than_the_named_mirror_is_refused() -> None:
    with pytest.raises(BadSignatureError, match="did not sign it"):
        read(sealed(PAYLOAD, UNI), KNOWN)
    # Of two signatures the named one counts.
    assert read(sealed(PAYLOAD, UNI, CDN), KNOWN).mirror_name == "cdn"


@given(st.integers(0, len(PAYLOAD) * 8 - 1))
def test_any_changed_bit_of_the_payload_breaks_the_signature(bit: int) -> None:
    changed = bytearray(PAYLOAD)
    changed[bit // 8] ^= 1 << bit % 8
    document = json.loads(VOUCH) | {"payload": base64.b64encode(changed).decode()}
    with pytest.raises(BadSignatureError):
        read(json.dumps(document).encode(), KNOWN)


@given(st.integers(0, len(VOUCH) * 8 - 1))
def test_any_changed_bit_of_the_file_is_refused_or_changes_nothing(bit: int) -> None:
    changed = bytearray(VOUCH)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        found = read(bytes(changed), KNOWN)
    except (TrustError, ManifestError):
        return
    # A name that DSSE does not know, a hint, or white space: what was signed is what is read.
    assert Envelope.parse(bytes(changed)).payload == PAYLOAD
    assert found.fingerprint == CDN.public_key.fingerprint


# ---- what it says


def _subject(statement: Statement) -> Statement:
    found: Statement = statement["subject"][0]
    return found


def _ours(statement: Statement) -> Statement:
    found: Statement = statement["predicate"]["weightshare"]
    return found


MALFORMED: dict[str, tuple[Callable[[Statement], object], str]] = {
    "no subject": (lambda s: s["subject"].clear(), "subject"),
    "two subjects": (lambda s: s["subject"].append(_subject(s)), "subject"),
    "subject is no list": (lambda s: s.update(subject={}), "subject"),
    "no name": (lambda s: _subject(s).pop("name"), "subject[0].name"),
    "an escape in the name": (lambda s: _subject(s).update(name="\x1b[2J"), "subject[0].name"),
    "no digest": (lambda s: _subject(s).pop("digest"), "subject[0].digest"),
    "another digest": (lambda s: _subject(s).update(digest={"sha1": "00"}), "subject[0].digest.sha256"),
    "upper case": (lambda s: _subject(s).update(digest={"sha256": "A" * 64}), "subject[0].digest.sha256"),
    "no predicate": (lambda s: s.pop("predicate"), "predicate"),
    "no verifier": (lambda s: s["predicate"].pop("verifier"), "predicate.verifier"),
    "verifier's id no text": (lambda s: s["predicate"].update(verifier={"id": 1}), "predicate.verifier.id"),
    "no time": (lambda s: s["predicate"].pop("timeCreated"), "predicate.timeCreated"),
    "no zone": (lambda s: s["predicate"].update(timeCreated="2026-11-22T10:00:00"), "predicate.timeCreated"),
    "a zone": (
        lambda s: s["predicate"].update(timeCreated="2026-11-22T10:00:00+01:00"),
        "predicate.timeCreated",
    ),
    "no such day": (
        lambda s: s["predicate"].update(timeCreated="2026-02-30T10:00:00Z"),
        "predicate.timeCreated",
    ),
    "no properties": (lambda s: s["predicate"].pop("properties"), "predicate.properties"),
    "other properties": (
        lambda s: s["predicate"].update(properties=["ACME_SCANNED"]),
        "predicate.properties",
    ),
    "property is a text": (lambda s: s["predicate"].update(properties=PROPERTY), "predicate.properties"),
    "none of ours": (lambda s: s["predicate"].pop("weightshare"), "predicate.weightshare"),
    "no info-hash": (lambda s: _ours(s).pop("infoHashV2"), "predicate.weightshare.infoHashV2"),
    "a v1 info-hash": (lambda s: _ours(s).update(infoHashV2="0" * 40), "predicate.weightshare.infoHashV2"),
    "negative": (lambda s: _ours(s).update(bytesRehashed=-1), "predicate.weightshare.bytesRehashed"),
    "true files": (lambda s: _ours(s).update(files=True), "predicate.weightshare.files"),
    "no tool": (lambda s: _ours(s).pop("tool"), "predicate.weightshare.tool"),
    "a long tool": (lambda s: _ours(s).update(tool="x" * 101), "predicate.weightshare.tool"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_each_broken_field_is_named(name: str) -> None:
    change, field = MALFORMED[name]
    with pytest.raises(ManifestError) as caught:
        read(resigned(change), KNOWN)
    assert type(caught.value) is ManifestError
    assert caught.value.facts == {"field": field}
    assert caught.value.message.startswith("The countersignature, field")
    assert "publish" not in caught.value.hint


UNSUPPORTED: dict[str, tuple[Callable[[Statement], object], str]] = {
    "another predicate": (
        lambda s: s.update(predicateType="https://slsa.dev/verification_summary/v1"),
        "predicateType",
    ),
    "a later one": (
        lambda s: s.update(predicateType="https://in-toto.io/attestation/svr/v0.2"),
        "predicateType",
    ),
    "another statement": (lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), "_type"),
    "critical": (lambda s: _ours(s).update(critical=["sampled"]), "predicate.weightshare.critical"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_this_version_does_not_know_is_refused(name: str) -> None:
    change, field = UNSUPPORTED[name]
    with pytest.raises(UnsupportedError) as caught:
        read(resigned(change), KNOWN)
    assert caught.value.facts == {"field": field}


def test_another_payload_type_is_refused_though_signed() -> None:
    with pytest.raises(UnsupportedError, match="text/plain"):
        read(sealed(PAYLOAD, CDN, payload_type="text/plain"), KNOWN)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{", b'{"_type":1.5}', b'{"a":1,"a":2}', b"[" * 40 + b"]" * 40, b"\xff"],
)
def test_a_signed_payload_that_is_no_statement(payload: bytes) -> None:
    with pytest.raises(ManifestError, match="The countersignature"):
        read(sealed(payload, CDN), KNOWN)


def test_nothing_is_parsed_before_a_signature_holds() -> None:
    document = json.loads(sealed(b"\xff not json", CDN))
    document["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()
    with pytest.raises(BadSignatureError):
        read(json.dumps(document).encode(), KNOWN)


def test_a_file_past_the_limit_is_not_parsed() -> None:
    padded = VOUCH + b" " * (MAX_COUNTERSIGNATURE + 1 - len(VOUCH))
    with pytest.raises(ManifestError, match="65,536"):
        read(padded, KNOWN)
    assert read(padded[:-1], KNOWN)


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b'{"payloadType": 1}', b"\x00" * 100])
def test_a_file_that_is_no_envelope(data: bytes) -> None:
    with pytest.raises(ManifestError, match="The countersignature") as caught:
        read(data, KNOWN)
    assert caught.value.hint


# ---- one taken for the other


def test_a_manifest_is_no_countersignature() -> None:
    made = release(ACME)
    both = knows(pin(ACME, namespaces=("weightshare", "weightshare-mirror")))
    for known in (KNOWN, both):
        with pytest.raises(UnsupportedError, match="a release's manifest, not a countersignature"):
            read(made.envelope, known)


def test_a_countersignature_is_no_manifest() -> None:
    both = knows(pin(CDN, "cdn", namespaces=("weightshare", "weightshare-mirror")))
    for known in (KNOWN, both):
        with pytest.raises(UnsupportedError, match="predicateType"):
            gate.verify(VOUCH, known)


def test_the_time_now_is_no_part_of_reading() -> None:
    later = datetime.now(UTC) + timedelta(days=400)
    assert read(vouch(when=later), KNOWN).time_verified > datetime.now(UTC)
