"""Manifests that are signed, even by the publisher the victim knows, and still must not be believed: exit 4.

They come properly signed with the known key, so nothing but the rule in question stands in the way.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from tests.attacks.arena import METADATA_ONLY, Arena
from tests.attacks.forge import (
    ACME,
    CONFIG,
    Release,
    Statement,
    checkpoint,
    facts,
    release,
    rename_entry,
    sealed,
)
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import MAX_ENVELOPE

DEPTH = 100_000


def test_the_manifest_of_another_release(arena: Arena, honest: Release) -> None:
    other = release(contents=checkpoint(seed=7), version="2")
    arena.refuses(
        honest.bait(envelope=other.envelope),
        code=4,
        error="tree_mismatch",
        says="another pieces root than was signed",
    )


def test_the_manifest_of_another_model(arena: Arena, honest: Release) -> None:
    other = release(contents={"other.safetensors": b"other"}, model="acme/other")
    arena.refuses(
        honest.bait(envelope=other.envelope),
        code=4,
        error="tree_mismatch",
        says="in the torrent, not signed",
    )


# ---- JSON that two programs could read in two ways, or that takes a reader down


def _text(old: str, new: str) -> Callable[[Release], bytes]:
    """The payload with one text replaced: what no JSON writer would write."""

    def make(honest: Release) -> bytes:
        payload = honest.manifest.to_payload().decode()
        assert old in payload
        return payload.replace(old, new, 1).encode()

    return make


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        pytest.param(
            _text('"predicate":{', '"predicate":{"ext":' + '{"a":' * DEPTH + "1" + "}" * DEPTH + ","),
            "levels deep",
            id="deep",
        ),
        pytest.param(
            _text('"sequence":5', '"sequence":5,"sequence":6'),
            "the key 'sequence' is there twice",
            id="duplicate-key",
        ),
        pytest.param(
            _text('"sequence":5', '"sequence":5,"\\u0073equence":6'),
            "the key 'sequence' is there twice",
            id="duplicate-key-in-disguise",
        ),
        pytest.param(lambda honest: b"", "not valid", id="nothing"),
    ],
)
def test_signed_json_that_is_refused(
    arena: Arena, honest: Release, payload: Callable[[Release], bytes], says: str
) -> None:
    envelope = sealed(payload(honest), ACME)
    arena.refuses(honest.bait(envelope=envelope), code=4, error="manifest", says=says)


def _envelope_twice(honest: Release) -> bytes:
    """A second payload behind the first: which one was signed depends on who reads."""
    other = base64.b64encode(b'{"of":"mallory"}')
    return honest.envelope.replace(b'"payload":', b'"payload":"' + other + b'","payload":', 1)


@pytest.mark.parametrize(
    ("envelope", "says"),
    [
        pytest.param(_envelope_twice, "the key 'payload' is there twice", id="two-payloads"),
        pytest.param(lambda _: b"[" * DEPTH, "levels deep", id="deep"),
    ],
)
def test_an_envelope_that_is_refused(
    arena: Arena, honest: Release, envelope: Callable[[Release], bytes], says: str
) -> None:
    arena.refuses(honest.bait(envelope=envelope(honest)), code=4, error="manifest", says=says)


# ---- statements that mean something else


def _set(*path: str | int, to: object) -> Callable[[Statement], None]:
    def change(statement: Statement) -> None:
        place = statement
        for step in path[:-1]:
            place = place[step]  # type: ignore[index]
        place[path[-1]] = to  # type: ignore[index]

    return change


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        pytest.param(
            _set("predicate", "critical", to=["threshold-of-three"]),
            "unsupported",
            "The manifest needs 'threshold-of-three', which this version does not know",
            id="unknown-critical-extension",
        ),
        pytest.param(
            _set("predicateType", to="https://model_signing/signature/v1.0"),
            "unsupported",
            "The manifest's `predicateType` is",
            id="another-kind-of-statement",
        ),
        pytest.param(
            _set("subject", 0, "digest", "sha256", to="00" * 32),
            "manifest",
            "subject",
            id="two-digests-for-one-file",
        ),
        pytest.param(
            lambda statement: rename_entry(statement, CONFIG, f"../{CONFIG}"),
            "unsafe_path",
            "a part is `..`",
            id="path-out-of-the-folder",
        ),
        pytest.param(
            lambda statement: rename_entry(statement, CONFIG, MANIFEST_NAME),
            "unsafe_path",
            "the same name as",
            id="names-itself",
        ),
    ],
)
def test_a_statement_that_is_refused(
    arena: Arena, honest: Release, change: Callable[[Statement], None], error: str, says: str
) -> None:
    arena.refuses(honest.bait(envelope=honest.restated(change)), code=4, error=error, says=says)


def test_a_signature_for_another_protocol(arena: Arena, honest: Release) -> None:
    envelope = sealed(honest.manifest.to_payload(), ACME, payload_type="application/vnd.oci.image")
    arena.refuses(
        honest.bait(envelope=envelope),
        code=4,
        error="unsupported",
        says="The envelope holds 'application/vnd.oci",
    )


# ---- sizes that the tree declares


def test_a_manifest_too_large_is_not_even_asked_for(arena: Arena, honest: Release) -> None:
    size = MAX_ENVELOPE + 1
    arena.refuses(
        honest.bait(lambda info: facts(info, MANIFEST_NAME).update({b"length": size})),
        code=4,
        error="metainfo",
        says=f"The torrent's {MANIFEST_NAME} has {size:,} bytes; 1 to {MAX_ENVELOPE:,} are expected",
        sent=METADATA_ONLY,
    )


def test_a_manifest_of_a_petabyte(arena: Arena, honest: Release) -> None:
    """More pieces than the engine counts; it refuses the metadata before the gate sees it."""
    arena.refuses(
        honest.bait(lambda info: facts(info, MANIFEST_NAME).update({b"length": 2**50})),
        code=4,
        error="metainfo",
        says="The torrent's metadata cannot be read: invalid length of torrent",
        sent=METADATA_ONLY,
    )


def test_an_empty_manifest(arena: Arena, honest: Release) -> None:
    def emptied(info: dict[bytes, object]) -> None:
        fields = facts(info, MANIFEST_NAME)
        fields[b"length"] = 0
        del fields[b"pieces root"]

    arena.refuses(
        honest.bait(emptied),
        code=4,
        error="metainfo",
        says=f"{MANIFEST_NAME} has 0 bytes",
        sent=METADATA_ONLY,
    )


def test_a_manifest_of_many_files_is_taken(arena: Arena) -> None:
    """The other side of the limits: a manifest longer than a piece, whose piece hashes come from the peer."""
    many = release(contents={f"part-{number:04}.json": b"%d" % number for number in range(200)})
    outcome = arena.fetch(many.bait(), "--include", "part-0000.json")
    assert outcome.code == 0, outcome
    assert json.loads((arena.victim.destination / "part-0000.json").read_bytes()) == 0
