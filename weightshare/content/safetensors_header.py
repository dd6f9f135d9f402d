"""The header of a safetensors file, checked more strictly than the reference does.

A file is 8 bytes (the header's length n, little-endian), n bytes of JSON, and the data. The JSON maps tensor
names to `{dtype, shape, data_offsets}`, and `__metadata__` to a map of strings. Whatever safetensors 0.8
refuses is refused here: a header over 100,000,000 bytes, JSON that is none, offsets that leave holes,
overlap or miss the end of the file, a shape whose bytes are not those of its offsets. So are the things it
lets pass in which one file could read as two: names that occur twice (anywhere in the header), empty names
and names with control characters, a header that does not begin with `{`. Unknown fields and tensors that do
not lie on a multiple of their item size are warnings.

Nothing here reads tensor data, and `safetensors` itself is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from weightshare.errors import SafetensorsError
from weightshare.manifest.text import escape, quoted
from weightshare.units import MAX_SAFETENSORS_HEADER

DTYPE_BITS: Mapping[str, int] = MappingProxyType(
    {
        **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
        **dict.fromkeys(
            ("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8
        ),
        **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
        **dict.fromkeys(("I32", "U32", "F32"), 32),
        **dict.fromkeys(("C64", "F64", "I64", "U64"), 64),
    }
)
"""Bits of one item of each dtype that safetensors 0.8 knows; some take less than a byte."""

LENGTH_SIZE = 8
"""Bytes of the length that a file begins with."""

_MAX_U64 = 2**64 - 1
_MAX_DEPTH = 127  # the reference's JSON parser stops at its 128th level
_FIELDS = frozenset({"dtype", "shape", "data_offsets"})


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: `start` and `end` are offsets into the file, not into the data that follows the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Header:
    """A header that holds.

    Attributes:
        tensors: by offset.
        metadata: `__metadata__`, free text of whoever wrote the file.
        length: bytes before the data: the length field and the header.
        warnings: what is sound but odd.
    """

    tensors: tuple[TensorInfo, ...]
    metadata: Mapping[str, str]
    length: int
    warnings: tuple[str, ...] = ()


def read_header(path: Path, name: str) -> Header:
    """Read and check the header of the file at `path`; `name` is what messages call it.

    Raises:
        SafetensorsError: the header breaks the format.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        prefix = file.read(LENGTH_SIZE)
        length = header_length(prefix, size, name)
        return parse_header(prefix + file.read(length - LENGTH_SIZE), size, name)


def header_length(prefix: bytes, file_size: int, path: str) -> int:
    """Bytes before the data, from the first 8 bytes of a file: how much `parse_header` must be given.

    Raises:
        SafetensorsError: the length is beyond the limit or the end of the file.
    """
    if len(prefix) < LENGTH_SIZE:
        _refuse(path, f"the file has {file_size} bytes, too few for the header's length")
    length = int.from_bytes(prefix[:LENGTH_SIZE], "little")
    if length > MAX_SAFETENSORS_HEADER:
        _refuse(path, f"the header would be {length} bytes long, {MAX_SAFETENSORS_HEADER} at most")
    if LENGTH_SIZE + length > file_size:
        _refuse(path, f"the header would be {length} bytes long, in a file of {file_size} bytes")
    return LENGTH_SIZE + length


def parse_header(prefix: bytes, file_size: int, path: str) -> Header:
    """Check the first bytes of a file: the length field and the whole header.

    Args:
        prefix: at least the bytes before the data; more are ignored.
        file_size: bytes of the whole file.
        path: what messages call it.

    Raises:
        SafetensorsError: the header breaks the format. Facts: `path`, `reason`.
    """
    length = header_length(prefix, file_size, path)
    if len(prefix) < length:
        _refuse(path, f"the header is cut off: {len(prefix)} of {length} bytes")
    table = _parse_json(prefix[LENGTH_SIZE:length], path)
    metadata = _metadata(table.pop("__metadata__", None), path)
    warnings: list[str] = []
    tensors = [_tensor(name, entry, length, path, warnings) for name, entry in table.items()]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
    position = length
    for tensor in tensors:
        if tensor.start != position:
            what = "overlaps the one before" if tensor.start < position else "leaves a hole before it"
            found = f"it begins at {tensor.start - length}, expected {position - length}"
            _refuse(path, f"tensor {quoted(tensor.name)} {what}: {found}")
        position = tensor.end
    if position != file_size:
        _refuse(path, f"the tensors end at byte {position}, the file at {file_size}")
    if not tensors:
        warnings.append(f"{escape(path)}: holds no tensor.")
    return Header(tuple(tensors), metadata, length, tuple(warnings))


def _refuse(path: str, reason: str) -> NoReturn:
    raise SafetensorsError(
        f"{escape(path)}: bad safetensors header: {reason}.",
        hint="The file is damaged or was made to mislead. Save it again with a current safetensors.",
        path=path,
        reason=reason,
    )


def _parse_json(data: bytes, path: str) -> dict[str, object]:
    if data[:1] != b"{":
        _refuse(path, f"it begins with {data[:1]!r}, expected b'{{'")

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        table = dict(pairs)
        if len(table) != len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    _refuse(path, f"the name {quoted(name)} occurs twice")
                seen.add(name)
        return table

    def integer(digits: str) -> int | float:
        # As in the reference, -0 is not an integer, and what no 64 bits can hold is a fraction.
        if digits == "-0" or len(digits) > 20:
            return number(digits)
        return int(digits)

    def number(digits: str) -> float:
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            _refuse(path, f"the number {digits[:20]}… is out of range")
        return value

    def constant(word: str) -> NoReturn:
        _refuse(path, f"{word} is not JSON")

    try:
        text = data.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=unique, parse_int=integer, parse_float=number, parse_constant=constant
        )
    except UnicodeDecodeError as error:
        _refuse(path, f"it is not UTF-8 at byte {error.start}")
    except ValueError as error:
        _refuse(path, f"it is not JSON: {error}")
    except RecursionError:
        _refuse(path, f"it is nested more than {_MAX_DEPTH} levels deep")
    if not isinstance(value, dict):
        _refuse(path, "it is not a JSON object")
    if _depth(value) > _MAX_DEPTH:
        _refuse(path, f"it is nested more than {_MAX_DEPTH} levels deep")
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            _refuse(path, "a text holds half of a surrogate pair")
    return value


def _depth(value: object) -> int:
    depth = 0
    level: list[object] = [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def _metadata(value: object, path: str) -> Mapping[str, str]:
    if value is None:
        return MappingProxyType({})
    if not isinstance(value, dict):
        _refuse(path, f"`__metadata__` is {_kind(value)}, expected an object of texts")
    for name, text in value.items():
        if not isinstance(text, str):
            _refuse(path, f"`__metadata__` {quoted(name)} is {_kind(text)}, expected a text")
    return MappingProxyType(value)


def _tensor(name: str, entry: object, header: int, path: str, warnings: list[str]) -> TensorInfo:
    if not name:
        _refuse(path, "a tensor has an empty name")
    control = next(
        (character for character in name if ord(character) < 32 or 127 <= ord(character) < 160), None
    )
    if control is not None:
        _refuse(path, f"the tensor name {quoted(name)} holds the control character U+{ord(control):04X}")
    label = f"tensor {quoted(name)}"
    if not isinstance(entry, dict):
        _refuse(path, f"{label} is {_kind(entry)}, expected an object")
    if missing := sorted(_FIELDS - entry.keys()):
        _refuse(path, f"{label} has no `{missing[0]}`")
    if unknown := sorted(entry.keys() - _FIELDS):
        warnings.append(f"{escape(path)}: {label} has an unknown field {quoted(unknown[0])}.")
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        _refuse(path, f"{label} has the dtype {quoted(str(dtype))}, which safetensors does not know")
    shape = _integers(entry["shape"], f"the shape of {label}", path)
    offsets = _integers(entry["data_offsets"], f"`data_offsets` of {label}", path)
    if len(offsets) != 2:
        _refuse(path, f"`data_offsets` of {label} holds {len(offsets)} numbers, expected 2")
    size = _bytes(dtype, shape, label, path)
    start, end = offsets
    if end - start != size:
        shown = f"{dtype} {list(shape)}"
        _refuse(path, f"{label} spans {end - start} bytes, expected {size} for {quoted(shown)[1:-1]}")
    item = max(1, DTYPE_BITS[dtype] // 8)
    if (header + start) % item:
        warnings.append(
            f"{escape(path)}: {label} does not lie on a multiple of {item} bytes; it loads slower."
        )
    return TensorInfo(name, dtype, shape, header + start, header + end)


def _integers(value: object, what: str, path: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        _refuse(path, f"{what} is {_kind(value)}, expected a list")
    for item in value:
        if type(item) is not int or not 0 <= item <= _MAX_U64:
            _refuse(path, f"{what} holds {quoted(str(item))}, expected integers from 0 to 2^64-1")
    return tuple(value)


def _bytes(dtype: str, shape: tuple[int, ...], label: str, path: str) -> int:
    bits = DTYPE_BITS[dtype]
    items = 1
    for length in shape:  # in this order, as the reference multiplies
        items *= length
        if items > _MAX_U64:
            break
    if items * bits > _MAX_U64:
        _refuse(path, f"{label} has a shape whose size overflows 64 bits")
    if items * bits % 8:
        _refuse(path, f"{label} does not end on a whole byte: {items} items of {bits} bits")
    return items * bits // 8


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
