"""Where mirrors and teams meet: neither takes the other's part."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

pytest.importorskip("tuf", reason="python-tuf is not installed")

from tests.builders_metainfo import hashed_all
from tests.builders_mirrors import CDN, NOW, WHEN, mirror
from tests.builders_releases import FILES, PIECE, knows, pin, signer
from tests.builders_teams import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    first,
    root,
    rotated,
    signed,
    team,
    team_manifest,
    team_pin,
)
from weightshare.errors import PinError, UnknownPublisherError
from weightshare.manifest.metainfo import build_info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.trust import gate
from weightshare.trust.countersign import countersign
from weightshare.trust.keys import FileSigner
from weightshare.trust.mirrors import Attestation, count
from weightshare.trust.pins import MIRROR_NAMESPACE, NAMESPACE, Pin

SOLO = signer(1)
BOTH = (NAMESPACE, MIRROR_NAMESPACE)


def test_no_key_that_ever_was_the_team_s_is_a_mirror_of_its_release() -> None:
    two = rotated()
    envelope = signed(team_manifest(two), [first(), two], ALICE, DAVE).to_bytes()
    acme = replace(team_pin(team(first())), was=SOLO.public_key.fingerprint)
    keys: tuple[FileSigner, ...] = (SOLO, ALICE, BOB, CAROL, DAVE, CDN)
    known = knows(acme, *(mirror(key, f"m{number}") for number, key in enumerate(keys)))
    verified = gate.verify(envelope, known)
    held = hashed_all({**FILES, MANIFEST_NAME: envelope}, PIECE, hybrid=True)
    info_hash = hashlib.sha256(build_info("m7b", PIECE, held, hybrid=True)).digest()
    files = [
        Attestation(f"{number}", countersign(verified, info_hash, WHEN, "weightshare 0.1", key))
        for number, key in enumerate(keys)
    ]
    tally = count(files, verified, info_hash, known, NOW)
    assert [entry.mirror for entry in tally.counted] == [CDN.public_key]
    assert all("own publisher" in reason for _, reason in tally.refused)


def test_a_key_that_becomes_a_team_is_a_mirror_no_more() -> None:
    one = team(root((ALICE, BOB), 2, (ALICE, BOB, SOLO)))
    known = knows(pin(SOLO, namespaces=BOTH)).with_team(SOLO.public_key.fingerprint, one)
    assert [entry.namespaces for entry in known.pins] == [(NAMESPACE,)]
    assert known.find_mirror(SOLO.public_key.fingerprint) is None


def test_a_mirror_does_not_become_a_team() -> None:
    one = root((SOLO, ALICE), 1, (SOLO, ALICE))
    envelope = signed(team_manifest(one), [one], SOLO).to_bytes()
    known = knows(mirror(SOLO, "acme"))
    with pytest.raises(UnknownPublisherError):
        gate.verify(envelope, known)
    assert known.with_team(SOLO.public_key.fingerprint, team(one)) == known
    # Its key as a publisher's signed the first root, and the team is believed.
    assert gate.verify(envelope, knows(pin(SOLO))).team == team(one)


def test_a_team_is_pinned_as_no_mirror() -> None:
    acme = team_pin(team(first()))
    with pytest.raises(PinError, match="a mirror is pinned by its key"):
        knows(acme).add(replace(acme, root="", team=None, namespaces=(MIRROR_NAMESPACE,)))


def test_a_publisher_pinned_again_in_fewer_words_keeps_its_second_key_and_its_roots() -> None:
    second = ALICE.public_key.fingerprint
    hybrid = replace(pin(SOLO), post_quantum=second)
    assert knows(hybrid).add(pin(SOLO)).pins == (hybrid,)
    assert knows(hybrid).add(pin(SOLO), replace=True).pins == (pin(SOLO),)
    acme = replace(team_pin(team(first(), rotated())), was=SOLO.public_key.fingerprint)
    assert knows(acme).add(Pin("acme", acme.fingerprint)).pins == (acme,)
    older = team_pin(team(first()))
    assert knows(acme).add(older, replace=True).pins == (older,)
