"""GGUF headers: real ones read as the format's own package does, and lies that are refused."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightshare.content.gguf_header import BLOCKS, GgufHeader, read_gguf_header
from weightshare.errors import GgufError


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def field(name: str | bytes, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str | bytes = "a", shape: tuple[int, ...] = (8,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


ARCHITECTURE = field("general.architecture", 8, text("llama"))


def gguf(
    fields: tuple[bytes, ...] = (ARCHITECTURE,),
    tensors: tuple[bytes, ...] = (tensor(),),
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    counts: tuple[int, int] | None = None,
    data: int = 64,
) -> bytes:
    head = magic + struct.pack("<IQQ", version, *(counts or (len(tensors), len(fields))))
    head += b"".join(fields) + b"".join(tensors)
    return head.ljust(-(-len(head) // 32) * 32, b"\0") + bytes(data)


def read(tmp_path: Path, data: bytes) -> GgufHeader:
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    return read_gguf_header(path, "m.gguf")


def test_a_header_reads_as_the_formats_own_package_reads_it(tmp_path: Path) -> None:
    reference = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "m.gguf"
    writer: Any = reference.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_chat_template("{{ messages }}")
    writer.add_token_list(["a", "b", "ü"])
    writer.add_float32("x.y", 0.5)
    writer.add_tensor("a", numpy.ones((4, 32), dtype=numpy.float32))
    writer.add_tensor("b", numpy.ones((7,), dtype=numpy.float16))
    for step in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file", "close"):
        getattr(writer, step)()
    header = read_gguf_header(path, "m.gguf")
    assert header.architecture == "llama"
    assert header.templates == {"default": "{{ messages }}"}
    theirs: Any = reference.GGUFReader(path)
    assert [(one.name, one.start, one.end, one.dtype) for one in header.tensors] == [
        (one.name, one.data_offset, one.data_offset + one.n_bytes, one.tensor_type.name)
        for one in theirs.tensors
    ]
    assert header.tensors[0].shape == (4, 32)


def test_types_are_those_of_the_formats_own_package() -> None:
    reference = pytest.importorskip("gguf")
    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in reference.GGML_QUANT_SIZES.items()}
    assert {kind: theirs[kind] for kind in BLOCKS if kind in theirs} == {
        kind: block for kind, block in BLOCKS.items() if kind in theirs
    }


LIES: dict[str, bytes] = {
    "magic": gguf(magic=b"GGML"),
    "version": gguf(version=1),
    "big-endian": gguf(version=0x03000000),
    "empty": b"",
    "cut-in-the-head": gguf()[:20],
    "cut-in-a-field": gguf()[:40],
    "tensors-beyond": gguf(counts=(2**63, 1)),
    "fields-beyond": gguf(counts=(1, 2**63)),
    "one-tensor-too-many": gguf(counts=(2, 1), data=0),
    "field-name-beyond": gguf((struct.pack("<Q", 2**62) + b"a",)),
    "field-name-empty": gguf((field("", 8, text("x")),)),
    "field-twice": gguf((ARCHITECTURE, ARCHITECTURE)),
    "field-type": gguf((field("a", 77, bytes(8)),)),
    "text-beyond": gguf((field("a", 8, struct.pack("<Q", 2**60)),)),
    "array-beyond": gguf((field("a", 9, struct.pack("<IQ", 8, 2**60)),)),
    "numbers-beyond": gguf((field("a", 9, struct.pack("<IQ", 12, 2**61)),)),
    "array-of-nothing": gguf((field("a", 9, struct.pack("<IQ", 99, 3) + bytes(64)),)),
    "arrays-in-arrays": gguf((field("a", 9, struct.pack("<IQ", 9, 1) * 200),)),
    "alignment-zero": gguf((field("general.alignment", 4, struct.pack("<I", 0)),)),
    "alignment-odd": gguf((field("general.alignment", 4, struct.pack("<I", 12)),)),
    "alignment-text": gguf((field("general.alignment", 8, text("32")),)),
    "tensor-twice": gguf(tensors=(tensor(), tensor(offset=32))),
    "tensor-name-beyond": gguf(tensors=(tensor("a" * 2000),)),
    "tensor-name-control": gguf(tensors=(tensor("a\x1b[2J"),)),
    "tensor-name-not-utf-8": gguf(tensors=(tensor(b"\xff"),)),
    "dimensions": gguf(tensors=(tensor(shape=(1,) * 9),)),
    "shape-beyond": gguf(tensors=(tensor(shape=(2**62, 2**62)),)),
    "offset-beyond": gguf(tensors=(tensor(offset=2**63),)),
    "offset-odd": gguf(tensors=(tensor(offset=4),)),
    "past-the-end": gguf(tensors=(tensor(shape=(4096,)),)),
    "overlap": gguf(tensors=(tensor("a", (16,)), tensor("b", (8,), offset=32))),
    "type": gguf(tensors=(tensor(kind=4),)),
    "half-a-block": gguf(tensors=(tensor(shape=(31,), kind=2),)),
}


@pytest.mark.parametrize("data", LIES.values(), ids=LIES)
def test_a_lie_is_refused_in_one_sentence(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(GgufError) as caught:
        read(tmp_path, data)
    assert caught.value.exit_code == 4
    assert caught.value.message.startswith("m.gguf: bad GGUF header: ")
    assert caught.value.message.isprintable()


def test_the_honest_one_is_read(tmp_path: Path) -> None:
    header = read(tmp_path, gguf(tensors=(tensor("a"), tensor("b", offset=32))))
    assert [one.name for one in header.tensors] == ["a", "b"]
    assert header.length % 32 == 0


@given(st.integers(0, 400), st.binary(min_size=1, max_size=12))
def test_whatever_is_changed_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: bytes
) -> None:
    names = field("a", 9, struct.pack("<IQ", 8, 2) + text("x") * 2)
    data = bytearray(gguf((ARCHITECTURE, names)))
    place %= len(data)
    data[place : place + len(change)] = change
    path = tmp_path_factory.getbasetemp() / "changed.gguf"
    path.write_bytes(bytes(data))
    with suppress(GgufError):
        read_gguf_header(path, "m.gguf")
