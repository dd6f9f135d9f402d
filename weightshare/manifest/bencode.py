"""Bencoding (BEP 3), strict: one value has one encoding, so decoding and encoding again gives the same bytes.

Refused on decoding: keys that are unsorted or there twice, leading zeros, `-0`, integers outside 64 bits,
anything after the value, more depth or more items than allowed. Nothing recurses, and nothing is allocated on
the word of a length that the data does not back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from weightshare.errors import MetainfoError

MAX_ITEMS = 1_000_000
"""Values and keys in one document; a release of 10,000 files has about 200,000."""

_INTEGER = re.compile(rb"i(0|-?[1-9][0-9]{0,18})e")
_LENGTH = re.compile(rb"(0|[1-9][0-9]{0,9}):")
_END, _LIST, _DICT, _INT, _ZERO, _NINE = b"eldi09"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value that is bencoded already, and goes into a document as it is."""

    data: bytes


def encode(value: object) -> bytes:
    """Bencode integers, bytes, texts (as UTF-8), lists, tuples, dictionaries and what is `Encoded` already.

    Raises:
        TypeError: another type, or a dictionary key that is neither bytes nor text.
        ValueError: an integer outside 64 bits.
    """
    out: list[bytes] = []
    _encode(value, out)
    return b"".join(out)


def _encode(value: object, out: list[bytes]) -> None:
    match value:
        case bool():
            raise TypeError("bencoding has no booleans")
        case int():
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"{value} does not fit 64 bits")
            out.append(b"i%de" % value)
        case bytes():
            out.append(b"%d:" % len(value))
            out.append(value)
        case str():
            _encode(value.encode(), out)
        case list() | tuple():
            out.append(b"l")
            for item in value:
                _encode(item, out)
            out.append(b"e")
        case dict():
            out.append(b"d")
            keys = {_key(key): item for key, item in value.items()}
            for key in sorted(keys):
                _encode(key, out)
                _encode(keys[key], out)
            out.append(b"e")
        case Encoded():
            out.append(value.data)
        case _:
            raise TypeError(f"bencoding has no {type(value).__name__}")


def _key(key: object) -> bytes:
    if isinstance(key, str):
        return key.encode()
    if isinstance(key, bytes):
        return key
    raise TypeError(f"a key must be bytes or text, not {type(key).__name__}")


def decode(data: bytes, *, limit: int, what: str, max_depth: int = 64, max_items: int = MAX_ITEMS) -> object:
    """Decode one bencoded value; texts and keys stay bytes.

    Args:
        data: the whole document.
        limit: bytes it may have.
        what: what it is, for messages: `info dictionary`.
        max_depth: how many lists and dictionaries may lie within each other.
        max_items: how many values and keys there may be.

    Raises:
        MetainfoError: it is not strict bencoding, or larger, deeper or fuller than allowed.
    """
    if len(data) > limit:
        raise _error(what, f"{len(data):,} bytes, {limit:,} at most")
    # Open containers, innermost last; for a dictionary its latest key, and whether that key waits for its
    # value.
    stack: list[tuple[list[object] | dict[bytes, object], bytes | None]] = []
    position = items = 0
    length_at = _LENGTH.match
    while True:
        if position >= len(data):
            raise _error(what, f"it ends in the middle of a value, at byte {position:,}")
        items += 1
        if items > max_items:
            raise _error(what, f"more than {max_items:,} values")
        kind = data[position]
        value: object
        if _ZERO <= kind <= _NINE:  # most of a document is strings
            match = length_at(data, position)
            if match is None:
                raise _error(what, f"not a value at byte {position:,}")
            start = match.end()
            position = start + int(match[1])
            if position > len(data):
                raise _error(what, f"a string longer than the data, at byte {match.start():,}")
            value = data[start:position]
        elif kind in (_LIST, _DICT):
            if len(stack) >= max_depth:
                raise _error(what, f"more than {max_depth} levels deep")
            stack.append(([] if kind == _LIST else {}, None))
            position += 1
            continue
        elif kind == _END:
            if not stack:
                raise _error(what, f"an end without a beginning at byte {position:,}")
            container, key = stack.pop()
            if isinstance(container, dict) and key is not None and key not in container:
                raise _error(what, f"a key without a value at byte {position:,}")
            value = container
            position += 1
        elif kind == _INT:
            value, position = _integer(data, position, what)
        else:
            raise _error(what, f"not a value at byte {position:,}")
        if not stack:
            break
        container, key = stack[-1]
        if isinstance(container, list):
            container.append(value)
        elif key is not None and key not in container:
            container[key] = value
        elif not isinstance(value, bytes):
            raise _error(what, f"a key that is no string, before byte {position:,}")
        elif key is not None and value <= key:
            raise _error(what, f"keys unsorted or there twice, before byte {position:,}")
        else:
            stack[-1] = (container, value)
    if position != len(data):
        raise _error(what, f"{len(data) - position:,} bytes too many after the value")
    return value


def _integer(data: bytes, position: int, what: str) -> tuple[int, int]:
    match = _INTEGER.match(data, position)
    if match is None:
        raise _error(what, f"not an integer at byte {position:,}")
    value = int(match[1])
    if not -(2**63) <= value < 2**63:
        raise _error(what, f"an integer outside 64 bits at byte {position:,}")
    return value, match.end()


def _error(what: str, problem: str) -> MetainfoError:
    return MetainfoError(f"The {what} is not valid bencoding: {problem}.", field="")
