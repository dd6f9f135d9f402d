from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightshare.errors import ManifestError
from weightshare.manifest import strict_json
from weightshare.units import MAX_JSON_INTEGER, MIB

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_JSON_INTEGER, MAX_JSON_INTEGER) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_round_trip(value: object) -> None:
    data = strict_json.dumps(value)
    assert strict_json.loads(data, limit=len(data), what="value") == value
    assert b"\n" not in data


def test_the_same_value_gives_the_same_bytes() -> None:
    assert strict_json.dumps({"b": [1, True], "a": "é"}) == '{"a":"é","b":[1,true]}'.encode()


BAD = {
    b"": "Expecting value",
    b"{}x": "Extra data",
    b"{} {}": "Extra data",
    b"\xef\xbb\xbf{}": "BOM",
    '{"a":1}'.encode("utf-16"): "not UTF-8",
    b'["\xff"]': "not UTF-8",
    b'{"a":1,"a":1}': "'a' is there twice",
    b'{"x":{"\\u0061":1,"a":2}}': "'a' is there twice",
    b"[1.0]": "no integer",
    b"[1e3]": "no integer",
    b"[NaN]": "no JSON number",
    b"[Infinity]": "no JSON number",
    b"[-Infinity]": "no JSON number",
    b"[9007199254740992]": "2\\^53-1",
    b"[-9007199254740992]": "2\\^53-1",
    b"[" + b"9" * 100_000 + b"]": "2\\^53-1",
    b"[01]": "delimiter",
    b'["\\ud800"]': "surrogate",
    b'{"\\udc00x":1}': "surrogate",
    b'["a\nb"]': "control character",
    b"['a']": "Expecting value",
    b"[1,]": "trailing comma|Expecting value",
    b"[" * 33 + b"]" * 33: "32 levels",
    b'{"a":' * 33 + b"1" + b"}" * 33: "32 levels",
    b'["' + b"x" * MIB + b'"]': "at most",
    b'["\\\\",' + b"[" * 32 + b"]" * 33: "32 levels",
    b'["\\\\\\"",' + b"[" * 32 + b"]" * 33: "32 levels",
    b"]" + b"[" * 33: "Expecting value",
    b"[" * 33: "32 levels",
    b"[" * 33 + b"}" * 33: "32 levels",
}


@pytest.mark.parametrize(("data", "problem"), BAD.items(), ids=range(len(BAD)))
def test_refuses(data: bytes, problem: str) -> None:
    with pytest.raises(ManifestError, match=problem):
        strict_json.loads(data, limit=MIB, what="value")


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 32 + b"]" * 32,
        b'["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["]',
        b'["\\ud83d\\ude00"]',
        b'["\\\\ud800"]',
        b'["\\"' + b"[" * 40 + b'", "\\\\"]',
        b'["\\\\\\"' + b"[" * 40 + b'"]',
    ],
)
def test_accepts_what_only_looks_refused(data: bytes) -> None:
    strict_json.loads(data, limit=MIB, what="value")


@pytest.mark.timeout(15)
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * (16 * MIB),
        b"[" + b"[]," * (5 * MIB) + b"1]",
        b'"' * (16 * MIB),
        b'"' + b'\\"' * (8 * MIB - 1),
        b'"\\' * (8 * MIB),
        b"[" + b"1," * (8 * MIB - 1),
    ],
    ids=["deep", "open", "wide", "quotes", "escaped quotes", "open strings", "numbers"],
)
def test_bombs_are_refused_fast(data: bytes) -> None:
    with pytest.raises(ManifestError):
        strict_json.loads(data, limit=16 * MIB, what="value")


@pytest.mark.parametrize("extra", [0, 1])
def test_a_million_strings_brackets_and_commas_are_the_most(extra: int) -> None:
    strings, commas = strict_json.MAX_MARKS // 2 - 1, strict_json.MAX_MARKS // 2 - 2
    data = b"[" + b",".join([b'""'] * (strings + extra)) + b"]"
    assert 2 + strings + commas == strict_json.MAX_MARKS - 1
    if extra:
        with pytest.raises(ManifestError, match="more than 1,000,000"):
            strict_json.loads(data, limit=16 * MIB, what="value")
    else:
        strict_json.loads(data, limit=16 * MIB, what="value")


def test_a_hostile_key_is_escaped_in_the_message() -> None:
    with pytest.raises(ManifestError) as caught:
        strict_json.loads(b'{"\\u001b[2J":1,"\\u001b[2J":1}', limit=MIB, what="value")
    assert "\x1b" not in caught.value.message


def test_whole_numbers_written_as_floats_are_taken_only_where_asked_for() -> None:
    read = strict_json.loads(b"[1000.0,-2.0,3]", limit=100, what="value", whole_floats=True)
    assert repr(read) == "[1000, -2, 3]"
    for data in (b"[1.5]", b"[1e3]", b"[1.0e3]", b"[1.00]", b"[9007199254740993.0]", b"[NaN]"):
        with pytest.raises(ManifestError):
            strict_json.loads(data, limit=100, what="value", whole_floats=True)
