"""The gate, one lie at a time: each must end in its own error, and the honest release must pass."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders_releases import FILES, PIECE, Release, knows, manifest, pin, release, signer
from weightshare.errors import (
    BadSignatureError,
    ChangedPublisherError,
    ManifestError,
    MetainfoError,
    PickleError,
    PublisherMismatchError,
    RevokedError,
    RollbackError,
    TreeMismatchError,
    TrustError,
    UnknownPublisherError,
    UnsafePathError,
    UnsignedError,
    UnsupportedError,
)
from weightshare.manifest.envelope import Envelope, Signature
from weightshare.manifest.metainfo import parse_info
from weightshare.manifest.model import PAYLOAD_TYPE, Publisher, Revocation
from weightshare.trust import gate
from weightshare.trust.gate import Policy, VerifiedManifest
from weightshare.trust.keys import FileSigner, PublicKey
from weightshare.trust.publishers import KnownPublishers, Pin
from weightshare.trust.wire import string
from weightshare.units import MAX_ENVELOPE

ACME, EVIL = signer(1), signer(66)
RELEASE = release(ACME)
KNOWN = knows(pin(ACME))


def _verified(made: Release = RELEASE, known: KnownPublishers = KNOWN) -> VerifiedManifest:
    return gate.verify(made.envelope, known)


def _signature(key: FileSigner, envelope: Envelope, **changed: Any) -> Signature:
    public = key.public_key
    signature = Signature(public.fingerprint, key.sign(envelope.pae()), PublicKey(public.raw).openssh)
    return replace(signature, **changed)


def _sealed(*signatures: Signature, payload: bytes | None = None) -> bytes:
    body = RELEASE.parsed.payload if payload is None else payload
    return Envelope(PAYLOAD_TYPE, body, signatures).to_bytes()


# ---- the whole way


@pytest.mark.parametrize("hybrid", [True, False])
def test_an_honest_release_passes(hybrid: bool) -> None:
    made = release(ACME, hybrid=hybrid)
    raw = made.raw_info()
    info = gate.check_info(raw, hashlib.sha256(raw).digest())
    verified = gate.verify(made.envelope, KNOWN, expect_publisher=ACME.public_key.fingerprint_bytes)
    gate.match(info, verified)
    assert gate.judge(verified, KNOWN, Policy()) == ()
    assert (verified.release, verified.publisher_name) == ("acme/m7b@1.0", "acme")
    assert verified.fingerprint == ACME.public_key.fingerprint
    assert verified.payload_sha256 == hashlib.sha256(made.parsed.payload).digest()
    assert verified.envelope == made.envelope


def test_a_pin_by_fingerprint_alone_is_enough() -> None:
    known = knows(Pin("acme", ACME.public_key.fingerprint))
    assert _verified(known=known).signer == ACME.public_key


def test_a_pinned_key_verifies_a_signature_that_brings_none() -> None:
    for keyid in (ACME.public_key.fingerprint, "", "anything"):
        envelope = _sealed(_signature(ACME, RELEASE.parsed, public_key="", keyid=keyid))
        assert gate.verify(envelope, KNOWN).signer == ACME.public_key
    with pytest.raises(BadSignatureError):
        gate.verify(envelope, knows(Pin("acme", ACME.public_key.fingerprint)))


# ---- the type


def test_nobody_else_makes_a_verified_manifest() -> None:
    verified = _verified()
    values = {field.name: getattr(verified, field.name) for field in fields(verified)}
    for seal in ({}, {"seal": object()}, {"seal": None}, {"seal": True}):
        with pytest.raises(TypeError):
            VerifiedManifest(**values, **seal)
    with pytest.raises((TypeError, ValueError)):
        replace(verified, manifest=manifest(EVIL))  # type: ignore[call-arg]
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="copied or pickled"):
            attempt(verified)
    with pytest.raises(AttributeError):
        verified.manifest = manifest(EVIL)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        object.__new__(VerifiedManifest).manifest  # noqa: B018


# ---- who signed


@given(st.data())
def test_no_changed_byte_of_payload_or_signature_passes(data: st.DataObject) -> None:
    parsed = RELEASE.parsed
    part = data.draw(st.sampled_from(["payload", "sig", "key"]))
    signature = parsed.signatures[0]
    wire = base64.b64decode(signature.public_key.split()[1])
    body = bytearray({"payload": parsed.payload, "sig": signature.sig, "key": wire}[part])
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    if part == "payload":
        envelope = _sealed(signature, payload=bytes(body))
    elif part == "sig":
        envelope = _sealed(replace(signature, sig=bytes(body)))
    else:
        envelope = _sealed(replace(signature, public_key=f"ssh-ed25519 {base64.b64encode(body).decode()}"))
        # The carrier is damaged, the signature is not: it holds by the pinned key, and by no other.
        assert gate.verify(envelope, KNOWN).signer == ACME.public_key
        envelope = _sealed(
            replace(signature, public_key=f"ssh-ed25519 {base64.b64encode(body).decode()}", sig=bytes(64))
        )
    with pytest.raises(BadSignatureError):
        gate.verify(envelope, KNOWN)


def test_an_envelope_without_signatures_is_unsigned() -> None:
    with pytest.raises(UnsignedError):
        gate.verify(_sealed(), KNOWN)


def test_a_keyid_proves_nothing() -> None:
    claimed = _signature(EVIL, RELEASE.parsed, keyid=ACME.public_key.fingerprint, public_key="")
    with pytest.raises(BadSignatureError):
        gate.verify(_sealed(claimed), KNOWN)
    carried = _signature(EVIL, RELEASE.parsed, keyid=ACME.public_key.fingerprint)
    with pytest.raises(BadSignatureError, match="names other keys"):
        gate.verify(_sealed(carried), knows(pin(EVIL, "evil")))


@pytest.mark.parametrize(
    ("kind", "said", "reason"),
    [
        ("sk-ssh-ed25519@openssh.com", "", "security device"),
        ("sk-ssh-ed25519@openssh.com", "ssh-ed25519", "security device"),
        ("ssh-rsa", "", "RSA"),
        ("ecdsa-sha2-nistp256", "ssh-ed25519", "ECDSA"),
    ],
)
def test_a_carried_key_of_another_type_is_named(kind: str, said: str, reason: str) -> None:
    wire = string(kind.encode()) + string(EVIL.public_key.raw)
    line = f"{said or kind} {base64.b64encode(wire).decode()}"
    envelope = _sealed(_signature(EVIL, RELEASE.parsed, public_key=line))
    with pytest.raises(BadSignatureError, match=reason):
        gate.verify(envelope, KNOWN)


def test_a_carried_key_proves_nothing() -> None:
    # The pinned key's line beside a signature by another key.
    claimed = _signature(EVIL, RELEASE.parsed, public_key=ACME.public_key.openssh)
    with pytest.raises(BadSignatureError):
        gate.verify(_sealed(claimed), KNOWN)


def test_signatures_over_other_bytes_do_not_count() -> None:
    payload = RELEASE.parsed.payload
    other_type = replace(RELEASE.parsed, payload_type="application/x")
    for message in (payload, hashlib.sha256(payload).digest(), other_type.pae()):
        with pytest.raises(BadSignatureError):
            gate.verify(_sealed(_signature(ACME, RELEASE.parsed, sig=ACME.sign(message))), KNOWN)


def test_the_identity_point_signs_nothing() -> None:
    identity = (1).to_bytes(32, "little")
    prefix = base64.b64decode(ACME.public_key.openssh.split()[1])[:-32]
    line = f"ssh-ed25519 {base64.b64encode(prefix + identity).decode()}"
    with pytest.raises(BadSignatureError):
        gate.examine(_sealed(Signature("", identity + bytes(32), line)), KNOWN)


def test_a_key_that_signs_twice_counts_once() -> None:
    from weightshare.trust.signatures import sound_keys

    ours, theirs = _signature(ACME, RELEASE.parsed), _signature(EVIL, RELEASE.parsed)
    commented = replace(ours, public_key=f"{ours.public_key} another comment", keyid="x")
    envelope = Envelope.parse(_sealed(ours, commented, theirs, ours))
    assert sound_keys(envelope, KNOWN) == [ACME.public_key, EVIL.public_key]


def test_other_signatures_beside_a_sound_one_do_no_harm() -> None:
    ours = _signature(ACME, RELEASE.parsed)
    junk = [
        Signature("", b"", ""),
        Signature("x", b"s" * 3309, "ml-dsa-65 AAAA"),
        Signature(ACME.public_key.fingerprint, b"s" * 64, "ssh-ed25519 AAAA"),
        _signature(EVIL, RELEASE.parsed),
    ]
    assert gate.verify(_sealed(*junk, ours), KNOWN).signer == ACME.public_key


def test_an_unknown_key_is_shown_with_what_is_needed_to_pin_it() -> None:
    with pytest.raises(UnknownPublisherError) as caught:
        gate.verify(RELEASE.envelope, KnownPublishers())
    assert caught.value.exit_code == 3
    assert caught.value.facts["fingerprint"] == ACME.public_key.fingerprint
    assert PublicKey.parse(str(caught.value.facts["public_key"])) == ACME.public_key
    assert caught.value.facts["name"] == "acme"


def test_a_revoked_key_is_refused_even_if_pinned_as_well() -> None:
    for known in (knows(pin(ACME, revoked=True)), knows(pin(ACME), pin(ACME, "", revoked=True))):
        with pytest.raises(RevokedError):
            gate.verify(RELEASE.envelope, known)


def test_a_signer_that_the_statement_does_not_name_is_refused() -> None:
    other = manifest(signer(2))
    unsigned = Envelope(PAYLOAD_TYPE, other.to_payload(), ())
    envelope = replace(unsigned, signatures=(_signature(ACME, unsigned),)).to_bytes()
    with pytest.raises(BadSignatureError, match="names other keys"):
        gate.verify(envelope, KNOWN)


# ---- names


@pytest.mark.parametrize(
    ("publisher", "model"),
    [("acme", "acme/m7b"), ("acme", "evil/m7b"), ("evil", "acme/m7b"), ("ACME", "x/y"), ("evil", "AcMe/m7b")],
)
@pytest.mark.parametrize("pinned", [False, True], ids=["unknown key", "key pinned as evil"])
def test_a_pinned_name_signed_by_another_key_is_changed(publisher: str, model: str, pinned: bool) -> None:
    made = release(EVIL, publisher=publisher, model=model)
    known = knows(pin(ACME), *([pin(EVIL, "evil")] if pinned else []))
    with pytest.raises(ChangedPublisherError) as caught:
        gate.verify(made.envelope, known)
    assert caught.value.facts["pinned"] == ACME.public_key.fingerprint
    assert caught.value.facts["fingerprint"] == EVIL.public_key.fingerprint


def test_a_revoked_pin_still_holds_its_name() -> None:
    with pytest.raises(ChangedPublisherError):
        gate.verify(release(EVIL).envelope, knows(pin(ACME, revoked=True)))
    both = knows(pin(ACME, revoked=True), pin(EVIL))
    assert gate.verify(release(EVIL).envelope, both).publisher_name == "acme"


def test_a_known_publisher_may_publish_under_a_free_name_with_a_warning() -> None:
    made = release(ACME, publisher="acme-labs", model="acme-labs/x")
    verified = gate.verify(made.envelope, KNOWN)
    assert verified.publisher_name == "acme"
    assert "acme-labs" in verified.warnings[0]
    assert gate.judge(verified, KNOWN, Policy()) == verified.warnings


def test_a_pin_covers_its_models_only() -> None:
    known = knows(pin(ACME, models=("acme/x*", "acme/m?b")))
    assert gate.verify(RELEASE.envelope, known).release == "acme/m7b@1.0"
    with pytest.raises(TrustError, match="not for acme/m13b") as caught:
        gate.verify(release(ACME, model="acme/m13b").envelope, known)
    assert caught.value.exit_code == 3


# ---- the magnet's publisher


def test_the_key_the_magnet_names_must_be_the_signer() -> None:
    with pytest.raises(PublisherMismatchError) as caught:
        gate.verify(RELEASE.envelope, KNOWN, expect_publisher=EVIL.public_key.fingerprint_bytes)
    assert caught.value.facts["expected"] == EVIL.public_key.fingerprint
    with pytest.raises(PublisherMismatchError):
        gate.verify(RELEASE.envelope, KnownPublishers(), expect_publisher=bytes(32))


def test_the_magnet_gives_no_trust() -> None:
    with pytest.raises(UnknownPublisherError):
        gate.verify(RELEASE.envelope, KnownPublishers(), expect_publisher=ACME.public_key.fingerprint_bytes)


def test_a_second_signer_named_by_the_magnet_must_be_known_too() -> None:
    both = replace(
        manifest(ACME),
        publisher=Publisher("acme", (ACME.public_key.fingerprint, EVIL.public_key.fingerprint)),
    )
    unsigned = Envelope(PAYLOAD_TYPE, both.to_payload(), ())
    envelope = replace(
        unsigned, signatures=(_signature(EVIL, unsigned), _signature(ACME, unsigned))
    ).to_bytes()
    assert gate.verify(envelope, KNOWN).signer == ACME.public_key
    expected = EVIL.public_key.fingerprint_bytes
    with pytest.raises(ChangedPublisherError):
        gate.verify(envelope, KNOWN, expect_publisher=expected)


# ---- looking without trusting


def test_examine_shows_an_unknown_publishers_release_as_untrusted() -> None:
    seen = gate.examine(RELEASE.envelope, KnownPublishers())
    assert (seen.trusted, seen.publisher_name, seen.signer) == (False, None, ACME.public_key)
    assert isinstance(seen.problem, UnknownPublisherError)
    assert seen.manifest == RELEASE.manifest
    trusted = gate.examine(RELEASE.envelope, KNOWN)
    assert (trusted.trusted, trusted.problem, trusted.publisher_name) == (True, None, "acme")
    assert (trusted.release, trusted.fingerprint) == ("acme/m7b@1.0", ACME.public_key.fingerprint)


def test_examine_still_needs_a_sound_signature() -> None:
    with pytest.raises(BadSignatureError):
        gate.examine(_sealed(_signature(ACME, RELEASE.parsed, sig=bytes(64))), KNOWN)


def test_nothing_is_parsed_before_a_signature_holds() -> None:
    bomb = b"[" * 100_000
    with pytest.raises(BadSignatureError):
        gate.verify(_sealed(_signature(ACME, RELEASE.parsed), payload=bomb), KNOWN)
    unsigned = Envelope(PAYLOAD_TYPE, bomb, ())
    with pytest.raises(ManifestError):
        gate.verify(replace(unsigned, signatures=(_signature(ACME, unsigned),)).to_bytes(), KNOWN)


@pytest.mark.parametrize(
    "predicate_type", ["https://model_signing/signature/v1.0", "https://in-toto.io/attestation/svr/v0.1"]
)
def test_a_signed_statement_of_another_kind_is_no_manifest(predicate_type: str) -> None:
    document = json.loads(RELEASE.parsed.payload) | {"predicateType": predicate_type}
    unsigned = Envelope(PAYLOAD_TYPE, json.dumps(document).encode(), ())
    with pytest.raises(UnsupportedError):
        gate.verify(replace(unsigned, signatures=(_signature(ACME, unsigned),)).to_bytes(), KNOWN)


# ---- the info dictionary


def test_another_info_dictionary_than_the_magnets_is_refused_unread() -> None:
    with pytest.raises(MetainfoError, match="hash"):
        gate.check_info(b"d" * 100_000, bytes(32))


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"weightshare.json": None}, UnsignedError),
        ({"weightshare.json": None, "sub/weightshare.json": b"x"}, UnsignedError),
        ({"weightshare.json": b""}, MetainfoError),
        ({"weightshare.json": b"x" * (MAX_ENVELOPE + 1)}, MetainfoError),
    ],
    ids=["missing", "elsewhere", "empty", "too large"],
)
def test_the_manifest_lies_at_the_root_within_its_limit(
    changed: Mapping[str, bytes | None], error: type[Exception]
) -> None:
    raw = RELEASE.raw_info(changed)
    with pytest.raises(error):
        gate.check_info(raw, hashlib.sha256(raw).digest())


def test_an_unsafe_tree_is_refused() -> None:
    raw = RELEASE.raw_info().replace(b"3:sub", b"3:s\x07b")
    with pytest.raises(UnsafePathError):
        gate.check_info(raw, hashlib.sha256(raw).digest())


# ---- tree and manifest

LIES: dict[str, tuple[dict[str, Any], dict[str, bytes | None], str]] = {
    "file added": ({}, {"extra.py": b"x"}, "in the torrent, not signed"),
    "file dropped": ({}, {"empty": None}, "signed, not in the torrent"),
    "file renamed": ({}, {"config.json": None, "Config.json": b"{}"}, "not signed"),
    "longer": ({}, {"config.json": b"{} "}, "3 bytes, signed are 2"),
    "other bytes": ({}, {"config.json": b"[]"}, "another pieces root"),
    "emptied": ({}, {"config.json": b""}, "0 bytes, signed are 2"),
    "filled": ({}, {"empty": b"x"}, "1 bytes, signed are 0"),
    "moved": ({}, {"config.json": None, "sub/config.json": b"{}"}, "not signed"),
    "name": ({"name": "m8b"}, {}, "name is 'm8b', signed is 'm7b'"),
    "piece length": ({"piece_length": 2 * PIECE}, {}, "piece length is 65536, signed is 32768"),
    "hybrid": ({"hybrid": False}, {}, "hybrid is False, signed is True"),
}


@pytest.mark.parametrize(("facts", "changed", "problem"), LIES.values(), ids=LIES.keys())
def test_a_torrent_that_is_not_what_was_signed_is_refused(
    facts: dict[str, Any], changed: dict[str, bytes | None], problem: str
) -> None:
    raw = RELEASE.raw_info(changed, **facts)
    info = gate.check_info(raw, hashlib.sha256(raw).digest())
    for statement in (_verified(), gate.examine(RELEASE.envelope, KnownPublishers())):
        with pytest.raises(TreeMismatchError, match=problem.replace("'", ".")) as caught:
            gate.match(info, statement)
        assert caught.value.exit_code == 4


def test_a_manifest_of_another_release_does_not_match() -> None:
    other = release(ACME, files=FILES | {"config.json": b"[]"})
    info = parse_info(other.raw_info())
    gate.match(info, _verified(other))
    with pytest.raises(TreeMismatchError):
        gate.match(info, _verified())


def test_up_to_ten_differences_are_named() -> None:
    info = parse_info(RELEASE.raw_info({f"extra-{n:02}": b"x" for n in range(14)}))
    with pytest.raises(TreeMismatchError) as caught:
        gate.match(info, _verified())
    assert caught.value.message.count("not signed") == 10
    assert "and 4 more" in caught.value.message
    assert caught.value.facts["path"] == "extra-00"


@given(st.data())
def test_any_one_change_to_the_files_is_noticed(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(FILES)))
    old = FILES[path]
    new = data.draw(st.none() | st.binary(max_size=100) | st.just(old + b"\0") | st.just(old[:-1]))
    if new == old:
        return
    with pytest.raises(TreeMismatchError) as caught:
        gate.match(parse_info(RELEASE.raw_info({path: new})), _verified())
    assert caught.value.facts["path"] == path


# ---- policy


def _judged(made: Release, known: KnownPublishers = KNOWN, **policy: Any) -> tuple[str, ...]:
    return gate.judge(gate.verify(made.envelope, known), known, Policy(**policy))


def test_pickles_are_refused_by_name_unless_allowed() -> None:
    made = release(ACME, files=FILES | {"pytorch_model.bin": b"x", "sub/a.PTH": b"y"})
    with pytest.raises(PickleError) as caught:
        _judged(made)
    assert caught.value.facts["paths"] == ("pytorch_model.bin", "sub/a.PTH")
    assert caught.value.exit_code == 8
    assert _judged(made, allow_pickle=True) == ()


def test_code_is_carried_with_a_warning() -> None:
    (warning,) = _judged(release(ACME, files=FILES | {"modeling_acme.py": b"import os"}))
    assert "never runs" in warning
    assert "modeling_acme.py" in warning


def test_an_older_release_is_a_warning_for_a_magnet_and_refused_as_the_latest() -> None:
    known = knows(pin(ACME, highest={"acme/m7b": 6, "acme/other": 99}))
    (warning,) = _judged(RELEASE, known)
    assert "older release" in warning
    with pytest.raises(RollbackError):
        _judged(RELEASE, known, latest=True)
    same = knows(pin(ACME, highest={"acme/m7b": 5}))
    assert _judged(RELEASE, same, latest=True) == ()


def _revoking(key: FileSigner, digest: bytes, name: str = "acme") -> VerifiedManifest:
    base = manifest(key, publisher=name, model=f"{name}/m7b", sequence=6)
    made = Release(replace(base, revokes=(Revocation(digest, "wrong tokenizer"),)), key, FILES)
    return gate.verify(made.envelope, knows(pin(key, name)))


def test_what_its_publisher_revoked_is_refused() -> None:
    digest = _verified().payload_sha256
    with pytest.raises(RevokedError, match="wrong tokenizer"):
        _judged(RELEASE, seen=(_revoking(ACME, bytes(32)), _revoking(ACME, digest)))


def test_nobody_revokes_anothers_release() -> None:
    digest = _verified().payload_sha256
    assert _judged(RELEASE, seen=(_revoking(EVIL, digest, "evil"), _revoking(ACME, bytes(32)))) == ()


def test_a_key_revoked_since_is_refused() -> None:
    verified = _verified()
    with pytest.raises(RevokedError):
        gate.judge(verified, KNOWN.add(pin(ACME, revoked=True)), Policy())
