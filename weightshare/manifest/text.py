"""Text that will be shown to people: what it may not contain, and how to show what does.

A name or a summary comes from whoever wrote it. Control characters could drive the reader's terminal, and
bidirectional overrides could show another name than the one that is checked. The set is spelt out, so that it
is the same for every version of Python's Unicode tables.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, overrides and isolates
    "\u2028\u2029"  # line and paragraph separators
    "\ufeff\ufff9-\ufffb"  # byte order mark, interlinear annotation
    "\ud800-\udfff"  # lone surrogates
    "\U000e0000-\U000e007f"  # invisible tags
    "]"
)


def unsafe_character(text: str) -> str | None:
    """The first character that must not reach a terminal, or None."""
    match = _UNSAFE.search(text)
    return match[0] if match else None


def escape(text: str) -> str:
    r"""The text with every such character written as an escape: `\x1b`, `\u202e`. Safe to print anywhere."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def quoted(text: str, limit: int = 120) -> str:
    """A hostile text for a message: quoted, escaped, and cut short."""
    return repr(escape(text if len(text) <= limit else text[: limit - 1] + "…")).replace("\\\\", "\\")
