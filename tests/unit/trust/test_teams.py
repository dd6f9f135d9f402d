"""Releases by several keys: how many must sign, who may after a rotation, and what stays good."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders_releases import knows, pin, release, signer
from tests.builders_teams import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    MALLORY,
    first,
    root,
    rotated,
    signed,
    team,
    team_manifest,
    team_pin,
)
from weightshare.errors import (
    BadSignatureError,
    ChangedPublisherError,
    PublisherMismatchError,
    RetiredKeyError,
    RevokedError,
    RollbackError,
    StoreError,
    TeamRootError,
    ThresholdError,
    UnknownPublisherError,
)
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import Publisher
from weightshare.trust import gate, roots
from weightshare.trust.keys import parse_fingerprint
from weightshare.trust.publishers import KnownPublishers, Pin
from weightshare.trust.teams import read_root

ONE = first()
ACME = team(ONE)
KNOWN = knows(team_pin(ACME))
RELEASE = team_manifest(ONE)


def _verify(envelope: Envelope, known: KnownPublishers = KNOWN, **more: Any) -> gate.VerifiedManifest:
    return gate.verify(envelope.to_bytes(), known, **more)


# ---- the threshold


def test_two_of_three_are_the_team() -> None:
    verified = _verify(signed(RELEASE, [ONE], BOB, CAROL))
    assert verified.fingerprint == ACME.fingerprint
    assert verified.publisher_name == "acme"
    assert verified.warnings == ()


def test_one_of_three_is_not() -> None:
    with pytest.raises(ThresholdError, match="1 of the keys of acme signed it, and 2 must") as caught:
        _verify(signed(RELEASE, [ONE], ALICE))
    assert caught.value.facts["threshold"] == 2


def test_the_same_key_twice_counts_once() -> None:
    envelope = signed(RELEASE, [ONE], ALICE)
    twice = replace(envelope, signatures=envelope.signatures * 2)
    with pytest.raises(ThresholdError):
        _verify(twice)


def test_signatures_without_keys_and_with_wrong_ids_are_those_of_the_keys_that_made_them() -> None:
    envelope = signed(RELEASE, [ONE], ALICE, BOB)
    bare = tuple(replace(entry, keyid="?", public_key="") for entry in envelope.signatures)
    for signatures in (bare, bare[::-1]):
        assert _verify(replace(envelope, signatures=signatures)).team == ACME
    with pytest.raises(ThresholdError):
        _verify(replace(envelope, signatures=(bare[0], bare[0])))


def test_a_quorum_counts_each_key_once() -> None:
    quorum = ONE.releases
    assert quorum.count((ALICE.public_key, ALICE.public_key, MALLORY.public_key)) == 1
    assert not quorum.met_by((ALICE.public_key, ALICE.public_key))


def test_a_member_and_a_stranger_are_not_two_members() -> None:
    with pytest.raises(ThresholdError):
        _verify(signed(RELEASE, [ONE], ALICE, MALLORY))


def test_a_key_that_the_user_revoked_does_not_count() -> None:
    revoked = pin(ALICE, "", revoked=True)
    with pytest.raises(ThresholdError):
        _verify(signed(RELEASE, [ONE], ALICE, BOB), knows(team_pin(ACME), revoked))


def test_strangers_are_not_the_team() -> None:
    with pytest.raises(ChangedPublisherError, match="You know acme as the team SHA256:"):
        _verify(signed(RELEASE, [ONE], MALLORY, signer(67)))


def test_a_single_key_does_not_speak_for_a_team_s_name() -> None:
    with pytest.raises(ChangedPublisherError):
        gate.verify(release(MALLORY).envelope, KNOWN)
    with pytest.raises(ThresholdError):
        gate.verify(release(ALICE).envelope, KNOWN)


def test_a_team_does_not_speak_for_the_name_of_another_publisher() -> None:
    made = team_manifest(ONE, model="nova/m7b")
    with pytest.raises(ChangedPublisherError, match="You know nova by"):
        _verify(signed(made, [ONE], ALICE, BOB), knows(team_pin(ACME), pin(signer(9), "nova")))


# ---- the first meeting


def test_an_unknown_team_is_named_by_its_identity() -> None:
    with pytest.raises(UnknownPublisherError, match="2 of 3 keys must sign") as caught:
        _verify(signed(RELEASE, [ONE], ALICE, BOB), knows())
    assert caught.value.facts["fingerprint"] == ACME.fingerprint


def test_a_pin_by_the_identity_alone_is_enough() -> None:
    verified = _verify(signed(RELEASE, [ONE], ALICE, BOB), knows(Pin("acme", ACME.fingerprint)))
    assert verified.team == ACME


def test_another_team_of_the_same_name_is_refused() -> None:
    other = root((MALLORY, signer(67)), 1, (MALLORY,))
    made = team_manifest(other)
    for known in (KNOWN, knows(Pin("acme", ACME.fingerprint)), knows(pin(signer(5)))):
        with pytest.raises(ChangedPublisherError):
            _verify(signed(made, [other], MALLORY), known)


def test_a_team_s_release_without_its_roots_is_refused() -> None:
    with pytest.raises(TeamRootError, match="brings no root"):
        _verify(signed(RELEASE, [], ALICE, BOB), knows())
    assert _verify(signed(RELEASE, [], ALICE, BOB)).team == ACME


def test_roots_that_lack_the_one_it_was_signed_under() -> None:
    two = rotated()
    with pytest.raises(TeamRootError, match="signed under root 2 of acme, and it brings no root past 1"):
        _verify(signed(team_manifest(two), [ONE], ALICE, CAROL))


def test_the_magnet_may_name_the_team_and_nobody_else() -> None:
    envelope = signed(RELEASE, [ONE], ALICE, BOB)
    identity = base64.b64decode(parse_fingerprint(ACME.fingerprint).removeprefix("SHA256:") + "=")
    assert _verify(envelope, expect_publisher=identity).team == ACME
    with pytest.raises(PublisherMismatchError):
        _verify(envelope, expect_publisher=MALLORY.public_key.fingerprint_bytes)


# ---- a single key becomes a team


SOLO = signer(1)


def test_a_team_whose_first_root_the_known_key_signed_takes_its_place() -> None:
    one = root((SOLO, ALICE, BOB), 2, (SOLO, ALICE))
    for solo in (pin(SOLO), Pin("acme", SOLO.public_key.fingerprint)):
        verified = _verify(signed(team_manifest(one), [one], SOLO, BOB), knows(solo))
        assert verified.pin == solo
        assert "acme is a team from now on: 2 of 3 keys must sign" in verified.warnings[0]
        known = knows(solo).with_team(solo.fingerprint, team(one))
        assert known.pins[0].was == SOLO.public_key.fingerprint
        assert _verify(signed(team_manifest(one), [one], ALICE, BOB), known).team == team(one)


def test_the_known_key_may_sign_the_root_without_being_in_it() -> None:
    one = root((ALICE, BOB), 2, (ALICE, BOB, SOLO))
    assert _verify(signed(team_manifest(one), [one], ALICE, BOB), knows(pin(SOLO))).team == team(one)


def test_a_team_that_the_known_key_did_not_sign_is_a_changed_publisher() -> None:
    one = root((SOLO, ALICE, BOB), 2, (ALICE, BOB))
    with pytest.raises(ChangedPublisherError):
        _verify(signed(team_manifest(one), [one], SOLO, ALICE), knows(pin(SOLO)))


def test_a_revoked_key_does_not_found_a_team() -> None:
    one = root((SOLO, ALICE), 1, (SOLO,))
    with pytest.raises(ChangedPublisherError):
        _verify(signed(team_manifest(one), [one], ALICE), knows(pin(SOLO, revoked=True)))


def test_a_publisher_known_by_two_kinds_of_key_does_not_become_a_team_by_one() -> None:
    one = root((SOLO, ALICE), 1, (SOLO,))
    hybrid = replace(pin(SOLO), post_quantum=MALLORY.public_key.fingerprint)
    with pytest.raises(ChangedPublisherError):
        _verify(signed(team_manifest(one), [one], SOLO), knows(hybrid))


def test_what_the_single_key_signed_needs_the_team_s_word_afterwards() -> None:
    old = release(SOLO)
    plain = root((ALICE, BOB), 2, (ALICE, BOB, SOLO))
    known = knows(pin(SOLO)).with_team(SOLO.public_key.fingerprint, team(plain))
    with pytest.raises(RetiredKeyError, match="the key it had before it was a team"):
        gate.verify(old.envelope, known)
    keeping = root((ALICE, BOB), 2, (ALICE, BOB, SOLO), keep=[old.parsed.payload_sha256])
    known = knows(pin(SOLO)).with_team(SOLO.public_key.fingerprint, team(keeping))
    assert "root 1 still stands by it" in gate.verify(old.envelope, known).warnings[0]


# ---- rotation


def test_a_newer_root_is_taken_and_its_keys_sign() -> None:
    two = rotated()
    verified = _verify(signed(team_manifest(two), [ONE, two], CAROL, DAVE))
    assert verified.team is not None
    assert verified.team.version == 2
    assert verified.fingerprint == ACME.fingerprint
    assert "acme has new keys: root 2" in verified.warnings[0]


def test_a_retired_key_signs_nothing_new() -> None:
    two = rotated()
    known = knows(team_pin(team(ONE, two)))
    with pytest.raises(RetiredKeyError, match="keys of root 1 of acme, which root 2 has retired"):
        _verify(signed(RELEASE, [ONE], ALICE, BOB), known)
    with pytest.raises(ThresholdError):
        _verify(signed(team_manifest(two), [ONE, two], BOB, CAROL))


def test_a_release_that_the_root_keeps_stays_good() -> None:
    old = signed(RELEASE, [ONE], ALICE, BOB)
    two = rotated(keep=[old.payload_sha256])
    verified = _verify(old, knows(team_pin(team(ONE, two))))
    assert verified.warnings == ("It is signed by keys that acme has retired; root 2 still stands by it.",)


def test_a_release_by_keys_that_stayed_needs_nobody_to_keep_it() -> None:
    known = knows(team_pin(team(ONE, rotated())))
    assert _verify(signed(RELEASE, [ONE], ALICE, CAROL), known).warnings == ()


@pytest.mark.parametrize(
    ("by", "why"),
    [
        ((MALLORY,), "root 2 is not signed by enough of the keys of root 1"),
        ((BOB, DAVE), "root 2 is not signed by enough of the keys of root 1"),
        ((ALICE, BOB), "root 2 is not signed by enough of its own keys"),
        ((), "root 2 is not signed by enough of the keys of root 1"),
    ],
)
def test_a_root_needs_the_one_before_and_itself(by: tuple[Any, ...], why: str) -> None:
    two = root((ALICE, CAROL, DAVE), 2, by, previous=ONE)
    with pytest.raises(TeamRootError, match=why):
        _verify(signed(team_manifest(two), [ONE, two], CAROL, DAVE))


def test_a_root_that_skips_a_version_is_refused() -> None:
    two = rotated()
    three = root((CAROL, DAVE), 2, (ALICE, CAROL, DAVE), previous=two)
    with pytest.raises(TeamRootError, match="root 3 does not follow 1"):
        _verify(signed(team_manifest(three), [ONE, three], CAROL, DAVE))
    assert (
        _verify(signed(team_manifest(three), [ONE, two, three], CAROL, DAVE)).fingerprint == ACME.fingerprint
    )


@pytest.mark.parametrize("order", [(0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)])
def test_a_root_that_comes_twice_is_refused(order: tuple[int, ...]) -> None:
    chain = (first(), rotated())
    with pytest.raises(TeamRootError, match="each once and in this order"):
        team(*(chain[index] for index in order))


def test_a_root_for_another_name_does_not_follow() -> None:
    two = root((ALICE, BOB), 2, (ALICE, BOB), previous=ONE, name="nova")
    with pytest.raises(TeamRootError, match="is for nova, the one before for acme"):
        roots.follow(ACME, [two.raw])


def test_an_expired_root_still_proves_a_release() -> None:
    assert roots.expires(ONE).year == 2027
    old = json.loads(ONE.raw)
    old["signed"]["expires"] = "2001-01-01T00:00:00Z"
    old["signatures"] = []
    stale = read_root(json.dumps(old).encode())
    for key in (ALICE, BOB):
        stale = roots.sign(stale, key)
    assert _verify(signed(RELEASE, [stale], ALICE, BOB), knows(team_pin(team(stale)))).warnings == ()


def test_an_older_chain_than_is_known_changes_nothing() -> None:
    two = rotated()
    known = knows(team_pin(team(ONE, two)))
    forged = root((MALLORY,), 1, (MALLORY,))
    verified = _verify(signed(team_manifest(two), [forged, two], ALICE, CAROL), known)
    assert verified.team == team(ONE, two)


# ---- roots as files


def _changed(change: str, value: object) -> bytes:
    document = json.loads(ONE.raw)
    *way, last = change.split("/")
    place = document
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document).encode()


KEYID = next(iter(json.loads(ONE.raw)["signed"]["keys"]))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"{}", "`signed` is no object"),
        (b"[" * 40, "levels deep"),
        (b'{"signed":{},"signed":{}}', "there twice"),
        (_changed("signed/_type", "targets"), "no TUF root"),
        (_changed("signed/version", 0), "no number"),
        (_changed("signed/version", True), "no number"),
        (_changed("signed/x-weightshare", None), "no object"),
        (_changed("signed/x-weightshare/name", "a b"), "names no team"),
        (_changed("signed/x-weightshare/releases", ["zz"]), "no SHA-256"),
        (_changed("signed/roles/targets/threshold", 4), "demands 4 of 3"),
        (_changed("signed/roles/targets/threshold", 0), "no number"),
        (_changed("signed/roles/targets/keyids", ["aa"]), "keys that it does not have"),
        (_changed(f"signed/keys/{KEYID}/keytype", "rsa"), "no Ed25519 key"),
        (_changed(f"signed/keys/{KEYID}/keyval/public", "01" + "00" * 31), "small order"),
        (_changed(f"signed/keys/{KEYID}/keyval/public", "zz"), "64 hex digits"),
        (
            _changed("signed/keys/ff", json.loads(ONE.raw)["signed"]["keys"][KEYID]),
            "the same key is in it under two ids",
        ),
    ],
)
def test_a_root_that_breaks_a_rule_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(TeamRootError, match=why):
        roots.start([raw])


def test_one_changed_bit_of_a_root_is_noticed() -> None:
    raw = ONE.raw.replace(b'"threshold":2', b'"threshold":1', 1)
    assert raw != ONE.raw
    with pytest.raises(TeamRootError, match="not signed by enough of its own keys"):
        roots.start([raw])


def test_a_signature_that_is_not_hex_counts_for_nothing_and_harms_nothing() -> None:
    document = json.loads(ONE.raw)
    document["signatures"].append({"keyid": "ff", "sig": "no hex"})
    assert roots.start([json.dumps(document).encode()]).fingerprint == ACME.fingerprint
    document["signatures"][0]["sig"] = "no hex"
    with pytest.raises(TeamRootError, match="not signed by enough of its own keys"):
        roots.start([json.dumps(document).encode()])


def test_a_draft_says_what_it_lacks() -> None:
    two = root((ALICE, CAROL, DAVE), 2, (DAVE,), previous=ONE)
    lacks = roots.missing(two, ONE)
    assert (lacks.own, lacks.previous, lacks.complete) == (1, 2, False)
    for key in (ALICE, CAROL):
        two = roots.sign(two, key)
    assert roots.missing(two, ONE).complete


# ---- memory


def test_the_roots_are_kept_beside_the_pins(tmp_path: Path) -> None:
    path = tmp_path / "known_publishers"
    two = rotated()
    known = knows(team_pin(team(ONE, two))).with_highest("acme", "acme/m7b", 9)
    known.save(path)
    assert KnownPublishers.load(path) == known
    assert (tmp_path / "roots" / "acme" / "2.root.json").read_bytes() == two.raw
    (tmp_path / "roots" / "acme" / "1.root.json").unlink()
    with pytest.raises(StoreError, match="roots of the team acme cannot be read"):
        KnownPublishers.load(path)


def test_what_was_seen_of_a_single_key_is_remembered_of_its_team() -> None:
    one = root((SOLO, ALICE), 2, (SOLO, ALICE))
    known = knows(pin(SOLO)).with_highest("acme", "acme/m7b", 9)
    verified = _verify(signed(team_manifest(one, sequence=8), [one], SOLO, ALICE), known)
    assert "older release" in gate.judge(verified, known, gate.Policy())[-1]
    with pytest.raises(RollbackError):
        gate.judge(verified, known, gate.Policy(latest=True))
    after = known.with_team(SOLO.public_key.fingerprint, team(one))
    assert after.pins[0].highest == {"acme/m7b": 9}


def test_a_revoked_team_is_refused() -> None:
    gone = Pin("", ACME.fingerprint, revoked=True)
    with pytest.raises(RevokedError):
        _verify(signed(RELEASE, [ONE], ALICE, BOB), knows(team_pin(ACME), gone))


def test_a_manifest_that_names_other_keys_than_signed() -> None:
    made = replace(RELEASE, publisher=Publisher("acme", (MALLORY.public_key.fingerprint,), 1))
    with pytest.raises((ChangedPublisherError, BadSignatureError)):
        _verify(signed(made, [ONE], ALICE, BOB))
