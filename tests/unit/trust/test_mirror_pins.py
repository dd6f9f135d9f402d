"""Publishers and mirrors in one file: what a key is believed for follows from its own line and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders_releases import knows, pin, release, signer
from weightshare.errors import ChangedPublisherError, PinError, RevokedError, UnknownPublisherError
from weightshare.trust import gate
from weightshare.trust.pins import MIRROR_NAMESPACE, NAMESPACE, Pin
from weightshare.trust.publishers import KnownPublishers

ACME, CDN, EVIL = signer(1), signer(2), signer(66)
BOTH = (NAMESPACE, MIRROR_NAMESPACE)
MIRROR = (MIRROR_NAMESPACE,)
CDN_PIN = pin(CDN, "cdn", namespaces=MIRROR)


# ---- the line


def test_a_mirror_has_a_line_of_its_own() -> None:
    line = f'cdn namespaces="weightshare-mirror" models="*" {CDN.public_key.openssh}'
    known = KnownPublishers.parse(line)
    assert known.pins == (CDN_PIN,)
    assert known.render().splitlines()[-1] == line
    assert (CDN_PIN.mirrors, CDN_PIN.publishes) == (True, False)
    assert (pin(ACME).mirrors, pin(ACME).publishes) == (False, True)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("weightshare", (NAMESPACE,)),
        ("weightshare,weightshare-mirror", BOTH),
        ("weightshare-mirror,git,weightshare", BOTH),
        ("git,weightshare-mirror", MIRROR),
    ],
)
def test_namespaces_are_read_in_any_order_and_written_in_one(written: str, read: tuple[str, ...]) -> None:
    found = Pin.parse(f'cdn namespaces="{written}" {CDN.public_key.openssh}')
    assert found.namespaces == read
    assert Pin.parse(found.render()) == found


@pytest.mark.parametrize("written", ["", "git", "Weightshare-Mirror", "weightshare-mirrors"])
def test_a_key_for_neither_is_malformed(written: str) -> None:
    with pytest.raises(ValueError, match="for neither"):
        Pin.parse(f'cdn namespaces="{written}" {CDN.public_key.openssh}')


@pytest.mark.parametrize("namespaces", [(), ("git",), (MIRROR_NAMESPACE, NAMESPACE), (NAMESPACE, NAMESPACE)])
def test_a_pin_has_its_namespaces_in_one_form(namespaces: tuple[str, ...]) -> None:
    with pytest.raises(PinError, match="for neither"):
        pin(CDN, "cdn", namespaces=namespaces)


# ---- a mirror publishes nothing


def test_a_mirror_is_no_publisher() -> None:
    made = release(CDN, publisher="cdn", model="cdn/m7b")
    with pytest.raises(UnknownPublisherError, match="as the mirror cdn") as caught:
        gate.verify(made.envelope, knows(CDN_PIN))
    assert caught.value.exit_code == 3
    examined = gate.examine(made.envelope, knows(CDN_PIN))
    assert (examined.trusted, examined.publisher_name) == (False, None)
    assert gate.verify(made.envelope, knows(replace(CDN_PIN, namespaces=BOTH))).publisher_name == "cdn"


def test_a_mirror_of_a_publishers_name_changes_no_publisher() -> None:
    named_alike = pin(EVIL, "acme", namespaces=MIRROR)
    made = release(ACME)
    # Unknown, and not "changed": the name is nobody's among publishers.
    with pytest.raises(UnknownPublisherError):
        gate.verify(made.envelope, knows(named_alike))
    assert gate.verify(made.envelope, knows(named_alike, pin(ACME))).publisher_name == "acme"
    # And a release by that mirror, in the publisher's name, is one by a changed key.
    with pytest.raises(ChangedPublisherError):
        gate.verify(release(EVIL).envelope, knows(named_alike, pin(ACME)))


def test_each_role_is_found_by_itself() -> None:
    known = knows(pin(ACME), CDN_PIN)
    acme, cdn = ACME.public_key.fingerprint, CDN.public_key.fingerprint
    assert (known.find(acme), known.find(cdn)) == (pin(ACME), None)
    assert (known.find_mirror(acme), known.find_mirror(cdn)) == (None, CDN_PIN)
    assert (known.named("acme"), known.named("cdn")) == ((pin(ACME),), ())


def test_a_revoked_key_is_revoked_in_every_role() -> None:
    made = release(ACME)
    for namespaces in ((NAMESPACE,), MIRROR):
        gone = pin(ACME, "", revoked=True, namespaces=namespaces)
        for known in (knows(gone), knows(pin(ACME, namespaces=BOTH), gone)):
            with pytest.raises(RevokedError):
                gate.verify(made.envelope, known)
            found = known.find_mirror(ACME.public_key.fingerprint)
            assert found is not None
            assert found.revoked


def test_what_was_seen_is_noted_for_publishers_only() -> None:
    known = knows(pin(ACME), pin(CDN, "acme", namespaces=MIRROR)).with_highest("acme", "acme/x", 3)
    assert [dict(p.highest) for p in known.pins] == [{"acme/x": 3}, {}]


# ---- adding and removing


def test_a_publisher_becomes_a_mirror_too_and_keeps_what_it_has() -> None:
    acme = pin(ACME, models=("acme/m*",), via="github:acme", highest={"acme/m": 4})
    known = knows(acme).add(pin(ACME, namespaces=MIRROR, via="key line"))
    assert known.pins == (replace(acme, namespaces=BOTH),)
    assert known.add(pin(ACME, namespaces=MIRROR)).pins == known.pins


def test_a_mirror_becomes_a_publisher_too_with_the_models_said() -> None:
    known = knows(CDN_PIN).add(pin(CDN, "cdn", models=("cdn/*",)))
    assert known.pins == (pin(CDN, "cdn", models=("cdn/*",), namespaces=BOTH),)
    # Said again, with other models: still a mirror.
    assert known.add(pin(CDN, "cdn")).pins == (pin(CDN, "cdn", namespaces=BOTH),)


def test_a_mirror_pinned_by_fingerprint_learns_its_key() -> None:
    known = knows(Pin("acme", ACME.public_key.fingerprint)).add(pin(ACME, namespaces=MIRROR))
    assert known.pins == (pin(ACME, namespaces=BOTH),)


def test_replace_says_what_a_key_is_for_anew() -> None:
    known = knows(pin(ACME, namespaces=BOTH, highest={"acme/m": 4}))
    assert known.add(pin(ACME, namespaces=MIRROR), replace=True).pins == (
        pin(ACME, namespaces=MIRROR, highest={"acme/m": 4}),
    )


def test_a_publisher_and_a_mirror_may_share_a_name_and_two_of_a_kind_may_not() -> None:
    known = knows(pin(ACME)).add(pin(CDN, "ACME", namespaces=MIRROR))
    assert known == knows(pin(ACME), pin(CDN, "ACME", namespaces=MIRROR))
    with pytest.raises(PinError, match="pinned with another key"):
        known.add(pin(EVIL, "acme", namespaces=MIRROR))
    with pytest.raises(PinError, match="pinned with another key"):
        known.add(pin(EVIL, "acme"))
    # The mirror's key may not slip in as the publisher of that name either.
    with pytest.raises(PinError, match="pinned with another key"):
        known.add(pin(CDN, "ACME"))
    with pytest.raises(PinError, match="under the name acme"):
        known.add(pin(ACME, "cdn", namespaces=MIRROR))
    replaced = known.add(pin(EVIL, "acme", namespaces=MIRROR), replace=True)
    assert replaced == knows(pin(ACME), pin(EVIL, "acme", namespaces=MIRROR))


def test_no_longer_a_mirror() -> None:
    acme = pin(ACME, namespaces=BOTH, highest={"acme/m": 4})
    known = knows(acme, CDN_PIN)
    assert known.remove("acme", mirror=True) == knows(replace(acme, namespaces=(NAMESPACE,)), CDN_PIN)
    assert known.remove("cdn", mirror=True) == knows(acme)
    assert known.remove("cdn") == knows(acme)
    assert known.remove(ACME.public_key.fingerprint) == knows(CDN_PIN)
    with pytest.raises(PinError, match="not a mirror"):
        knows(pin(ACME)).remove("acme", mirror=True)
