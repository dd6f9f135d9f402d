"""Whatever is done to a good release, it is refused with an error of ours, soon, or it says what was signed."""

from __future__ import annotations

import base64
import copy
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.builders_releases import knows, pin, signer
from tests.conformance.vectors import VALID, Vector, schemas_refuse, second_verifier, short_verifier
from weightshare.errors import WeightshareError
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import PAYLOAD_TYPE, Manifest
from weightshare.manifest.statement import parse, serialise
from weightshare.trust.gate import verify
from weightshare.trust.publishers import KnownPublishers
from weightshare.units import MIB

CPU_SECONDS = 0.05
MEMORY = 64 * MIB
OFTEN = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))

KEY = signer(1)
KNOWN = knows(pin(KEY))
BASES = [vector for vector in VALID if str(vector) in ("full", "hybrid", "team-rotated")]
FULL = next(vector for vector in VALID if str(vector) == "full")

Node = Any


class Pairs(list[Any]):
    """A JSON object as a list of names and values, which may hold a name twice."""


class Raw(bytes):
    """JSON text that goes in as it is."""


def _pairs(data: bytes) -> Node:
    return json.loads(data, object_pairs_hook=lambda pairs: Pairs([name, value] for name, value in pairs))


def _render(node: Node) -> bytes:
    if isinstance(node, Raw):
        return node
    if isinstance(node, Pairs):
        return (
            b"{" + b",".join(json.dumps(name).encode() + b":" + _render(value) for name, value in node) + b"}"
        )
    if isinstance(node, list):
        return b"[" + b",".join(map(_render, node)) + b"]"
    return json.dumps(node).encode()


def _slots(node: Node) -> list[tuple[Node, int]]:
    """Every place in a document where a value stands."""
    found, pending = [], [node]
    while pending:
        container = pending.pop()
        for index, item in enumerate(container):
            found.append((container, index))
            value = item[1] if isinstance(container, Pairs) else item
            if isinstance(value, list):
                pending.append(value)
    return found


def _value(container: Node, index: int) -> Node:
    return container[index][1] if isinstance(container, Pairs) else container[index]


def _set(container: Node, index: int, value: Node) -> None:
    if isinstance(container, Pairs):
        container[index] = [container[index][0], value]
    else:
        container[index] = value


HOSTILE = st.sampled_from(
    [
        "",
        "..",
        "a/b",
        "a\u001b[2J",
        "\u202e",
        "\ud800",
        "CON",
        "e\u0301",
        "\u212a",
        "SHA256:",
        "\U0001f701",
        "a b",
        " ",
    ]
)
TEXTS = HOSTILE | st.text(max_size=8)
NUMBERS = st.sampled_from([0, 1, -1, 2**53 - 1, 2**53, -(2**53), 2**63, 16_384, 10**30]) | st.integers()
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(TEXTS, inner).map(list), max_size=3).map(Pairs)
    ),
    max_leaves=5,
)
RAW = st.one_of(
    st.integers(1, 5_000).map(lambda depth: Raw(b"[" * depth + b"]" * depth)),
    st.integers(1, 5_000).map(lambda depth: Raw(b'{"a":' * depth + b"1" + b"}" * depth)),
    st.integers(1, 100_000).map(lambda count: Raw(b"9" * count)),
    st.integers(1, 300_000).map(lambda count: Raw(b'"' + b"x" * count + b'"')),
    st.integers(1, 5_000).map(lambda count: Raw(b"[" + b",".join([b'""'] * count) + b"]")),
    st.sampled_from(
        [b"1.0", b"1e3", b"-0", b"1e999", b"NaN", b'"\\ud800"', b'"\\u0000"', b"tru", b'"\xff"', b""]
    ).map(Raw),
)


@st.composite
def mutations(draw: st.DrawFn, document: Node) -> Node:
    """A document with one to three changes, each at any depth."""
    mutated = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        slots = _slots(mutated)
        assume(slots)
        container, index = draw(st.sampled_from(slots))
        change = draw(st.sampled_from(["drop", "twice", "value", "raw", "rename", "swap", "tweak"]))
        if change == "drop":
            del container[index]
        elif change == "twice":
            other = copy.deepcopy(container[index])
            container.insert(draw(st.integers(0, len(container))), other)
            if draw(st.booleans()):
                _set(container, container.index(other), draw(VALUES))
        elif change == "value":
            _set(container, index, draw(VALUES))
        elif change == "raw":
            _set(container, index, draw(RAW))
        elif change == "rename" and isinstance(container, Pairs):
            container[index] = [draw(TEXTS), container[index][1]]
        elif change == "swap":
            there, at = draw(st.sampled_from(slots))
            mine, theirs = copy.deepcopy(_value(container, index)), copy.deepcopy(_value(there, at))
            _set(container, index, theirs)
            _set(there, at, mine)
        elif change == "tweak":
            _set(container, index, _tweaked(draw, _value(container, index)))
    return mutated


def _tweaked(draw: st.DrawFn, value: Node) -> Node:
    """Nearly the same value, which is where rules have their edges."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + draw(st.sampled_from([-1, 1]))
    if isinstance(value, str) and value:
        at = draw(st.integers(0, len(value) - 1))
        return (
            value[:at]
            + draw(st.sampled_from(["", "A", "a", "/", ".", "\u00e9", value[at] * 2]))
            + value[at + 1 :]
        )
    return draw(VALUES)


def _bounded(call: Callable[[], object]) -> None:
    """Run it within the limits; a busy machine gets three tries, memory does not depend on it."""
    spent = []
    for _ in range(3):
        began = time.process_time()
        call()
        spent.append(time.process_time() - began)
        if spent[-1] < CPU_SECONDS:
            break
    assert min(spent) < CPU_SECONDS
    tracemalloc.start()
    try:
        call()
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def _verdict(data: bytes, known: KnownPublishers) -> Manifest | None:
    """What we make of it; anything raised but our own errors fails the test."""
    try:
        return verify(data, known).manifest
    except WeightshareError:
        return None


def _agreed(data: bytes, of: Vector) -> Manifest | None:
    """Our verdict, within the limits; that of the two other verifiers is the same."""
    _bounded(lambda: _verdict(data, of.known))
    manifest, known = _verdict(data, of.known), (of.expect["known"], of.expect.get("post_quantum", ""))
    for verifier, refused in ((second_verifier(), second_verifier().Refused), (short_verifier(), ValueError)):
        try:
            verifier.verify(data, *known)
            accepted = True
        except refused:
            accepted = False
        assert accepted == (manifest is not None), verifier.__name__
    return manifest


def _check(data: bytes, of: Vector) -> Manifest | None:
    """Refused, or it says what was signed."""
    manifest = _agreed(data, of)
    if manifest is not None:
        assert Envelope.parse(data).payload == of.payload
        assert manifest == parse(of.payload)
    return manifest


@pytest.mark.parametrize("base", BASES, ids=str)
def test_the_bases_are_good(base: Vector) -> None:
    assert _check(base.data, base) is not None
    assert _render(_pairs(base.data)) == json.dumps(json.loads(base.data), separators=(",", ":")).encode()


@pytest.mark.parametrize("base", BASES, ids=str)
@OFTEN
@given(data=st.data())
def test_bytes_changed_inserted_and_cut(base: Vector, data: st.DataObject) -> None:
    mutated = bytearray(base.data)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated)))
        match data.draw(st.sampled_from(["flip", "put", "cut", "end", "move"])):
            case "flip" if at < len(mutated):
                mutated[at] ^= 1 << data.draw(st.integers(0, 7))
            case "put":
                mutated[at:at] = data.draw(
                    st.sampled_from([b" ", b'"', b"\\", b"[", b"}", b"\0", b"=", b"A", b"\xff"])
                )
            case "cut":
                del mutated[at : at + data.draw(st.integers(1, 40))]
            case "end":
                del mutated[at:]
            case "move":
                mutated[at:at] = mutated[max(0, at - data.draw(st.integers(1, 100))) : at]
    _check(bytes(mutated), base)


@pytest.mark.parametrize("base", BASES, ids=str)
@OFTEN
@given(data=st.data())
def test_fields_of_the_envelope(base: Vector, data: st.DataObject) -> None:
    _check(_render(data.draw(mutations(_pairs(base.data)))), base)


@OFTEN
@given(data=st.data())
def test_a_changed_payload_under_the_old_signature(data: st.DataObject) -> None:
    payload = _render(data.draw(mutations(_pairs(FULL.payload))))
    assume(payload != FULL.payload)
    document = json.loads(FULL.data) | {"payload": base64.b64encode(payload).decode()}
    assert _check(json.dumps(document).encode(), FULL) is None


def test_payloads_and_signatures_of_two_releases_do_not_mix() -> None:
    documents = [
        json.loads(base.data) for base in VALID if base.expect["signer"] == KEY.public_key.fingerprint
    ]
    payloads = {document["payload"] for document in documents}
    assert len(payloads) > 5
    for document in documents:
        for payload in payloads - {document["payload"]}:
            mixed = json.dumps(document | {"payload": payload}).encode()
            assert _verdict(mixed, KNOWN) is None


@OFTEN
@given(data=st.data())
def test_a_changed_payload_that_is_signed_anew(data: st.DataObject) -> None:
    payload = _render(data.draw(mutations(_pairs(FULL.payload))))
    unsigned = Envelope(PAYLOAD_TYPE, payload, ())
    signature = base64.b64encode(KEY.sign(unsigned.pae())).decode()
    document = json.loads(unsigned.to_bytes()) | {"signatures": [{"sig": signature}]}
    envelope = json.dumps(document).encode()
    manifest = _agreed(envelope, FULL)
    if manifest is not None:
        assert parse(serialise(manifest)) == manifest == parse(payload)
        assert schemas_refuse(envelope) is False


@pytest.mark.parametrize("data", [b"[" * 16 * MIB, b'"' * 16 * MIB, b'{"a":' * 3 * MIB], ids=["[", '"', "{"])
def test_a_document_as_large_as_it_may_be_is_refused_soon(data: bytes) -> None:
    began = time.process_time()
    assert _verdict(data, KNOWN) is None
    assert time.process_time() - began < 2
