"""Releases in the name of a team or of a publisher with two kinds of key, by somebody who has stolen one key."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from tests.attacks.arena import Arena
from tests.attacks.forge import ACME, MALLORY, Release, release, sealed
from tests.builders_releases import pin
from tests.builders_teams import ALICE, BOB, CAROL, DAVE, first, root, rotated, signed, team, team_pin
from weightshare.manifest.model import Publisher
from weightshare.trust.keys import FileSigner
from weightshare.trust.post_quantum import PostQuantumSigner
from weightshare.trust.signing import sign
from weightshare.trust.teams import Root

ONE, TWO = first(), rotated()
SECOND = PostQuantumSigner(MLDSA44PrivateKey.from_seed_bytes(bytes(32)))


def _by_team(chain: Iterable[Root], *by: FileSigner, under: Root | None = None) -> tuple[Release, bytes]:
    """A release of acme's team with these roots beside it, signed by these keys."""
    roots = tuple(chain)
    newest = under or roots[-1]
    made = release()
    keys = tuple(key.fingerprint for key in newest.releases.keys)
    manifest = replace(made.manifest, publisher=Publisher("acme", keys, newest.version))
    return replace(made, manifest=manifest), signed(manifest, roots, *by).to_bytes()


def test_the_honest_team_is_taken(arena: Arena) -> None:
    """Without this one every other test here could pass for the wrong reason."""
    arena.victim.knows(team_pin(team(ONE)))
    made, envelope = _by_team([ONE, TWO], CAROL, DAVE)
    outcome = arena.fetch(made.bait(envelope=envelope))
    assert outcome.code == 0, outcome
    assert outcome.value["publisher"] == team(ONE).fingerprint


@pytest.mark.parametrize(
    ("by", "twice"),
    [
        pytest.param((ALICE,), False, id="one-stolen-key"),
        pytest.param((ALICE,), True, id="which-signs-twice"),
        pytest.param((ALICE, MALLORY), False, id="with-a-key-of-the-thief"),
    ],
)
def test_one_key_of_three_is_not_enough(arena: Arena, by: tuple[FileSigner, ...], twice: bool) -> None:
    arena.victim.knows(team_pin(team(ONE)))
    made, envelope = _by_team([ONE], *by)
    if twice:
        document = json.loads(envelope)
        document["signatures"] *= 2
        envelope = json.dumps(document).encode()
    arena.refuses(
        made.bait(envelope=envelope),
        code=3,
        error="threshold",
        says="1 of the keys of acme signed it, and 2 must",
    )


@pytest.mark.parametrize(
    "evil",
    [
        pytest.param(root((MALLORY,), 1, (MALLORY,), previous=ONE), id="signed-by-itself"),
        pytest.param(root((MALLORY, ALICE), 1, (MALLORY, ALICE), previous=ONE), id="and-by-one-stolen-key"),
    ],
)
def test_a_root_that_the_team_did_not_sign(arena: Arena, evil: Root) -> None:
    arena.victim.knows(team_pin(team(ONE)))
    made, envelope = _by_team([ONE, evil], MALLORY)
    arena.refuses(
        made.bait(envelope=envelope),
        code=3,
        error="team_root",
        says="not signed by enough of the keys of root 1",
    )


def test_a_root_that_skips_a_version(arena: Arena) -> None:
    arena.victim.knows(team_pin(team(ONE)))
    three = root((CAROL, DAVE), 1, (ALICE, CAROL, DAVE), previous=TWO)
    made, envelope = _by_team([ONE, three], DAVE)
    arena.refuses(made.bait(envelope=envelope), code=3, error="team_root", says="root 3 does not follow 1")


def test_a_retired_key_signs_anew(arena: Arena) -> None:
    """Alice's and Bob's keys were enough under root 1; the victim knows root 2, from which Bob's is gone."""
    arena.victim.knows(team_pin(team(ONE, TWO)))
    made, envelope = _by_team([ONE], ALICE, BOB)
    arena.refuses(made.bait(envelope=envelope), code=3, error="retired_key", says="which root 2 has retired")


def test_the_newest_root_taken_away(arena: Arena) -> None:
    arena.victim.knows(team_pin(team(ONE)))
    made, envelope = _by_team([ONE], ALICE, CAROL, under=TWO)
    arena.refuses(made.bait(envelope=envelope), code=3, error="team_root", says="brings no root past 1")


def test_another_team_of_the_same_name(arena: Arena) -> None:
    other = root((MALLORY,), 1, (MALLORY,))
    arena.victim.knows(team_pin(team(ONE)))
    made, envelope = _by_team([other], MALLORY)
    arena.refuses(
        made.bait(envelope=envelope),
        "--trust",
        team(other).fingerprint,
        code=3,
        error="changed_publisher",
        says=f"You know acme as the team {team(ONE).fingerprint}",
    )


def test_a_team_that_the_known_key_never_founded(arena: Arena) -> None:
    other = root((MALLORY, ACME), 1, (MALLORY,))
    made, envelope = _by_team([other], MALLORY)
    arena.refuses(
        made.bait(envelope=envelope), code=3, error="changed_publisher", says="You know acme by the key"
    )


def test_one_of_two_signatures_stripped(arena: Arena, honest: Release) -> None:
    known = replace(pin(ACME), post_quantum=SECOND.public_key.fingerprint)
    arena.victim.knows(known)
    keys = (ACME.public_key.fingerprint, SECOND.public_key.fingerprint)
    manifest = replace(honest.manifest, publisher=Publisher("acme", keys))
    whole = sign(manifest, ACME, SECOND)
    stripped = replace(whole, signatures=whole.signatures[:1])
    made = replace(honest, manifest=manifest)
    for envelope in (stripped.to_bytes(), honest.envelope):
        arena.refuses(
            made.bait(envelope=envelope), code=3, error="stripped_signature", says="ML-DSA-44 signature by"
        )


def test_both_signatures_are_taken(arena: Arena, honest: Release) -> None:
    arena.victim.knows(replace(pin(ACME), post_quantum=SECOND.public_key.fingerprint))
    keys = (ACME.public_key.fingerprint, SECOND.public_key.fingerprint)
    manifest = replace(honest.manifest, publisher=Publisher("acme", keys))
    made = replace(honest, manifest=manifest)
    outcome = arena.fetch(made.bait(envelope=sign(manifest, ACME, SECOND).to_bytes()))
    assert outcome.code == 0, outcome


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        pytest.param(
            {"predicateType": "https://model_signing/signature/v1.0"},
            "unsupported",
            id="OpenSSF-model-signing",
        ),
        pytest.param(
            {"predicateType": "https://in-toto.io/attestation/svr/v0.1"},
            "unsupported",
            id="a-mirror's-attestation",
        ),
        pytest.param({"predicateType": "urn:weightshare:release:v2"}, "unsupported", id="a-later-version"),
        pytest.param({"_type": "https://in-toto.io/Statement/v0.1"}, "unsupported", id="an-older-statement"),
    ],
)
def test_a_statement_that_acme_signed_for_another_purpose(
    arena: Arena, honest: Release, statement: dict[str, str], error: str
) -> None:
    envelope = honest.restated(lambda said: said.update(statement))
    arena.refuses(honest.bait(envelope=envelope), code=4, error=error, says="not")


def test_a_signature_over_the_payload_in_ssh_s_form(arena: Arena, honest: Release) -> None:
    """What `ssh-keygen -Y sign` signs begins with SSHSIG, and is no signature over the envelope's bytes."""
    payload = honest.manifest.to_payload()
    blob = b"SSHSIG"
    for part in (b"weightshare", b"", b"sha512", hashlib.sha512(payload).digest()):
        blob += len(part).to_bytes(4, "big") + part
    document = json.loads(sealed(payload, ACME))
    document["signatures"][0]["sig"] = base64.b64encode(ACME.sign(blob)).decode()
    arena.refuses(
        honest.bait(envelope=json.dumps(document).encode()),
        code=3,
        error="bad_signature",
        says="No signature of the manifest holds",
    )
