"""S6 and S13: ML-DSA-44 beside Ed25519."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from cases.builders import Json, Key, MlDsaKey, b64, compact, pae, seal, signature, statement, to_bytes
from cases.case import Case, changed, put

NOVA, SECOND, OTHER_SECOND = Key(3), MlDsaKey(21), MlDsaKey(22)


def hybrid_statement() -> Json:
    """A statement that names an Ed25519 and an ML-DSA-44 key."""
    document = statement([NOVA.fingerprint, SECOND.fingerprint])
    document["predicate"]["publisher"]["name"] = "nova"
    document["predicate"]["model"]["id"] = "nova/m7b"
    return document


def hybrid_example() -> bytes:
    """A release with both kinds of signature."""
    payload = compact(hybrid_statement())
    return to_bytes(_with_second(payload, SECOND, SECOND.sign(pae(payload))))


def hybrid_cases() -> Iterator[Case]:
    """S6 and S13: ML-DSA-44 beside Ed25519."""
    document = hybrid_statement()
    payload = compact(document)
    sig = SECOND.sign(pae(payload))
    both_of_them = _with_second(payload, SECOND, sig)
    facts = {
        "canonical": True,
        "release": "nova/m7b@1.0",
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
        "signer": NOVA.fingerprint,
    }
    known, second = (NOVA.line,), {"post_quantum": SECOND.fingerprint}
    yield Case(
        "hybrid",
        "Both kinds of signature, and a verifier who demands both.",
        to_bytes(both_of_them),
        ("S6", "S13"),
        known,
        more=facts | second,
        called="nova",
    )
    yield Case(
        "hybrid-known-by-one",
        "A verifier who knows the Ed25519 key alone.",
        to_bytes(both_of_them),
        ("S9",),
        known,
        more=facts,
        called="nova",
    )

    def bad(name: str, about: str, envelope: Json) -> Case:
        return Case(
            name,
            about,
            to_bytes(envelope),
            (name.partition("-")[0],),
            known,
            "stripped_signature",
            None,
            False,
            second,
            "nova",
        )

    unnamed = compact(changed(put("predicate.publisher.keys", [NOVA.fingerprint]), document))
    cut = b64(base64.b64decode(SECOND.line.split()[1])[:-1])
    yield bad(
        "S6-context",
        "Signed with a context, where none may be.",
        _with_second(payload, SECOND, SECOND.sign(pae(payload), b"weightshare")),
    )
    yield bad(
        "S6-payload-alone",
        "Signed is the payload without DSSE's frame.",
        _with_second(payload, SECOND, SECOND.sign(payload)),
    )
    yield bad(
        "S6-one-bit",
        "One bit of the signature is another.",
        _with_second(payload, SECOND, bytes([sig[0] ^ 1]) + sig[1:]),
    )
    yield bad(
        "S6-2419-bytes", "A signature that lost its last byte.", _with_second(payload, SECOND, sig[:-1])
    )
    short = _with_second(payload, SECOND, sig)
    short["signatures"][1]["publicKey"] = f"ml-dsa-44 {cut}"
    yield bad("S6-key-cut-short", "A key of 1,311 bytes.", short)
    without = _with_second(payload, SECOND, sig)
    del without["signatures"][1]["publicKey"]
    yield bad(
        "S6-key-not-brought", "A signature without its key; the verifier has only the fingerprint.", without
    )
    yield bad("S13-stripped", "The second signature was taken away.", seal(payload, NOVA))
    yield bad(
        "S13-other-key",
        "A second signature by another key.",
        _with_second(payload, OTHER_SECOND, OTHER_SECOND.sign(pae(payload))),
    )
    yield bad(
        "S13-not-named",
        "The statement does not name the second key.",
        _with_second(unnamed, SECOND, SECOND.sign(pae(unnamed))),
    )


def _with_second(payload: bytes, key: MlDsaKey, sig: bytes) -> Json:
    entry = {"keyid": key.fingerprint, "sig": b64(sig), "publicKey": key.line}
    return seal(payload) | {"signatures": [signature(NOVA, payload), entry]}
