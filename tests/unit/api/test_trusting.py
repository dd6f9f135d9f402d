"""Whom a command believes: what is asked about, what never is, and what is remembered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders_releases import knows, pin, release, signer
from tests.builders_teams import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    first,
    rotated,
    signed,
    team,
    team_manifest,
    team_pin,
)
from weightshare.api.results import StrangerInfo
from weightshare.api.trusting import Trustee
from weightshare.content.home import Home
from weightshare.errors import (
    BadSignatureError,
    ChangedPublisherError,
    RevokedError,
    ThresholdError,
    TrustError,
    UnknownPublisherError,
    UnsignedError,
)
from weightshare.manifest.envelope import Envelope
from weightshare.trust.publishers import KnownPublishers

ACME, EVIL = signer(1), signer(66)
ONE, TWO = first(), rotated()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def _asked(stranger: StrangerInfo) -> bool:
    pytest.fail(f"asked about {stranger.claimed_name}")


def _bare(envelope: bytes) -> bytes:
    return replace(Envelope.parse(envelope), signatures=()).to_bytes()


def _bent(envelope: bytes) -> bytes:
    parsed = Envelope.parse(envelope)
    return replace(parsed, payload=parsed.payload.replace(b"m7b", b"m8b")).to_bytes()


@pytest.mark.parametrize(
    ("envelope", "error"),
    [
        pytest.param(release(EVIL).envelope, ChangedPublisherError, id="another-key"),
        pytest.param(_bare(release(ACME).envelope), UnsignedError, id="unsigned"),
        pytest.param(_bent(release(ACME).envelope), BadSignatureError, id="changed"),
        pytest.param(
            signed(team_manifest(ONE), [ONE], ALICE, BOB).to_bytes(), ChangedPublisherError, id="a-team"
        ),
    ],
)
def test_nobody_is_asked_once_the_name_is_known(home: Home, envelope: bytes, error: type[TrustError]) -> None:
    knows(pin(ACME)).save(home.known_publishers)
    with pytest.raises(error) as caught:
        Trustee(home, confirm=_asked).decide(envelope)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("by", [(ALICE,), (ALICE, EVIL)])
def test_nobody_is_asked_about_too_few_of_a_team(home: Home, by: tuple[object, ...]) -> None:
    knows(team_pin(team(ONE))).save(home.known_publishers)
    with pytest.raises(ThresholdError):
        Trustee(home, confirm=_asked).decide(signed(team_manifest(ONE), [ONE], *by).to_bytes())  # type: ignore[arg-type]


def test_a_revoked_key_is_not_asked_about(home: Home) -> None:
    knows(pin(ACME, "", revoked=True)).save(home.known_publishers)
    with pytest.raises(RevokedError):
        Trustee(home, confirm=_asked).decide(release(ACME).envelope)


def test_a_stranger_is_asked_about_once_and_kept_only_when_told_to(home: Home) -> None:
    asked: list[StrangerInfo] = []

    def yes(stranger: StrangerInfo) -> bool:
        asked.append(stranger)
        return True

    trustee = Trustee(home, confirm=yes)
    decision = trustee.decide(release(ACME).envelope)
    assert [(stranger.claimed_name, stranger.team) for stranger in asked] == [("acme", "")]
    assert not home.known_publishers.exists()
    trustee.remember(decision)
    (kept,) = KnownPublishers.load(home.known_publishers).pins
    assert (kept.name, kept.key, dict(kept.highest)) == ("acme", ACME.public_key, {"acme/m7b": 5})
    with pytest.raises(UnknownPublisherError):
        Trustee(home, confirm=lambda _: False).decide(
            release(EVIL, publisher="nova", model="nova/x").envelope
        )


def test_a_strange_team_is_shown_with_its_rule(home: Home) -> None:
    asked: list[StrangerInfo] = []

    def yes(stranger: StrangerInfo) -> bool:
        asked.append(stranger)
        return True

    trustee = Trustee(home, confirm=yes)
    trustee.remember(trustee.decide(signed(team_manifest(ONE), [ONE], ALICE, BOB).to_bytes()))
    assert [(stranger.fingerprint, stranger.team) for stranger in asked] == [
        (team(ONE).fingerprint, "2 of 3 keys must sign")
    ]
    assert KnownPublishers.load(home.known_publishers).pins[0].team == team(ONE)


def test_newer_roots_are_kept_only_when_told_to(home: Home) -> None:
    knows(team_pin(team(ONE))).save(home.known_publishers)
    trustee = Trustee(home)
    decision = trustee.decide(signed(team_manifest(TWO), [ONE, TWO], CAROL, DAVE).to_bytes())
    assert KnownPublishers.load(home.known_publishers).pins[0].team == team(ONE)
    trustee.remember(decision)
    kept = KnownPublishers.load(home.known_publishers).pins[0]
    assert kept.team == team(ONE, TWO)
    assert kept.root == "roots/acme/2.root.json"
    assert kept.highest == {"acme/m7b": 5}
