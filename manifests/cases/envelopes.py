"""J and E: what is no JSON that two programs must read alike, and what is no envelope."""

from __future__ import annotations

from collections.abc import Iterator

from cases.builders import (
    PAYLOAD_TYPE,
    Json,
    b64,
    compact,
    pae,
    seal,
    to_bytes,
)
from cases.case import ALICE, Case, signed, sound


def json_cases() -> Iterator[Case]:
    """J: what is no JSON that two programs must read alike; in the envelope, and in the signed payload."""
    plain, payload = signed(sound()), compact(sound())
    twice = b'{"payloadType":"text/plain",'
    for name, about, data, schema in (
        ("J2-byte-order-mark", "A byte order mark in front.", b"\xef\xbb\xbf" + plain, None),
        ("J2-utf-16", "UTF-16.", b"\xff\xfe" + plain.decode().encode("utf-16-le"), None),
        (
            "J2-bad-utf-8",
            "A byte that is no UTF-8, in a field that is ignored.",
            plain.replace(b"{", b'{"x":"\xff",', 1),
            None,
        ),
        (
            "J2-utf-8-surrogate",
            "Half a character in UTF-8's form.",
            plain.replace(b"{", b'{"x":"\xed\xa0\x80",', 1),
            None,
        ),
        ("J3-empty", "No bytes at all.", b"", None),
        ("J3-truncated", "The last brace is missing.", plain.rstrip()[:-1], None),
        ("J3-two-values", "A second value behind the first.", plain + b"{}", None),
        ("J3-trailing-comma", "A comma before the last brace.", plain.rstrip()[:-1] + b",}", None),
        ("J3-comment", "A comment.", b"/* x */" + plain, None),
        ("J3-raw-control", "A line feed inside a string.", plain.replace(b"{", b'{"x":"a\nb",', 1), None),
        ("J3-nan", "NaN, which is no JSON.", plain.replace(b"{", b'{"x":NaN,', 1), None),
        (
            "J4-deep-envelope",
            "33 levels in a field that is ignored.",
            plain.replace(b"{", b'{"x":' + b"[" * 32 + b"]" * 32 + b",", 1),
            False,
        ),
        (
            "J6-duplicate-envelope-key",
            "Two payload types; the last one would be right.",
            twice + plain[1:],
            False,
        ),
        (
            "J6-duplicate-escaped-key",
            "The same key twice, once with an escape.",
            plain.replace(b"{", b'{"p\\u0061yload":"",', 1),
            False,
        ),
        (
            "J7-float-in-envelope",
            "A fraction in a field that is ignored.",
            plain.replace(b"{", b'{"x":1.5,', 1),
            False,
        ),
        ("J7-exponent", "An integer written with an exponent.", plain.replace(b"{", b'{"x":1e3,', 1), False),
        (
            "J8-lone-surrogate",
            "An escape for half a character.",
            plain.replace(b"{", b'{"x":"\\ud800",', 1),
            False,
        ),
    ):
        yield Case(name, about, data, (name[:2],), error="manifest", field="", schema=schema)
    sequence = b'"sequence":5'
    for name, about, data, schema in (
        ("J2-payload-not-utf-8", "The payload is not UTF-8.", payload.replace(b"a model", b"\xe9"), None),
        ("J3-payload-empty", "The payload is empty.", b"", None),
        ("J3-payload-not-json", "The payload is text.", b"hello", None),
        ("J3-payload-two-values", "A second statement behind the first.", payload + payload, None),
        (
            "J4-deep-payload",
            "33 levels in `ext`.",
            compact(sound())[:-1] + b',"x":' + b"[" * 32 + b"]" * 32 + b"}",
            False,
        ),
        (
            "J6-duplicate-sequence",
            "Two sequences in one model.",
            payload.replace(sequence, sequence + b',"sequence":9'),
            False,
        ),
        ("J7-float-sequence", "A sequence of 5.0.", payload.replace(sequence, b'"sequence":5.0'), False),
        ("J7-exponent-sequence", "A sequence of 5e0.", payload.replace(sequence, b'"sequence":5e0'), False),
        (
            "J7-integer-past-2-53",
            "An integer that some parsers round.",
            payload.replace(sequence, b'"later":9007199254740992,' + sequence),
            False,
        ),
        (
            "J7-integer-below-2-53",
            "A negative one.",
            payload.replace(sequence, b'"later":-9007199254740992,' + sequence),
            False,
        ),
        (
            "J7-hundred-digits",
            "An integer of a hundred digits.",
            payload.replace(sequence, b'"later":' + b"9" * 100 + b"," + sequence),
            False,
        ),
        (
            "J8-payload-lone-surrogate",
            "An escape for half a character, in a key.",
            payload.replace(sequence, b'"\\udc00":1,' + sequence),
            False,
        ),
    ):
        yield Case(
            name, about, to_bytes(seal(data, ALICE)), (name[:2],), error="manifest", field="", schema=schema
        )


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
    yield case(
        "E2-other-type",
        "Somebody else's payload type, signed as such.",
        base
        | {
            "payloadType": "application/json",
            "signatures": [entry | {"sig": b64(ALICE.sign(pae(compact(sound()), "application/json")))}],
        },
        "payloadType",
        error="unsupported",
    )
    yield case(
        "E2-type-in-capitals",
        "The type in other letters.",
        base | {"payloadType": PAYLOAD_TYPE.upper()},
        "payloadType",
        error="unsupported",
    )
    yield case("E3-no-payload", "No payload.", without("payload"), "payload")
    yield case(
        "E3-payload-object",
        "The statement itself in place of its base64.",
        base | {"payload": sound()},
        "payload",
    )
    yield case(
        "E3-base64url",
        "Base64 in the alphabet for URLs.",
        base | {"payload": payload[:8] + "-_-_" + payload[12:]},
        "payload",
    )
    yield case(
        "E3-unpadded", "Base64 without its padding.", base | {"payload": payload.rstrip("=")}, "payload"
    )
    yield case(
        "E3-line-break",
        "Base64 with a line break.",
        base | {"payload": payload[:64] + "\n" + payload[64:]},
        "payload",
    )
    yield case(
        "E3-stray-bits",
        "Base64 that decodes to the same bytes and is spelt another way.",
        base | {"payload": stray},
        "payload",
    )
    yield case(
        "E3-junk-after-padding",
        "Base64 with more of it behind the padding.",
        base | {"payload": payload + "AAAA"},
        "payload",
    )
    yield case("E4-no-signatures", "No list of signatures.", without("signatures"), "signatures")
    yield case(
        "E4-signatures-object",
        "One signature in place of a list.",
        base | {"signatures": entry},
        "signatures",
    )
    yield case(
        "E4-65-signatures",
        "65 signatures, all of which hold.",
        base | {"signatures": [entry] * 65},
        "signatures",
    )
    yield case(
        "E4-signature-text",
        "A signature that is no object.",
        base | {"signatures": [entry["sig"]]},
        "signatures[0]",
    )
    yield case(
        "E5-no-sig",
        "An entry without a signature.",
        base | {"signatures": [entry, {"keyid": "x"}]},
        "signatures[1].sig",
    )
    yield case(
        "E5-sig-not-base64",
        "A signature with colons between its bytes.",
        with_entry(sig=sig_hex),
        "signatures[0].sig",
    )
    yield case(
        "E5-sig-too-long",
        "A signature of 16,385 bytes beside the right one.",
        base | {"signatures": [{"sig": b64(bytes(16_385))}, entry]},
        "signatures[0].sig",
    )
    yield case("E6-keyid-number", "A keyid that is a number.", with_entry(keyid=1), "signatures[0].keyid")
    yield case("E6-keyid-null", "A keyid of null.", with_entry(keyid=None), "signatures[0].keyid")
    yield case(
        "E6-public-key-list",
        "A key that is a list.",
        with_entry(publicKey=[ALICE.line]),
        "signatures[0].publicKey",
    )
    yield case(
        "E6-public-key-too-long",
        "A key with a comment of 16,384 characters.",
        with_entry(publicKey=ALICE.line + " " + "x" * 16_384),
        "signatures[0].publicKey",
    )
    yield case("E7-roots-object", "Roots that are no list.", base | {"roots": {}}, "roots")
    yield case("E7-roots-null", "Roots of null.", base | {"roots": None}, "roots")
    yield case(
        "E7-root-not-base64", "A root as JSON instead of base64.", base | {"roots": ["{}"]}, "roots[0]"
    )
    yield case("E7-257-roots", "257 roots.", base | {"roots": ["e30="] * 257}, "roots")
