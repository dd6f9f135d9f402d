"""Releases by somebody who may not speak for the name: exit 3, with the manifest alone asked for.

The victim knows `acme` by one key. Whatever is not signed by it goes no further, however it is dressed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.attacks.arena import METADATA_ONLY, Arena
from tests.attacks.forge import ACME, MALLORY, Release, Statement, release, resigned, sealed, take
from tests.builders_releases import pin
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.trust.keys import format_fingerprint

ACME_PRINT = ACME.public_key.fingerprint
MALLORY_PRINT = MALLORY.public_key.fingerprint


def test_the_honest_release_is_taken(arena: Arena, honest: Release) -> None:
    """Without this one every other test here could pass for the wrong reason."""
    outcome = arena.fetch(honest.bait())
    assert outcome.code == 0, outcome
    assert outcome.value["publisher"] == ACME_PRINT
    for path, data in honest.contents.items():
        assert (arena.victim.destination / path).read_bytes() == data


def test_an_unknown_publisher(arena: Arena, honest: Release) -> None:
    arena.victim.knows()
    arena.refuses(
        honest.bait(),
        code=3,
        error="unknown_publisher",
        says=f"You do not know the publisher: acme, {ACME_PRINT}",
    )


def test_an_unknown_publisher_is_taken_with_trust(arena: Arena, honest: Release) -> None:
    arena.victim.knows()
    outcome = arena.fetch(honest.bait(), "--trust", ACME_PRINT)
    assert outcome.code == 0, outcome
    assert ACME_PRINT in outcome.value["publisher"]


def test_trust_in_another_key_does_not_help_a_stranger(arena: Arena, honest: Release) -> None:
    stranger = resigned(release(model="mallory/tiny"), MALLORY, name="mallory")
    arena.refuses(
        stranger.bait(), "--trust", ACME_PRINT, code=3, error="unknown_publisher", says=MALLORY_PRINT
    )


def test_a_copy_signed_by_a_stranger(arena: Arena) -> None:
    stranger = resigned(release(model="mallory/tiny"), MALLORY, name="mallory")
    arena.refuses(stranger.bait(), code=3, error="unknown_publisher", says=f"mallory, {MALLORY_PRINT}")


@pytest.mark.parametrize(
    ("name", "model", "more"),
    [
        pytest.param("acme", "acme/tiny", (), id="same-name"),
        pytest.param("acme", "acme/tiny", ("--trust", MALLORY_PRINT), id="same-name-and-trusted-on-the-spot"),
        pytest.param("ACME", "ACME/tiny", ("--trust", MALLORY_PRINT), id="in-capitals"),
        pytest.param("mallory", "acme/tiny", ("--trust", MALLORY_PRINT), id="own-name-for-acme's-model"),
        pytest.param("acme", "mallory/tiny", ("--trust", MALLORY_PRINT), id="acme's-name-for-own-model"),
    ],
)
def test_a_copy_signed_by_another_key_for_a_known_name(
    arena: Arena, name: str, model: str, more: tuple[str, ...]
) -> None:
    copy = resigned(release(model=model), MALLORY, name=name)
    arena.refuses(copy.bait(), *more, code=3, error="changed_publisher", says=f"is signed by {MALLORY_PRINT}")


def test_the_magnet_names_another_key(arena: Arena, honest: Release) -> None:
    bait = honest.bait()
    arena.refuses(
        bait,
        code=3,
        error="publisher_mismatch",
        says=f"The magnet names the publisher {MALLORY_PRINT}, but the manifest is signed by {ACME_PRINT}",
        source=bait.magnet(publisher=MALLORY.public_key.fingerprint_bytes),
    )


def test_the_magnet_names_another_key_than_the_one_trusted_on_the_spot(arena: Arena) -> None:
    bait = resigned(release(model="mallory/tiny"), MALLORY, name="mallory").bait()
    arena.refuses(
        bait,
        "--trust",
        MALLORY_PRINT,
        code=3,
        error="publisher_mismatch",
        says=f"The magnet names the publisher {ACME_PRINT}",
        source=bait.magnet(publisher=ACME.public_key.fingerprint_bytes),
    )


def test_a_revoked_key(arena: Arena, honest: Release) -> None:
    arena.victim.knows(pin(ACME, revoked=True))
    arena.refuses(honest.bait(), code=3, error="revoked", says=f"The key {ACME_PRINT} was revoked")


def test_a_revoked_key_is_not_trusted_on_the_spot(arena: Arena, honest: Release) -> None:
    arena.victim.knows(pin(ACME, "", revoked=True))
    arena.refuses(honest.bait(), "--trust", ACME_PRINT, code=3, error="revoked", says="was revoked")


def test_a_publisher_known_for_other_models(arena: Arena, honest: Release) -> None:
    arena.victim.knows(pin(ACME, models=("acme/other-*",)))
    arena.refuses(
        honest.bait(), code=3, error="trust", says="You trust acme for acme/other-*, not for acme/tiny"
    )


# ---- signatures that prove nothing


def _spoilt(change: Callable[[Statement], object]) -> Callable[[Release], bytes]:
    def make(honest: Release) -> bytes:
        envelope = json.loads(honest.envelope)
        change(envelope)
        return json.dumps(envelope).encode()

    return make


def _flip_signature(envelope: Statement) -> None:
    signature = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
    signature[5] ^= 1
    envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()


def _change_payload(envelope: Statement) -> None:
    payload = base64.b64decode(envelope["payload"]).replace(b"a model for tests", b"a model for thefts")
    envelope["payload"] = base64.b64encode(payload).decode()


def _short_signature(envelope: Statement) -> None:
    envelope["signatures"][0]["sig"] = base64.b64encode(b"short").decode()


def _signed_bare(envelope: Statement) -> None:
    """As if the type were not signed too: a signature over the payload alone, for any protocol."""
    bare = ACME.sign(base64.b64decode(envelope["payload"]))
    envelope["signatures"][0]["sig"] = base64.b64encode(bare).decode()


def _claims_to_be(honest: Release) -> bytes:
    """Mallory signs acme's own payload and says that the key is acme's."""
    envelope = json.loads(sealed(honest.manifest.to_payload(), MALLORY))
    envelope["signatures"][0]["keyid"] = ACME_PRINT
    envelope["signatures"][0]["publicKey"] = ACME.public_key.openssh
    return json.dumps(envelope).encode()


def _no_subgroup(honest: Release) -> bytes:
    """The identity as public key: for it, this signature holds over any message (RFC 8032, cofactor)."""
    identity = (1).to_bytes(32, "little")
    base_point = b"\x58" + b"\x66" * 31
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + identity
    envelope: dict[str, Any] = json.loads(honest.envelope)
    envelope["signatures"] = [
        {
            "keyid": ACME_PRINT,
            "sig": base64.b64encode(base_point + (1).to_bytes(32, "little")).decode(),
            "publicKey": f"ssh-ed25519 {base64.b64encode(blob).decode()}",
        }
    ]
    return json.dumps(envelope).encode()


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(_spoilt(_flip_signature), id="a-flipped-bit"),
        pytest.param(_spoilt(_change_payload), id="changed-after-signing"),
        pytest.param(_spoilt(_short_signature), id="no-ed25519-signature"),
        pytest.param(_spoilt(_signed_bare), id="type-not-signed"),
        pytest.param(_claims_to_be, id="acme's-key-beside-mallory's-signature"),
        pytest.param(_no_subgroup, id="key-of-small-order"),
    ],
)
def test_a_signature_that_does_not_hold(
    arena: Arena, honest: Release, forged: Callable[[Release], bytes]
) -> None:
    arena.refuses(
        honest.bait(envelope=forged(honest)),
        code=3,
        error="bad_signature",
        says="No signature of the manifest holds over its bytes",
    )


def test_signed_by_a_known_key_that_the_manifest_does_not_name(arena: Arena) -> None:
    """Acme's key under a statement for somebody else's keys: acme never said that these are theirs."""
    other = resigned(release(), MALLORY)
    arena.refuses(
        other.bait(envelope=sealed(other.manifest.to_payload(), ACME)),
        code=3,
        error="bad_signature",
        says=f"The manifest names other keys for acme than the one that signed it, {ACME_PRINT}",
    )


def test_no_signature(arena: Arena, honest: Release) -> None:
    arena.refuses(
        honest.bait(envelope=sealed(honest.manifest.to_payload())),
        code=3,
        error="unsigned",
        says="The manifest carries no signature",
    )


def test_no_manifest(arena: Arena, honest: Release) -> None:
    arena.refuses(
        honest.bait(lambda info: take(info, MANIFEST_NAME)),
        code=3,
        error="unsigned",
        says=f"The torrent holds no {MANIFEST_NAME}",
        sent=METADATA_ONLY,
    )


def test_no_manifest_in_a_torrent_file(arena: Arena, honest: Release) -> None:
    arena.refuses(
        honest.bait(lambda info: take(info, MANIFEST_NAME)),
        code=3,
        error="unsigned",
        says=f"carries no {MANIFEST_NAME}",
        sent=METADATA_ONLY,
        by_file=True,
    )


def test_a_torrent_file_is_no_proof_of_who_made_it(arena: Arena) -> None:
    copy = resigned(release(), MALLORY)
    arena.refuses(copy.bait(), code=3, error="changed_publisher", says=MALLORY_PRINT, by_file=True)


def test_a_fingerprint_pinned_without_its_key(arena: Arena, honest: Release) -> None:
    """The key then comes with the release, and counts for nothing but its fingerprint."""
    arena.victim.knows(replace(pin(ACME), key=None))
    copy = resigned(honest, MALLORY)
    arena.refuses(
        copy.bait(),
        code=3,
        error="changed_publisher",
        says=format_fingerprint(MALLORY.public_key.fingerprint_bytes),
    )
