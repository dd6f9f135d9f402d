"""Reads the fields of signed JSON; every refusal names the field, what it held and what is expected."""

from __future__ import annotations

import re
from collections.abc import Iterator

from weightshare.errors import ManifestError
from weightshare.manifest.text import quoted, unsafe_character
from weightshare.units import MAX_JSON_INTEGER

MAX_TEXT = 500
"""Characters."""

MAX_ITEMS = 10_000
"""Entries of a list of which nothing else is said."""


class Fields:
    """A JSON object with the path that leads to it, so that every refusal can say where."""

    __slots__ = ("_index", "_where", "value")

    def __init__(self, value: object, where: str, index: int | None = None) -> None:
        self._where, self._index = where, index
        if not isinstance(value, dict):
            raise field_error(self.where, "an object is expected")
        self.value: dict[str, object] = value

    @property
    def where(self) -> str:
        """The full name of this object; put together when asked for, which a sound manifest never does."""
        return self._where if self._index is None else f"{self._where}[{self._index}]"

    def at(self, key: str) -> str:
        """The full name of a field."""
        return f"{self.where}.{key}" if self.where else key

    def has(self, key: str) -> bool:
        """Whether the field is there."""
        return key in self.value

    def get(self, key: str) -> object:
        """The field as it is, None if absent."""
        return self.value.get(key)

    def child(self, key: str) -> Fields:
        """A field that is an object."""
        return Fields(self.get(key), self.at(key))

    def children(self, key: str, limit: int = MAX_ITEMS) -> list[Fields]:
        """A field that is a list of objects; absent is empty."""
        return list(self.each(key, limit))

    def each(self, key: str, limit: int = MAX_ITEMS) -> Iterator[Fields]:
        """The same one after the other, for lists too long to have all of it at once."""
        where = self.at(key)
        for index, item in enumerate(self.items(key, limit)):
            yield Fields(item, where, index)

    def text(self, key: str, default: str | None = None, limit: int = MAX_TEXT) -> str:
        """A field that is a text to show."""
        value = self.value.get(key, default)
        return _shown(value, self.at(key), limit)

    def raw_text(self, key: str) -> str:
        """A text that `paths` checks by stricter rules, and refuses with its own error."""
        value = self.value.get(key)
        if not isinstance(value, str):
            raise field_error(self.at(key), "a text is expected")
        return value

    def texts(self, key: str, limit: int = MAX_ITEMS) -> tuple[str, ...]:
        """A field that is a list of texts to show; absent is empty."""
        return tuple(
            _shown(item, f"{self.at(key)}[{i}]", MAX_TEXT) for i, item in enumerate(self.items(key, limit))
        )

    def matching(self, key: str, pattern: re.Pattern[str], expected: str, default: str | None = None) -> str:
        """A text of a certain form; the pattern allows no character that must not be shown."""
        value = self.value.get(key, default)
        if isinstance(value, str) and len(value) <= MAX_TEXT and pattern.fullmatch(value):
            return value
        shown = self.text(key, default)
        raise field_error(self.at(key), f"{quoted(shown)}, where {expected} is expected")

    def integer(self, key: str) -> int:
        """An integer from 0 to 2^53-1."""
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_JSON_INTEGER:
            raise field_error(self.at(key), "an integer from 0 to 2^53-1 is expected")
        return value

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self.get(key)
        if not isinstance(value, bool):
            raise field_error(self.at(key), "true or false is expected")
        return value

    def digest(self, key: str) -> bytes:
        """A SHA-256 in lower-case hex."""
        value = self.value.get(key)
        return _digest(value) or read_digest(value, self.at(key))

    def items(self, key: str, limit: int = MAX_ITEMS) -> list[object]:
        """A field that is a list of whatever; absent is empty."""
        value = self.value.get(key, [])
        if not isinstance(value, list):
            raise field_error(self.at(key), "a list is expected")
        if len(value) > limit:
            raise field_error(self.at(key), f"{len(value):,} entries, {limit:,} at most")
        return value


def read_digest(value: object, where: str) -> bytes:
    """A SHA-256 in lower-case hex, as 32 bytes."""
    digest = _digest(value)
    if digest is None:
        raise field_error(where, "64 lower-case hex digits are expected")
    return digest


def _digest(value: object) -> bytes | None:
    if not isinstance(value, str) or len(value) != 64:
        return None
    try:
        digest = bytes.fromhex(value)
    except ValueError:
        return None
    # It takes capitals and passes over spaces; only the one form comes back the same.
    return digest if digest.hex() == value else None


def _shown(value: object, where: str, limit: int) -> str:
    if not isinstance(value, str):
        raise field_error(where, "a text is expected")
    if len(value) > limit:
        raise field_error(where, f"{len(value):,} characters, {limit:,} at most")
    if unsafe_character(value):
        raise field_error(where, f"{quoted(value)} holds a control character")
    return value


def field_error(where: str, problem: str) -> ManifestError:
    """The error for a field that breaks the format."""
    subject = f"The manifest, field `{where}`" if where else "The manifest"
    return ManifestError(
        f"{subject}: {problem}.", hint="The publisher has to publish the release again.", field=where
    )
