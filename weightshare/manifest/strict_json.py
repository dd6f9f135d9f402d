"""JSON for signed documents: one reading, bounded work.

Two programs must never read two things from the same bytes, so everything on which parsers differ is refused:
duplicate keys, floats, NaN, integers past 2^53-1, lone surrogates, a byte order mark, junk at the end. Size,
depth and the number of values are checked by a linear scan before anything is built.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate

from weightshare.errors import ManifestError
from weightshare.manifest.text import quoted
from weightshare.units import MAX_JSON_DEPTH, MAX_JSON_INTEGER

MAX_MARKS = 1_000_000
"""Strings, brackets and commas in one document; a release of 10,000 files has about 400,000."""

_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_UNMARKED = bytes(set(range(256)) - set(b'"[]{},'))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def loads(data: bytes, *, limit: int, what: str, whole_floats: bool = False) -> object:
    """Read one JSON document.

    Args:
        data: UTF-8, without a byte order mark.
        limit: bytes it may have.
        what: what it is, for messages: `manifest`.
        whole_floats: take `1000.0` for 1000, as programs write it that know no integers (protobuf's `Struct`).

    Raises:
        ManifestError: it is not JSON, or JSON that is refused here.
    """
    if len(data) > limit:
        raise _error(what, f"{len(data):,} bytes, {limit:,} at most")
    _scan(data, what)
    try:
        text = data.decode("utf-8")
        value: object = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_whole_float if whole_floats else _refuse_float,
            parse_constant=_refuse_constant,
        )
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise _error(what, f"not UTF-8 at byte {error.start:,}") from error
    except UnicodeEncodeError as error:
        raise _error(what, "an escape for half a character (a lone surrogate)") from error
    except json.JSONDecodeError as error:
        raise _error(what, f"{error.msg} at character {error.pos:,}") from error
    except _RefusedError as error:
        raise _error(what, str(error)) from error
    return value


def dumps(value: object) -> bytes:
    """Write JSON: keys sorted, no spaces, UTF-8; the same bytes for the same value everywhere.

    Raises:
        ValueError: a NaN or an infinity.
        TypeError: something JSON has no form for.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


class _RefusedError(Exception):
    """A value that JSON allows and a signed document may not hold."""


def _scan(data: bytes, what: str) -> None:
    """Count and measure before anything is built: a few passes over the bytes, whatever they hold."""
    # Escapes stand in strings only; without them, every other stretch between quotes is outside of any string.
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in data else data
    marks = plain.translate(_ONE_KIND, _UNMARKED)
    strings = (marks.count(b'"') + 1) // 2
    outside = b"".join(marks.split(b'"')[::2]) if strings <= MAX_MARKS else b""
    if strings + len(outside) > MAX_MARKS:
        raise _error(what, f"more than {MAX_MARKS:,} strings, brackets and commas")
    brackets = left = outside.replace(b",", b"")
    # Each round takes the innermost level away, so what is sound and shallow is gone by then.
    for _ in range(MAX_JSON_DEPTH):
        left = left.replace(b"[]", b"")
    if left and _depth(brackets) > MAX_JSON_DEPTH:
        raise _error(what, f"more than {MAX_JSON_DEPTH} levels deep")


def _depth(brackets: bytes) -> int:
    """How deep a parser gets at most, whether or not the brackets match."""
    return max(accumulate(1 if bracket == ord("[") else -1 for bracket in brackets))


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RefusedError(f"the key {quoted(key)} is there twice")
            seen.add(key)
    return result


def _integer(text: str) -> int:
    if len(text) > 17 or not -MAX_JSON_INTEGER <= (value := int(text)) <= MAX_JSON_INTEGER:
        raise _RefusedError(f"the integer {quoted(text, 24)} is past 2^53-1")
    return value


def _whole_float(text: str) -> object:
    whole, _, fraction = text.partition(".")
    return _integer(whole) if fraction == "0" else _refuse_float(text)


def _refuse_float(text: str) -> object:
    raise _RefusedError(f"the number {quoted(text, 24)} is no integer")


def _refuse_constant(text: str) -> object:
    raise _RefusedError(f"{text} is no JSON number")


def _error(what: str, problem: str) -> ManifestError:
    return ManifestError(f"The {what} is not valid: {problem}.", field="")
