"""Each rule of the header check, and that nothing the reference refuses gets through."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import pytest
from safetensors import SafetensorError, deserialize

from weightshare.content.safetensors_header import DTYPE_BITS, TensorInfo, parse_header, read_header
from weightshare.errors import SafetensorsError
from weightshare.units import MAX_SAFETENSORS_HEADER


def shard(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(
    dtype: str = "U8", shape: object = (), offsets: object = (0, 1), **more: object
) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def reference(content: bytes) -> int:
    return len(deserialize(content))  # type: ignore[no-untyped-call]


def check(content: bytes) -> None:
    parse_header(content, len(content), "m.safetensors")


def nested(depth: int) -> bytes:
    value = b"[" * depth + b"]" * depth
    return shard(b'{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],"x":' + value + b"}}", b"a")


REFUSED_BY_THE_REFERENCE = {
    "empty file": (b"", "too few"),
    "seven bytes": (b"\x00" * 7, "too few"),
    "no header": (shard(b""), "begins with"),
    "header past the end": (shard({}, length=99), "in a file of"),
    "header over the limit": (shard({}, length=MAX_SAFETENSORS_HEADER + 1), "100000000 at most"),
    "length of all ones": (shard({}, length=2**64 - 1), "at most"),
    "not UTF-8": (shard(b'{"\xff":1}'), "not UTF-8"),
    "byte order mark": (shard(b"\xef\xbb\xbf{}"), "begins with"),
    "cut JSON": (shard(b'{"a":'), "not JSON"),
    "trailing junk": (shard(b"{} x"), "not JSON"),
    "a list": (shard(b"[]"), "begins with"),
    "NaN": (shard(b'{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],"x":NaN}}', b"a"), "NaN is not JSON"),
    "number out of range": (shard(b'{"a":{"x":1e999}}', b"a"), "out of range"),
    "raw control character": (shard(b'{"a\n":1}'), "not JSON"),
    "half a surrogate pair": (shard(b'{"__metadata__":{"a":"\\ud800"}}'), "surrogate"),
    "deep": (nested(126), "levels deep"),
    "very deep": (nested(100_000), "levels deep"),
    "entry is a number": (shard({"a": 1}), "a number, expected an object"),
    "no dtype": (shard({"a": {"shape": [], "data_offsets": [0, 1]}}, b"a"), "no `dtype`"),
    "no shape": (shard({"a": {"dtype": "U8", "data_offsets": [0, 1]}}, b"a"), "no `shape`"),
    "no offsets": (shard({"a": {"dtype": "U8", "shape": []}}, b"a"), "no `data_offsets`"),
    "unknown dtype": (shard({"a": entry("F128")}, b"a"), "dtype 'F128'"),
    "dtype is a list": (shard({"a": entry(["U8"])}, b"a"), "does not know"),  # type: ignore[arg-type]
    "negative shape": (shard({"a": entry(shape=[-1])}, b"a"), "expected integers"),
    "minus nothing": (shard(b'{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}'), "expected integers"),
    "fraction in shape": (shard({"a": entry(shape=[1.0])}, b"a"), "expected integers"),
    "boolean in shape": (shard({"a": entry(shape=[True])}, b"a"), "expected integers"),
    "text in shape": (shard({"a": entry(shape=["1"])}, b"a"), "expected integers"),
    "shape past 64 bits": (shard({"a": entry(shape=[2**64])}, b"a"), "expected integers"),
    "shape is a number": (shard({"a": entry(shape=1)}, b"a"), "expected a list"),
    "shape overflows": (shard({"a": entry(shape=[2**40, 2**40])}, b"a"), "overflows"),
    "shape overflows before its zero": (
        shard({"a": entry(shape=[2**40, 2**40, 0], offsets=[0, 0])}),
        "overflows",
    ),
    "bits overflow": (shard({"a": entry("F64", [2**60])}, b"a"), "overflows"),
    "half a byte": (shard({"a": entry("F4", [3], [0, 2])}, b"ab"), "whole byte"),
    "three offsets": (shard({"a": entry(offsets=[0, 1, 2])}, b"a"), "holds 3 numbers"),
    "offsets backwards": (shard({"a": entry(shape=[0], offsets=[1, 0])}, b"a"), "spans -1 bytes"),
    "more bytes than the shape": (shard({"a": entry(offsets=[0, 2])}, b"ab"), "spans 2 bytes, expected 1"),
    "fewer bytes than the shape": (shard({"a": entry("F32", [1], [0, 2])}, b"ab"), "expected 4"),
    "first offset not 0": (shard({"a": entry(offsets=[1, 2])}, b"ab"), "hole"),
    "hole": (shard({"a": entry(), "b": entry(offsets=[2, 3])}, b"abc"), "'b' leaves a hole"),
    "overlap": (
        shard({"a": entry(shape=[2], offsets=[0, 2]), "b": entry(offsets=[1, 2])}, b"ab"),
        "overlaps",
    ),
    "same bytes twice": (shard({"a": entry(), "b": entry()}, b"a"), "overlaps"),
    "data missing": (shard({"a": entry(shape=[4], offsets=[0, 4])}, b"abc"), "the file at"),
    "data left over": (shard({"a": entry()}, b"ab"), "the file at"),
    "metadata is a list": (shard({"__metadata__": []}), "expected an object of texts"),
    "metadata holds a number": (shard({"__metadata__": {"a": 1}}), "expected a text"),
    "metadata holds null": (shard({"__metadata__": {"a": None}}), "null, expected a text"),
    "metadata twice": (shard(b'{"__metadata__":{},"__metadata__":{}}'), "'__metadata__' occurs twice"),
    "field twice": (
        shard(b'{"a":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}}', b"a"),
        "'dtype' occurs twice",
    ),
}

REFUSED_BY_US_ALONE = {
    "tensor twice": (
        shard(
            b'{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}',
            b"a",
        ),
        "'a' occurs twice",
    ),
    "tensor twice, once escaped": (
        shard(
            b'{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"\\u0061":{"dtype":"I8","shape":[],"data_offsets":[0,1]}}',
            b"a",
        ),
        "'a' occurs twice",
    ),
    "metadata key twice": (shard(b'{"__metadata__":{"x":"1","x":"2"}}'), "'x' occurs twice"),
    "unknown field's key twice": (
        shard(b'{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],"q":{"y":1,"y":2}}}', b"a"),
        "'y' occurs twice",
    ),
    "empty name": (shard({"": entry()}, b"a"), "empty name"),
    "NUL in a name": (shard({"a\0b": entry()}, b"a"), "U+0000"),
    "newline in a name": (shard({"a\nb": entry()}, b"a"), "U+000A"),
    "DEL in a name": (shard({"a\x7f": entry()}, b"a"), "U+007F"),
    "C1 in a name": (shard({"a\x9b": entry()}, b"a"), "U+009B"),
    "leading space": (shard(b' {"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}', b"a"), "begins with"),
    "tensor as a list": (shard({"a": ["U8", [], [0, 1]]}, b"a"), "a list, expected an object"),
}


@pytest.mark.parametrize("case", REFUSED_BY_THE_REFERENCE)
def test_refuses_what_the_reference_refuses(case: str) -> None:
    content, reason = REFUSED_BY_THE_REFERENCE[case]
    with pytest.raises(SafetensorsError) as ours:
        check(content)
    assert reason in ours.value.message
    assert ours.value.facts["path"] == "m.safetensors"
    with pytest.raises(SafetensorError):
        reference(content)


@pytest.mark.parametrize("case", REFUSED_BY_US_ALONE)
def test_refuses_what_the_reference_lets_pass(case: str) -> None:
    content, reason = REFUSED_BY_US_ALONE[case]
    with pytest.raises(SafetensorsError) as ours:
        check(content)
    assert reason in ours.value.message
    reference(content)  # if it no longer passes there, the case belongs in the other table


def test_a_shard_with_every_dtype() -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for dtype, bits in DTYPE_BITS.items():
        header[f"t.{dtype}"] = entry(dtype, [2, 4], [start, start + bits])
        start += bits
    content = shard(header, bytes(start))
    parsed = parse_header(content, len(content), "m")
    assert {tensor.dtype for tensor in parsed.tensors} == set(DTYPE_BITS)
    assert reference(content) == len(DTYPE_BITS)
    assert parsed.metadata == {"format": "pt"}
    assert parsed.length == len(content) - start
    assert parsed.tensors[0] == TensorInfo("t.F4", "F4", (2, 4), parsed.length, parsed.length + 4)
    assert parsed.tensors[-1].end == len(content)


def test_tensors_come_by_offset_and_empty_ones_count() -> None:
    content = shard(
        {"z": entry(offsets=[0, 1]), "e": entry(shape=[0, 7], offsets=[1, 1]), "a": entry(offsets=[1, 2])},
        b"ab",
    )
    assert [tensor.name for tensor in parse_header(content, len(content), "m").tensors] == ["z", "e", "a"]


def test_null_metadata_and_trailing_space_pass_as_they_do_in_the_reference() -> None:
    check(shard(b'{"__metadata__":null}   '))


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (shard({"a": entry(author="x")}, b"a"), "unknown field 'author'"),
        (shard({"b": entry(), "a": entry("F32", [1], [1, 5])}, b"abcde"), "does not lie on a multiple of 4"),
        (shard({}), "no tensor"),
    ],
)
def test_warns_of_what_is_sound_but_odd(content: bytes, warning: str) -> None:
    reference(content)
    (text,) = parse_header(content, len(content), "m").warnings
    assert warning in text


def test_a_hostile_path_or_name_does_not_reach_the_terminal() -> None:
    with pytest.raises(SafetensorsError) as caught:
        parse_header(shard({"a\x1b[2J": entry()}, b"a"), 60, "evil\x1b]0;")
    assert "\x1b" not in caught.value.message


def test_reads_only_the_header(tmp_path: Path) -> None:
    path = tmp_path / "big.safetensors"
    size = 64 * 2**30
    content = shard({"a": entry(shape=[size], offsets=[0, size])})
    with path.open("wb") as file:
        file.write(content)
        file.truncate(len(content) + size)
    header = read_header(path, "big.safetensors")
    assert header.tensors[0].size == size
    path.write_bytes(content)
    with pytest.raises(SafetensorsError, match=r"big\.safetensors"):
        read_header(path, "big.safetensors")


def test_never_accepts_what_the_reference_refuses() -> None:
    """Random damage to a sound shard: whatever passes here must pass there."""
    sound = shard(
        {"__metadata__": {"k": "v"}, "a": entry("F16", [2], [0, 4]), "b": entry(offsets=[4, 5])}, b"abcde"
    )
    alphabet = b'{}[]",:0123456789-.eEU8F16truenall\\ \x00\x80\xff'
    chance = random.Random(7)
    passed = 0
    for _ in range(20_000):
        content = bytearray(sound)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            position = chance.randrange(len(content))
            match chance.randrange(3):
                case 0:
                    content[position] = chance.choice(alphabet)
                case 1:
                    del content[position]
                case _:
                    content.insert(position, chance.choice(alphabet))
        try:
            check(bytes(content))
        except SafetensorsError:
            continue
        passed += 1
        reference(bytes(content))
    assert passed > 50
