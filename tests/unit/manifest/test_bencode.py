from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightshare.errors import MetainfoError
from weightshare.manifest import bencode
from weightshare.units import MIB

VALUES = st.recursive(
    st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_round_trip(value: object) -> None:
    data = bencode.encode(value)
    assert bencode.decode(data, limit=len(data), what="value") == value


@given(st.binary(max_size=40))
def test_whatever_decodes_encodes_to_the_same_bytes(data: bytes) -> None:
    try:
        value = bencode.decode(data, limit=40, what="value")
    except MetainfoError:
        return
    assert bencode.encode(value) == data


@given(VALUES, st.data())
def test_a_change_of_one_byte_never_decodes_to_the_same_value(value: object, data: st.DataObject) -> None:
    encoded = bytearray(bencode.encode(value))
    index = data.draw(st.integers(0, len(encoded) - 1))
    encoded[index] ^= data.draw(st.integers(1, 255))
    try:
        other = bencode.decode(bytes(encoded), limit=len(encoded), what="value")
    except MetainfoError:
        return
    assert other != value


BAD = {
    b"": "ends in the middle",
    b"e": "end without a beginning",
    b"x": "not a value",
    b"i1": "not an integer",
    b"ie": "not an integer",
    b"i-0e": "not an integer",
    b"i01e": "not an integer",
    b"i-01e": "not an integer",
    b"i+1e": "not an integer",
    b"i 1e": "not an integer",
    b"i1_0e": "not an integer",
    b"i9223372036854775808e": "64 bits",
    b"i" + b"1" * 100_000 + b"e": "not an integer",
    b"01:a": "not a value",
    b"-1:a": "not a value",
    b"2:a": "longer than the data",
    b"9999999999:a": "longer than the data",
    b"99999999999:a": "not a value",
    b"1:ab": "too many after",
    b"i1ei2e": "too many after",
    b"lele": "too many after",
    b"l": "ends in the middle",
    b"d1:a": "ends in the middle",
    b"d1:ae": "key without a value",
    b"d1:ai1e1:be": "key without a value",
    b"di1ei2ee": "a key that is no string",
    b"dlelee": "a key that is no string",
    b"d1:bi1e1:ai1ee": "unsorted",
    b"d1:ai1e1:ai2ee": "there twice",
    b"d2:aai1e1:ai1ee": "unsorted",
}


@pytest.mark.parametrize(("data", "problem"), BAD.items(), ids=range(len(BAD)))
def test_refuses(data: bytes, problem: str) -> None:
    with pytest.raises(MetainfoError, match=problem):
        bencode.decode(data, limit=MIB, what="value")


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "data",
    [
        b"l" * 100_000 + b"e" * 100_000,
        b"d1:a" * 100_000 + b"i1e" + b"e" * 100_000,
        b"l" + b"le" * (4 * MIB - 1) + b"e",
        b"l" + b"0:" * (4 * MIB - 1) + b"e",
        b"l" * (8 * MIB),
        b"9" * (8 * MIB),
    ],
    ids=["deep lists", "deep dicts", "wide lists", "wide strings", "open lists", "digits"],
)
def test_bombs_are_refused_fast(data: bytes) -> None:
    with pytest.raises(MetainfoError):
        bencode.decode(data, limit=8 * MIB, what="value")


def test_limits_are_the_callers() -> None:
    with pytest.raises(MetainfoError, match="5 at most"):
        bencode.decode(b"l1:abe", limit=5, what="value")
    with pytest.raises(MetainfoError, match="2 levels"):
        bencode.decode(b"llleee", limit=9, what="value", max_depth=2)
    assert bencode.decode(b"llee", limit=9, what="value", max_depth=2) == [[]]


@pytest.mark.parametrize("value", [True, None, 1.5, {1: 2}, [object()]])
def test_only_its_own_types_are_encoded(value: object) -> None:
    with pytest.raises(TypeError):
        bencode.encode(value)


def test_keys_are_sorted_as_raw_bytes_and_text_is_utf8() -> None:
    assert bencode.encode({"b": 1, b"a": "é", "aa": (2,)}) == "d1:a2:é2:aali2ee1:bi1ee".encode()
    with pytest.raises(ValueError, match="64 bits"):
        bencode.encode(2**63)
