"""The header of a GGUF file, checked before a runner is given the file: programs in C have believed such numbers.

A file is `GGUF`, a version, the numbers of tensors and of fields, the fields (a name, a type, a value), the tensors (a
name, dimensions, a type, an offset into the data), and the data from the next aligned byte on. Source: the format's
description in ggml (docs/gguf.md), versions 2 and 3, little-endian.

What is checked: that everything stands inside the file, names are text and occur once, types are known ones, and no two
tensors share a byte. Nothing here reads tensor data.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import IO, NoReturn

from weightshare.errors import GgufError
from weightshare.manifest.text import escape, quoted, unsafe_character
from weightshare.units import MIB

MAX_HEADER = 256 * MIB
"""Largest header that is read; vocabularies of a quarter of a million tokens take some ten MiB."""

_MAX_NAME = 1024
_MAX_DIMENSIONS = 4
_MAX_DEPTH = 4  # of arrays of arrays; known files have one level
_ALIGNMENT = 32
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

BLOCKS: Mapping[int, tuple[str, int, int]] = MappingProxyType(
    {
        **{0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20)},
        **{6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40)},
        **{10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176)},
        **{14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74)},
        **{18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110)},
        **{22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2)},
        **{26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56)},
        **{30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17)},
        **{40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18)},
    }
)
"""By type number: its name, and how many items take how many bytes."""


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor. `shape` is in torch's order; `start` and `end` are offsets into the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A header that holds.

    Attributes:
        tensors: by offset.
        texts: the fields that are texts, such as `general.architecture` and `tokenizer.chat_template`.
        length: bytes before the data.
    """

    tensors: tuple[GgufTensor, ...]
    texts: Mapping[str, str]
    length: int

    @property
    def architecture(self) -> str:
        """The family of models, empty if the file names none."""
        return self.texts.get("general.architecture", "")

    @property
    def templates(self) -> Mapping[str, str]:
        """Chat templates by name."""
        stem = "tokenizer.chat_template"
        return {
            key.removeprefix(stem).removeprefix(".") or "default": text
            for key, text in self.texts.items()
            if key == stem or key.startswith(stem + ".")
        }


def read_gguf_header(path: Path, name: str) -> GgufHeader:
    """Read and check the header of the file at `path`; `name` is what messages call it.

    Raises:
        GgufError: the header breaks the format.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        return _Reader(file, size, name).header()


class _Reader:
    def __init__(self, file: IO[bytes], size: int, path: str) -> None:
        self._file = file
        self._path = path
        self._size = size
        self._limit = min(size, MAX_HEADER)
        self._position = 0

    def header(self) -> GgufHeader:
        if (magic := self._take(4)) != b"GGUF":
            self._refuse(f"it begins with {magic!r}, expected b'GGUF'")
        (version,) = self._numbers("I")
        if version not in (2, 3):
            self._refuse(f"its version is {version}, expected 2 or 3")
        count, fields = self._numbers("QQ")
        self._room(count, 24, "tensors")
        self._room(fields, 12, "fields")
        texts, alignment = self._fields(fields)
        infos = [self._tensor() for _ in range(count)]
        length = -(-self._position // alignment) * alignment
        return GgufHeader(self._placed(infos, length, alignment), MappingProxyType(texts), length)

    def _fields(self, count: int) -> tuple[dict[str, str], int]:
        seen: set[str] = set()
        texts: dict[str, str] = {}
        alignment = _ALIGNMENT
        for _ in range(count):
            name = self._name("a field")
            if name in seen:
                self._refuse(f"the field {quoted(name)} occurs twice")
            seen.add(name)
            (kind,) = self._numbers("I")
            value = self._value(kind, name, 0)
            if isinstance(value, str):
                texts[name] = value
            if name == "general.alignment":
                if not isinstance(value, int) or value < 1 or value & (value - 1) or value > MIB:
                    self._refuse(f"its alignment is {value!r}, expected a power of two")
                alignment = value
        return texts, alignment

    def _value(self, kind: int, name: str, depth: int) -> str | int | float | None:
        if kind == _STRING:
            return self._text(name)
        if kind == _ARRAY:
            self._array(name, depth)
            return None
        if kind not in _SCALARS:
            self._refuse(f"the field {quoted(name)} has the type {kind}, which GGUF does not know")
        found: str | int | float = self._numbers(_SCALARS[kind])[0]
        return found

    def _array(self, name: str, depth: int) -> None:
        if depth >= _MAX_DEPTH:
            self._refuse(f"the field {quoted(name)} is nested more than {_MAX_DEPTH} levels deep")
        kind, count = self._numbers("IQ")
        if kind in _SCALARS:
            size = struct.calcsize(f"<{_SCALARS[kind]}")
            self._room(count, size, f"items in the field {quoted(name)}")
            self._skip(count * size)
            return
        self._room(count, 8, f"items in the field {quoted(name)}")
        for _ in range(count):
            if kind == _STRING:
                (size,) = self._numbers("Q")
                self._room(size, 1, f"bytes in the field {quoted(name)}")
                self._skip(size)
            else:
                self._value(kind, name, depth + 1)

    def _tensor(self) -> tuple[str, int, tuple[int, ...], int]:
        name = self._name("a tensor")
        (count,) = self._numbers("I")
        if count > _MAX_DIMENSIONS:
            self._refuse(f"tensor {quoted(name)} has {count} dimensions, {_MAX_DIMENSIONS} at most")
        shape = self._numbers("Q" * count)
        kind, offset = self._numbers("IQ")
        if kind not in BLOCKS:
            self._refuse(f"tensor {quoted(name)} has the type {kind}, which is not known here")
        return name, kind, tuple(int(length) for length in shape), int(offset)

    def _placed(
        self, infos: list[tuple[str, int, tuple[int, ...], int]], length: int, alignment: int
    ) -> tuple[GgufTensor, ...]:
        names: set[str] = set()
        tensors = []
        for name, kind, shape, offset in infos:
            if name in names:
                self._refuse(f"the tensor {quoted(name)} occurs twice")
            names.add(name)
            if offset % alignment:
                self._refuse(f"tensor {quoted(name)} begins at {offset}, not on a multiple of {alignment}")
            dtype, items, size = BLOCKS[kind]
            count = 1
            for dimension in shape:
                count *= dimension
            if shape and shape[0] % items:
                self._refuse(f"tensor {quoted(name)} has rows of {shape[0]} items, in blocks of {items}")
            start, end = length + offset, length + offset + count // items * size
            if end > self._size:
                self._refuse(f"tensor {quoted(name)} ends at byte {end}, the file at {self._size}")
            tensors.append(GgufTensor(name, dtype, tuple(reversed(shape)), start, end))
        tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
        for before, after in pairwise(tensors):
            if after.start < before.end:
                self._refuse(f"tensor {quoted(after.name)} overlaps {quoted(before.name)}")
        return tuple(tensors)

    # ---- bytes

    def _take(self, size: int) -> bytes:
        if self._position + size > self._limit:
            self._refuse(f"it ends at byte {self._limit}, in the middle of its header")
        data = self._file.read(size)
        if len(data) != size:
            self._refuse(f"it ends at byte {self._position + len(data)}, in the middle of its header")
        self._position += size
        return data

    def _skip(self, size: int) -> None:
        self._position += size
        self._file.seek(self._position)

    def _numbers(self, kinds: str) -> tuple[int, ...]:
        return struct.unpack(f"<{kinds}", self._take(struct.calcsize(f"<{kinds}")))

    def _room(self, count: int, size: int, what: str) -> None:
        """Refuse a number of things that cannot fit into what is left, before a loop begins."""
        if count * size > self._limit - self._position:
            self._refuse(f"it says {count} {what}, more than fit in")

    def _text(self, name: str) -> str:
        (size,) = self._numbers("Q")
        self._room(size, 1, f"bytes in {quoted(name)}")
        return self._take(size).decode("utf-8", "backslashreplace")

    def _name(self, what: str) -> str:
        (size,) = self._numbers("Q")
        if not 0 < size <= _MAX_NAME:
            self._refuse(f"the name of {what} has {size} bytes, expected 1 to {_MAX_NAME}")
        try:
            name = self._take(size).decode("utf-8")
        except UnicodeDecodeError:
            self._refuse(f"the name of {what} is not UTF-8")
        if unsafe_character(name) is not None:
            self._refuse(f"the name {quoted(name)} of {what} holds a control character")
        return name

    def _refuse(self, reason: str) -> NoReturn:
        raise GgufError(
            f"{escape(self._path)}: bad GGUF header: {reason}.",
            hint="The file is damaged, newer than this program, or was made to mislead.",
            path=self._path,
            reason=reason,
        )
