"""A text as it was typed, out of what pages, chats and shells made of it: entities, escapes, characters unseen."""

from __future__ import annotations

import re
from collections.abc import Callable

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe0e\ufe0f\ufeff]"
)
_NAMED = {
    "amp": "&",
    "quot": '"',
    "apos": "'",
    "lt": "<",
    "gt": ">",
    "nbsp": " ",
    "equals": "=",
    "colon": ":",
}
_ENTITY = re.compile(r"&(?:(amp|quot|apos|lt|gt|nbsp|equals|colon)|#0*(\d{2,3})|#[xX]0*([0-9a-fA-F]{2}));")
_ESCAPED = re.compile(r"\\(?:u0026|x26)", re.IGNORECASE)
_BACKSLASH = re.compile(r"\\([&?=:_%*~\[\]().!#+-])")
_WIDE = str.maketrans("\uff1a\uff1f\uff06\uff1d\uff05\uff0e\uff0f", ":?&=%./")


def unwrapped(text: str, *, wide: bool) -> tuple[str, tuple[str, ...]]:
    """The text as it was typed, without white space around it, and what was undone, in plain words.

    Args:
        text: copied from somewhere.
        wide: whether the wide forms of `:?&=%./`, which East Asian keyboards give, are made plain too.
    """
    steps: list[tuple[str, Callable[[str], str]]] = [
        ("took out invisible characters", lambda old: _INVISIBLE.sub("", old)),
        ("made wide characters plain", lambda old: old.translate(_WIDE) if wide else old),
        ("undid HTML entities", _without_entities),
        ("undid backslashes", lambda old: _BACKSLASH.sub(r"\1", _ESCAPED.sub("&", old))),
    ]
    changes = []
    for what, step in steps:
        new = step(text)
        if new != text:
            changes.append(what)
            text = new
    return text.strip(), tuple(changes)


def _without_entities(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        if match[1]:
            return _NAMED[match[1]]
        code = int(match[2]) if match[2] else int(match[3], 16)
        return chr(code) if 0x20 <= code < 0x7F else match[0]

    for _ in range(4):  # `&amp;amp;` is two of them
        new = _ENTITY.sub(plain, text)
        if new == text:
            break
        text = new
    return text
