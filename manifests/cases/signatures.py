"""S: envelopes in good form whose signatures prove nothing."""

from __future__ import annotations

from collections.abc import Iterator

from cases.builders import (
    Json,
    b64,
    compact,
    fingerprint,
    key_line,
    pae,
    seal,
    signature,
    statement,
    to_bytes,
    wire,
)
from cases.case import ALICE, BOB, MALLORY, Case, both, changed, put, sound
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ORDER = 2**252 + 27742317777372353535851937790883648493
"""How many points Ed25519's group has."""


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
    yield case(
        "S2-base64-signed", "Signed is the payload's base64.", forged(ALICE.sign(pae(b64(payload).encode())))
    )
    yield case(
        "S2-other-type-signed",
        "Signed as another payload type.",
        forged(ALICE.sign(pae(payload, "application/json"))),
    )
    yield case(
        "S2-other-payload",
        "A later release's payload under an earlier one's signature.",
        alices | {"payload": b64(other)},
    )
    yield case(
        "S2-payload-respelt",
        "The same statement with a space in it.",
        alices | {"payload": b64(payload + b" ")},
    )
    yield case("S3-63-bytes", "A signature that lost its last byte.", forged(sig[:63]))
    yield case("S3-65-bytes", "A signature with a byte too many.", forged(sig + b"\0"))
    yield case("S3-zeros", "64 zero bytes.", forged(bytes(64)))
    yield case("S3-one-bit", "One bit of the signature is another.", forged(bytes([sig[0] ^ 1]) + sig[1:]))
    yield case(
        "S3-large-s",
        "The signature's S plus the group's order: the same equation, another signature.",
        forged(sig[:32] + higher),
    )
    yield case(
        "S4-sk-key",
        "A security device's key, whose signatures cover something else.",
        by(wire("sk-ssh-ed25519@openssh.com", ALICE.raw, "ssh:"), "sk-ssh-ed25519@openssh.com", sig),
        known=(fingerprint(wire("sk-ssh-ed25519@openssh.com", ALICE.raw, "ssh:")),),
    )
    yield case(
        "S4-type-differs-inside",
        "The line says ssh-ed25519 and the key inside says sk-.",
        by(wire("sk-ssh-ed25519@openssh.com", ALICE.raw), "ssh-ed25519", sig),
        known=(ALICE.fingerprint,),
    )
    yield case(
        "S4-key-with-more",
        "A key with four bytes behind it.",
        by(wire("ssh-ed25519", ALICE.raw) + bytes(4), "ssh-ed25519", sig),
        known=(ALICE.fingerprint,),
    )
    for name, about, point in (
        ("identity", "The point of order 1, for which anybody can sign anything.", _number(1)),
        ("order-2", "The point of order 2.", _number(2**255 - 20)),
        ("order-4", "A point of order 4.", _number(0)),
        (
            "order-8",
            "A point of order 8.",
            bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        ),
        ("not-canonical", "The identity, written as 2^255 - 18.", _number(2**255 - 18)),
        ("not-on-the-curve", "32 bytes that are no point.", _number(2)),
    ):
        blob = wire("ssh-ed25519", point)
        named = to_bytes(_weak(blob, point))
        yield Case(f"S5-{name}", about, named, ("S5",), (fingerprint(blob),), "bad_signature", None, False)
    yield case(
        "S7-keyid-of-the-known",
        "A stranger signs under the known key's keyid and brings no key.",
        base | {"signatures": [{"keyid": ALICE.fingerprint, "sig": b64(MALLORY.sign(pae(payload)))}]},
    )
    yield case(
        "S7-key-of-the-known",
        "A stranger signs and brings the known key.",
        base
        | {
            "signatures": [
                signature(MALLORY, payload) | {"publicKey": ALICE.line, "keyid": ALICE.fingerprint}
            ]
        },
    )
    yield case(
        "S10-all-64-bad",
        "64 signatures, of which none holds.",
        base | {"signatures": [good | {"sig": b64(bytes([n]) * 64)} for n in range(64)]},
    )
    yield case(
        "S10-unknown-kinds-alone",
        "Signatures of unknown kinds, and no other.",
        base | {"signatures": [{"sig": b64(b"x" * 72)}, {"sig": ""}]},
    )
    yield case(
        "S10-nothing-is-parsed",
        "A payload that is no JSON, unsigned: that the signature fails is what must be said.",
        seal(b"[" * 1000) | {"signatures": [good]},
        schema=None,
    )
    bobs = compact(sound(BOB))
    yield case("S11-not-named", "Signed by a known key that the statement does not name.", seal(bobs, ALICE))
    strangers = compact(
        changed(
            both(put("predicate.publisher.name", "mallory"), put("predicate.model.id", "mallory/m7b")),
            sound(MALLORY),
        )
    )
    yield case(
        "S12-stranger", "Signed by somebody whom nobody knows.", seal(strangers, MALLORY), "unknown_publisher"
    )
    yield case(
        "S12-nobody-known",
        "A sound release, and a verifier who knows nobody.",
        alices,
        "unknown_publisher",
        known=(),
    )


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
