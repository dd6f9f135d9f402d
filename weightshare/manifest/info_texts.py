"""Texts of a raw info dictionary, and what may be wrong with a field of it: for the readers of v1 and v2."""

from __future__ import annotations

from weightshare.errors import MetainfoError, UnsafePathError
from weightshare.manifest.text import quoted


def text_of(value: object, where: str) -> str:
    """A text of the info dictionary.

    Raises:
        MetainfoError: it is none.
        UnsafePathError: it is not UTF-8.
    """
    if not isinstance(value, bytes):
        raise problem(where, "a text is expected")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = value[:120].decode("utf-8", "backslashreplace")
        raise UnsafePathError(
            f"Unsafe name {quoted(shown)}: it is not UTF-8.", path=shown, reason="it is not UTF-8"
        ) from error


def problem(where: str, what: str) -> MetainfoError:
    """What is wrong with a field of the info dictionary."""
    subject = f"The info dictionary, field `{where}`" if where else "The info dictionary"
    return MetainfoError(f"{subject}: {what}.", field=where)
