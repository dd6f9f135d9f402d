"""Envelopes that break one rule each, really signed unless the signature is what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from builders import (
    PAYLOAD_TYPE,
    Json,
    b64,
    compact,
    fingerprint,
    key_line,
    pae,
    seal,
    signature,
    statement,
    subject_of,
    to_bytes,
    wire,
)
from cases import ALICE, BOB, MALLORY, Case, both, changed, put, signed, sound

ORDER = 2**252 + 27742317777372353535851937790883648493
MAX_DOCUMENT = 16 * 1024 * 1024


def json_cases() -> Iterator[Case]:
    """J: what is no JSON that two programs must read alike; in the envelope, and in the signed payload."""
    plain, payload = signed(sound()), compact(sound())
    twice = b'{"payloadType":"text/plain",'
    for name, about, data, schema in (
        ("J2-byte-order-mark", "A byte order mark in front.", b"\xef\xbb\xbf" + plain, None),
        ("J2-utf-16", "UTF-16.", plain.decode().encode("utf-16-le"), None),
        ("J2-bad-utf-8", "A byte that is no UTF-8, in a field that is ignored.", plain.replace(b"{", b'{"x":"\xff",', 1), None),
        ("J2-utf-8-surrogate", "Half a character in UTF-8's form.", plain.replace(b"{", b'{"x":"\xed\xa0\x80",', 1), None),
        ("J3-empty", "No bytes at all.", b"", None),
        ("J3-truncated", "The last brace is missing.", plain.rstrip()[:-1], None),
        ("J3-two-values", "A second value behind the first.", plain + b"{}", None),
        ("J3-trailing-comma", "A comma before the last brace.", plain.rstrip()[:-1] + b",}", None),
        ("J3-comment", "A comment.", b"/* x */" + plain, None),
        ("J3-raw-control", "A line feed inside a string.", plain.replace(b"{", b'{"x":"a\nb",', 1), None),
        ("J3-nan", "NaN, which is no JSON.", plain.replace(b"{", b'{"x":NaN,', 1), None),
        ("J4-deep-envelope", "33 levels in a field that is ignored.", plain.replace(b"{", b'{"x":' + b"[" * 32 + b"]" * 32 + b",", 1), False),
        ("J6-duplicate-envelope-key", "Two payload types; the last one would be right.", twice + plain[1:], False),
        ("J6-duplicate-escaped-key", "The same key twice, once with an escape.", plain.replace(b"{", b'{"p\\u0061yload":"",', 1), False),
        ("J7-float-in-envelope", "A fraction in a field that is ignored.", plain.replace(b"{", b'{"x":1.5,', 1), False),
        ("J7-exponent", "An integer written with an exponent.", plain.replace(b"{", b'{"x":1e3,', 1), False),
        ("J8-lone-surrogate", "An escape for half a character.", plain.replace(b"{", b'{"x":"\\ud800",', 1), False),
    ):
        yield Case(name, about, data, (name[:2],), error="manifest", field="", schema=schema)
    sequence = b'"sequence":5'
    for name, about, data, schema in (
        ("J2-payload-not-utf-8", "The payload is not UTF-8.", payload.replace(b"a model", b"\xe9"), None),
        ("J3-payload-empty", "The payload is empty.", b"", None),
        ("J3-payload-not-json", "The payload is text.", b"hello", None),
        ("J3-payload-two-values", "A second statement behind the first.", payload + payload, None),
        ("J4-deep-payload", "33 levels in `ext`.", compact(sound())[:-1] + b',"x":' + b"[" * 32 + b"]" * 32 + b"}", False),
        ("J6-duplicate-sequence", "Two sequences in one model.", payload.replace(sequence, sequence + b',"sequence":9'), False),
        ("J7-float-sequence", "A sequence of 5.0.", payload.replace(sequence, b'"sequence":5.0'), False),
        ("J7-exponent-sequence", "A sequence of 5e0.", payload.replace(sequence, b'"sequence":5e0'), False),
        ("J7-integer-past-2-53", "An integer that some parsers round.", payload.replace(sequence, b'"later":9007199254740992,' + sequence), False),
        ("J7-integer-below-2-53", "A negative one.", payload.replace(sequence, b'"later":-9007199254740992,' + sequence), False),
        ("J7-hundred-digits", "An integer of a hundred digits.", payload.replace(sequence, b'"later":' + b"9" * 100 + b"," + sequence), False),
        ("J8-payload-lone-surrogate", "An escape for half a character, in a key.", payload.replace(sequence, b'"\\udc00":1,' + sequence), False),
    ):
        yield Case(name, about, to_bytes(seal(data, ALICE)), (name[:2],), error="manifest", field="", schema=schema)


def envelope_cases() -> Iterator[Case]:
    """E: what is no envelope, whatever it holds."""
    base = seal(compact(sound()), ALICE)
    entry: Json = base["signatures"][0]

    def case(name: str, about: str, document: object, field: str, **facts: object) -> Case:
        facts = {"error": "manifest", "schema": True} | facts
        return Case(name, about, to_bytes(document), (name.partition("-")[0],), field=field, **facts)  # type: ignore[arg-type]

    def with_entry(**fields: object) -> Json:
        return base | {"signatures": [entry | fields]}

    def without(key: str) -> Json:
        return {name: value for name, value in base.items() if name != key}

    payload, sig_hex = base["payload"], ":".join(["0a"] * 64)
    stray = payload.rstrip("=")[:-1] + "B" + "=" * payload.count("=")
    assert payload.endswith("=")
    yield case("E1-list", "A list of envelopes.", [base], "")
    yield case("E1-text", "A text.", "weightshare", "")
    yield case("E2-no-type", "No payload type.", without("payloadType"), "payloadType")
    yield case("E2-type-null", "A payload type of null.", base | {"payloadType": None}, "payloadType")
    yield case("E2-other-type", "Somebody else's payload type, signed as such.",
               base | {"payloadType": "application/json", "signatures": [entry | {"sig": b64(ALICE.sign(pae(compact(sound()), "application/json")))}]},
               "payloadType", error="unsupported")
    yield case("E2-type-in-capitals", "The type in other letters.", base | {"payloadType": PAYLOAD_TYPE.upper()}, "payloadType", error="unsupported")
    yield case("E3-no-payload", "No payload.", without("payload"), "payload")
    yield case("E3-payload-object", "The statement itself in place of its base64.", base | {"payload": sound()}, "payload")
    yield case("E3-base64url", "Base64 in the alphabet for URLs.", base | {"payload": payload[:8] + "-_-_" + payload[12:]}, "payload")
    yield case("E3-unpadded", "Base64 without its padding.", base | {"payload": payload.rstrip("=")}, "payload")
    yield case("E3-line-break", "Base64 with a line break.", base | {"payload": payload[:64] + "\n" + payload[64:]}, "payload")
    yield case("E3-stray-bits", "Base64 that decodes to the same bytes and is spelt another way.", base | {"payload": stray}, "payload")
    yield case("E3-junk-after-padding", "Base64 with more of it behind the padding.", base | {"payload": payload + "AAAA"}, "payload")
    yield case("E4-no-signatures", "No list of signatures.", without("signatures"), "signatures")
    yield case("E4-signatures-object", "One signature in place of a list.", base | {"signatures": entry}, "signatures")
    yield case("E4-65-signatures", "65 signatures, all of which hold.", base | {"signatures": [entry] * 65}, "signatures")
    yield case("E4-signature-text", "A signature that is no object.", base | {"signatures": [entry["sig"]]}, "signatures[0]")
    yield case("E5-no-sig", "An entry without a signature.", base | {"signatures": [entry, {"keyid": "x"}]}, "signatures[1].sig")
    yield case("E5-sig-not-base64", "A signature with colons between its bytes.", with_entry(sig=sig_hex), "signatures[0].sig")
    yield case("E5-sig-too-long", "A signature of 16,385 bytes beside the right one.",
               base | {"signatures": [{"sig": b64(bytes(16_385))}, entry]}, "signatures[0].sig")
    yield case("E6-keyid-number", "A keyid that is a number.", with_entry(keyid=1), "signatures[0].keyid")
    yield case("E6-keyid-null", "A keyid of null.", with_entry(keyid=None), "signatures[0].keyid")
    yield case("E6-public-key-list", "A key that is a list.", with_entry(publicKey=[ALICE.line]), "signatures[0].publicKey")
    yield case("E6-public-key-too-long", "A key with a comment of 16,384 characters.",
               with_entry(publicKey=ALICE.line + " " + "x" * 16_384), "signatures[0].publicKey")
    yield case("E7-roots-object", "Roots that are no list.", base | {"roots": {}}, "roots")
    yield case("E7-roots-null", "Roots of null.", base | {"roots": None}, "roots")
    yield case("E7-root-not-base64", "A root as JSON instead of base64.", base | {"roots": ["{}"]}, "roots[0]")
    yield case("E7-257-roots", "257 roots.", base | {"roots": ["e30="] * 257}, "roots")


def signature_cases() -> Iterator[Case]:
    """S: signatures that prove nothing."""
    document = sound()
    payload = compact(document)
    base, good = seal(payload), signature(ALICE, payload)
    alices = base | {"signatures": [good]}

    def case(name: str, about: str, envelope: Json, error: str = "bad_signature", **facts: object) -> Case:
        facts = {"schema": False} | facts
        return Case(name, about, to_bytes(envelope), (name.partition("-")[0],), error=error, **facts)  # type: ignore[arg-type]

    def forged(sig: bytes, **fields: object) -> Json:
        return base | {"signatures": [good | {"sig": b64(sig)} | fields]}

    def by(key_blob: bytes, kind: str, sig: bytes) -> Json:
        return forged(sig, publicKey=key_line(kind, key_blob), keyid=fingerprint(key_blob))

    sig = ALICE.sign(pae(payload))
    higher = (int.from_bytes(sig[32:], "little") + ORDER).to_bytes(32, "little")
    other = compact(changed(lambda d: d["predicate"]["model"].update(sequence=6)))
    yield case("S1-no-signature", "An empty list of signatures.", base, "unsigned", schema=True)
    yield case("S2-payload-alone", "Signed is the payload without DSSE's frame.", forged(ALICE.sign(payload)))
    yield case("S2-base64-signed", "Signed is the payload's base64.", forged(ALICE.sign(pae(b64(payload).encode()))))
    yield case("S2-other-type-signed", "Signed as another payload type.", forged(ALICE.sign(pae(payload, "application/json"))))
    yield case("S2-other-payload", "A later release's payload under an earlier one's signature.", alices | {"payload": b64(other)})
    yield case("S2-payload-respelt", "The same statement with a space in it.", alices | {"payload": b64(payload + b" ")})
    yield case("S3-63-bytes", "A signature that lost its last byte.", forged(sig[:63]))
    yield case("S3-65-bytes", "A signature with a byte too many.", forged(sig + b"\0"))
    yield case("S3-zeros", "64 zero bytes.", forged(bytes(64)))
    yield case("S3-one-bit", "One bit of the signature is another.", forged(bytes([sig[0] ^ 1]) + sig[1:]))
    yield case("S3-large-s", "The signature's S plus the group's order: the same equation, another signature.", forged(sig[:32] + higher))
    yield case("S4-sk-key", "A security device's key, whose signatures cover something else.",
               by(wire("sk-ssh-ed25519@openssh.com", ALICE.raw, "ssh:"), "sk-ssh-ed25519@openssh.com", sig), known=(fingerprint(wire("sk-ssh-ed25519@openssh.com", ALICE.raw, "ssh:")),))
    yield case("S4-type-differs-inside", "The line says ssh-ed25519 and the key inside says sk-.",
               by(wire("sk-ssh-ed25519@openssh.com", ALICE.raw), "ssh-ed25519", sig), known=(ALICE.fingerprint,))
    yield case("S4-key-with-more", "A key with four bytes behind it.", by(wire("ssh-ed25519", ALICE.raw) + bytes(4), "ssh-ed25519", sig), known=(ALICE.fingerprint,))
    for name, about, point in (
        ("identity", "The point of order 1, for which anybody can sign anything.", _number(1)),
        ("order-2", "The point of order 2.", _number(2**255 - 20)),
        ("order-4", "A point of order 4.", _number(0)),
        ("order-8", "A point of order 8.", bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")),
        ("not-canonical", "The identity, written as 2^255 - 18.", _number(2**255 - 18)),
        ("not-on-the-curve", "32 bytes that are no point.", _number(2)),
    ):
        blob = wire("ssh-ed25519", point)
        named = to_bytes(_weak(blob, point))
        yield Case(f"S5-{name}", about, named, ("S5",), (fingerprint(blob),), "bad_signature", None, False)
    yield case("S7-keyid-of-the-known", "A stranger signs under the known key's keyid and brings no key.",
               base | {"signatures": [{"keyid": ALICE.fingerprint, "sig": b64(MALLORY.sign(pae(payload)))}]})
    yield case("S7-key-of-the-known", "A stranger signs and brings the known key.",
               base | {"signatures": [signature(MALLORY, payload) | {"publicKey": ALICE.line, "keyid": ALICE.fingerprint}]})
    yield case("S10-all-64-bad", "64 signatures, of which none holds.", base | {"signatures": [good | {"sig": b64(bytes([n]) * 64)} for n in range(64)]})
    yield case("S10-unknown-kinds-alone", "Signatures of unknown kinds, and no other.", base | {"signatures": [{"sig": b64(b"x" * 72)}, {"sig": ""}]})
    yield case("S10-nothing-is-parsed", "A payload that is no JSON, unsigned: that the signature fails is what must be said.",
               seal(b"[" * 1000) | {"signatures": [good]}, schema=None)
    bobs = compact(sound(BOB))
    yield case("S11-not-named", "Signed by a known key that the statement does not name.", seal(bobs, ALICE))
    strangers = compact(changed(both(put("predicate.publisher.name", "mallory"), put("predicate.model.id", "mallory/m7b")), sound(MALLORY)))
    yield case("S12-stranger", "Signed by somebody whom nobody knows.", seal(strangers, MALLORY), "unknown_publisher")
    yield case("S12-nobody-known", "A sound release, and a verifier who knows nobody.", alices, "unknown_publisher", known=())


def _number(value: int) -> bytes:
    return value.to_bytes(32, "little")


def _weak(blob: bytes, point: bytes) -> Json:
    """A release by a key that is a weak point, with a signature nobody had to make; a naive verifier takes it."""
    line = key_line("ssh-ed25519", blob)
    sig = _number(1) + bytes(32)
    for sequence in range(64):
        payload = compact(changed(put("predicate.model.sequence", sequence), statement([fingerprint(blob)])))
        if _naively(point, sig, pae(payload)):
            break
    return seal(payload) | {"signatures": [{"keyid": fingerprint(blob), "sig": b64(sig), "publicKey": line}]}


def _naively(point: bytes, sig: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(point).verify(sig, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def large_cases() -> Iterator[Case]:
    """Documents too large to be kept: `generate.py --large FOLDER` writes them."""
    plain, payload = signed(sound()), compact(sound())
    padding = b" " * (MAX_DOCUMENT - len(plain))
    yield Case("large-exact", "An envelope of just 16 MiB.", plain + padding, ("J1",))
    yield Case("J1-envelope-too-large", "16 MiB and a byte.", plain + padding + b" ", ("J1",), error="manifest", field="")
    marks = b'{"x":[' + b",".join([b'""'] * 500_000) + b"],"
    yield Case("J5-envelope-marks", "A million strings and commas in a field that is ignored.",
               marks + plain[1:], ("J5",), error="manifest", field="")
    yield Case("J5-payload-marks", "The same in the payload.", to_bytes(seal(marks + payload[1:], ALICE)), ("J5",), error="manifest", field="")
    yield Case("large-10000-files", "As many files as there may be.", signed(_many(10_000)), ("M10",))
    yield Case("M10-10001-files", "One file too many.", signed(_many(10_001)), ("M10",), error="manifest", field="predicate.files", schema=True)
    envelope = seal(payload, ALICE)
    big = b64(bytes(512_001))
    yield Case("E7-root-too-large", "A root of more than 512,000 bytes.", to_bytes(envelope | {"roots": [big]}), ("E7",), error="manifest", field="roots[0]", schema=True)


def _many(count: int) -> Json:
    document = statement([ALICE.fingerprint], {"empty": b""})
    entry = document["predicate"]["files"][0]
    files = [entry | {"path": f"part-{number:05}"} for number in range(count)]
    document["predicate"]["files"] = files
    document["subject"] = subject_of(files)
    return document

