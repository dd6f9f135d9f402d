"""Magnet links as chats, social sites and shells leave them, put right as far as that can be done without guessing.

Pure: nothing is looked up, and nothing is made up. A hash is taken as it stands or not at all, and a tracker whose host
is gone is left out; both are said. A link that is sound comes back as it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from weightshare.manifest.magnet import MAX_LINK
from weightshare.manifest.page_text import unwrapped
from weightshare.manifest.text import escape
from weightshare.manifest.tracker_mending import mend

_HEX = r"[0-9a-f]"
_KEYS = r"(?:xt|dn|tr|ws|xs|as|kt|mt|xl|so|x\.pe|x\.wsk|x\.wse)(?:\.\d+)?="
_MAGNET = re.compile(r"magnet:[\s/]*\??\s*(?=" + _KEYS + r"|urn:)", re.IGNORECASE)
_ANY_MAGNET = re.compile(r"magnet:", re.IGNORECASE)
_ENCODED = re.compile(r"magnet%(?:25)*3a[^\s&\"'<>]*", re.IGNORECASE)
_BEHEADED = re.compile(r"(?<![a-z0-9])\??(?:xt(?:\.\d+)?=)?(?:urn:)?bt[im]h:", re.IGNORECASE)
_LATER_KEY = re.compile(r"&" + _KEYS, re.IGNORECASE)
_V1, _V2 = re.compile(_HEX + "{40}", re.I), re.compile(r"(?:1220)?" + _HEX + "{64}", re.I)
# 32 digits that are all hex are an MD5, and 32 letters a name.
_BASE32 = re.compile(r"(?=[A-Fa-f2-7]*[G-Zg-z])(?=[A-Za-z]*[2-7])(?:[A-Z2-7]{32}|[a-z2-7]{32})", re.ASCII)
_TOPIC = re.compile(r"(?:urn:)?(bt[im]h):(.*)", re.IGNORECASE | re.DOTALL)
_WHOLE = re.compile(r"(?:btih:[0-9a-f]{40}|btmh:1220[0-9a-f]{64})$", re.IGNORECASE)
_LEADING_HASH = re.compile(r"(1220[0-9a-f]{64}|[0-9a-f]{40}|[a-z2-7]{32})(?![0-9a-z])", re.IGNORECASE)
_CLOSING = {
    "<": ">",
    '"': '"',
    "'": "'",
    "`": "`",
    "(": ")",
    "[": "]",
    "{": "}",
    "\u201c": "\u201d",
    "\u2018": "\u2019",
    "\u00ab": "\u00bb",
    "\u201e": "\u201c",
}
_TAIL = "\"'`<>\u201d\u2019\u00bb\u201c*|)]},;:!"
_WORDS = 500
_DEPTH = 8
_URL_KEYS = ("tr", "ws", "xs")


@dataclass(frozen=True, slots=True)
class Repaired:
    """A text after repair.

    Attributes:
        text: the link, or what came in where no link was found in it.
        changes: what was put right, in plain words; empty if the link was sound.
        dropped: which parts are lost, and why. What they quote is escaped.
    """

    text: str
    changes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Both, as sentences for whoever gave the link."""
        said = (f"the link was repaired: {', '.join(self.changes)}",) if self.changes else ()
        return (*said, *(f"the link has lost {part}" for part in self.dropped))


def repair(text: str) -> Repaired:
    """Repair a magnet link or info-hash that was mangled on its way here.

    Args:
        text: a link (BEP 9), with whatever surrounds it.

    Returns:
        The link in one piece. A link without a whole info-hash cannot be repaired: the hash is among what was dropped,
        and reading the text as a magnet fails. Repairing it again changes nothing.
    """
    seen = _once(text)
    if seen.text == text:
        return seen
    for _ in range(_DEPTH):  # what is left once a part has gone may be a head, which it was not before
        again = _once(seen.text)
        if again.text == seen.text:
            break
        changes, dropped = (*seen.changes, *again.changes), (*seen.dropped, *again.dropped)
        seen = Repaired(again.text, tuple(dict.fromkeys(changes)), tuple(dict.fromkeys(dropped)))
    return seen


def _once(text: str) -> Repaired:
    """One pass over the text."""
    if len(text) > 2 * MAX_LINK:
        return Repaired(text)
    work = _Work()
    plain = work.plain(text.strip())
    link = work.found(plain)
    if link is None:
        return Repaired(text)
    mended = work.parameters(link)
    if not work.changes and not work.dropped:
        return Repaired(text)
    return Repaired(mended, tuple(dict.fromkeys(work.changes)), tuple(dict.fromkeys(work.dropped)))


def holds_link(text: str) -> bool:
    """Whether a text is a magnet link, or one can be made out of it; an info-hash alone is none."""
    return repair(text).text.lower().startswith("magnet:")


class _Work:
    """One repair: what was changed and dropped on the way."""

    def __init__(self) -> None:
        self.changes: list[str] = []
        self.dropped: list[str] = []

    def plain(self, text: str) -> str:
        """The text without what only a page or a shell needs, as far as there is a link in it."""
        new, changes = unwrapped(text, wide=_MAGNET.search(text) is None)
        if not any(pattern.search(new) for pattern in (_ANY_MAGNET, _ENCODED, _BEHEADED)) and not _bare(new):
            return text
        self.changes += changes
        return new

    def found(self, text: str) -> str | None:
        """The link within the text; None if there is none."""
        bare = _bare(text)
        if bare is not None:
            return self._from_hash(text, bare)
        encoded = _ENCODED.search(text)
        start = _MAGNET.search(text)
        if encoded is not None and (start is None or encoded.start() < start.start()):
            decoded = encoded[0]
            for _ in range(_DEPTH):
                if "magnet:" not in decoded.lower():
                    decoded = unquote(decoded)
            self.changes.append("decoded the link")
            if encoded.start():
                self.changes.append("took out the text before it")
            text, start = decoded, _MAGNET.search(decoded)
        beheaded = _BEHEADED.search(text)
        if start is None and beheaded is None:
            return None
        if start is not None and (beheaded is None or start.start() < beheaded.start()):
            before, body = text[: start.start()], text[start.end() :]
            if text[start.start() : start.end()].lower() != "magnet:?":
                self.changes.append("put back magnet:?")
        else:
            assert beheaded is not None  # noqa: S101  for the type checker: one of the two was found
            before, body = text[: beheaded.start()], text[beheaded.start() :].removeprefix("?")
            self.changes.append("put back magnet:?")
        if before.strip():
            self.changes.append("took out the text before it")
        return "magnet:?" + self._inside(before, body)

    def _from_hash(self, text: str, bare: str) -> str:
        if text != bare:
            self.changes.append("took out what surrounds the hash")
        if _BASE32.fullmatch(bare):
            self.changes.append("put magnet:? before the hash")
            return f"magnet:?xt=urn:btih:{bare}"
        return bare

    def _inside(self, before: str, body: str) -> str:
        """The link's parameters, without what follows the link."""
        opening = before.rstrip()[-1:]
        if opening in _CLOSING:
            end = _closed(body, opening, _CLOSING[opening])
            if end is not None:
                if body[end + 1 :].strip():
                    self.changes.append("took out the text after it")
                body = body[:end]
        second = _ANY_MAGNET.search(body)
        if second is not None and body[: second.start()][-1:] != "=":
            self.dropped.append("a second link that stood after it")
            body = body[: second.start()]
        body = self._joined(body.strip())
        inner = body.rstrip(_TAIL)
        if inner != body and not _balanced(body, body[len(inner) :]):
            self.changes.append("took out punctuation after it")
            body = inner
        if body.endswith("announce."):
            self.changes.append("took out punctuation after it")
            body = body[:-1]
        return body

    def _joined(self, body: str) -> str:
        """The parameters with spaces and line breaks inside taken out, up to where prose begins."""
        words = body.split()
        if len(words) < 2:
            return body
        last = max((number for number, word in enumerate(words) if _LATER_KEY.search(word)), default=0)
        link = words[0]
        if last > _WORDS:
            last = 0
        for number, word in enumerate(words[1:], 1):
            whole = _WHOLE.search(link) is not None and not word.startswith("&")
            if whole or (number > last and not _goes_on(link, word)):
                self.changes.append("took out the text after it")
                break
            name = re.search(r"(?:^|&)dn=[^&]*$", link, re.IGNORECASE)
            link += (
                "%20" if name and not word.startswith("&") and not link.endswith(("=", "%")) else ""
            ) + word
            self.changes.append("took out spaces and line breaks")
        return link

    def parameters(self, link: str) -> str:
        """The link with each of its parameters mended."""
        head, mark, query = link.partition("?")
        if not mark:
            return link
        parts = []
        twice = re.search(r"(?:^|&)xt=urn%25(?:25)*3a", query, re.IGNORECASE) is not None
        for number, parameter in enumerate(query.split("&")):
            key, equals, value = parameter.partition("=")
            if not equals and number == 0 and key.lower().startswith(("urn:", "btih:", "btmh:")):
                key, equals, value = "xt", "=", parameter
                self.changes.append("put back xt=")
            kind = re.sub(r"\.\d+$", "", key.lower())
            if kind == "xt":
                kept = self._topic(value)
            elif kind in _URL_KEYS:
                kept = self._url(kind, value)
            elif kind == "dn" and twice:
                kept = quote(unquote(unquote(value)), safe="-_.~+")
            else:
                kept = value
            if kept is not None:
                parts.append(f"{key}{equals}{kept}")
        return f"{head}?{'&'.join(parts)}"

    def _topic(self, value: str) -> str | None:
        """An info-hash that is whole, None where it is not; a topic of another kind as it is."""
        text = value
        for _ in range(_DEPTH):
            if re.match(r"(?:urn|bt[im]h)(?::bt[im]h)?%(?:25)*3a", text, re.IGNORECASE):
                text = unquote(text)
        found = _TOPIC.fullmatch(text)
        if found is None:
            return value
        kind, digits = found[1].lower(), found[2]
        whole = _LEADING_HASH.match(digits)
        if whole is None or (kind == "btmh") != (len(whole[1]) == 68):
            self.dropped.append(f"xt={escape(_shortened(text))}: no whole info-hash is left of it")
            return None
        if whole[1] != digits:
            self.changes.append("took out what followed the info-hash")
        elif text.lower().startswith("urn:"):
            if text != unquote(value):
                self.changes.append("decoded twice what was encoded twice")
                return text
            return value
        else:
            self.changes.append("put back urn:")
        return f"urn:{found[1]}:{whole[1]}"

    def _url(self, kind: str, value: str) -> str | None:
        mended = mend(value)
        if mended.lost:
            self.dropped.append(f"{kind}={escape(_shortened(unquote(value)))}: {mended.lost}")
            return None
        if not mended.changes:
            return value
        self.changes += mended.changes
        return quote(mended.url, safe="")


def _bare(text: str) -> str | None:
    """An info-hash that is all there is, but for what surrounds it."""
    inner = text.strip().strip("\"'`<>()[]{}\u201c\u201d\u2018\u2019\u00ab\u00bb\u201e*|,;.: \t\r\n")
    if _V1.fullmatch(inner) or _V2.fullmatch(inner) or _BASE32.fullmatch(inner):
        return inner
    return None


def _closed(body: str, opening: str, closing: str) -> int | None:
    """Where the bracket or quote that stands before the link ends."""
    depth = 0
    for number, character in enumerate(body):
        if character == closing and depth == 0:
            return number
        if opening != closing:
            depth += (character == opening) - (character == closing)
    return None


def _balanced(body: str, tail: str) -> bool:
    """Whether brackets at the end belong to the link, as in `x.pe=[::1]` and a URL's `(1)`."""
    pairs = {")": "(", "]": "[", "}": "{"}
    return all(mark in pairs and body.count(mark) <= body.count(pairs[mark]) for mark in tail)


def _goes_on(link: str, word: str) -> bool:
    """Whether a word after white space belongs to the link before it, though no parameter after it shows that."""
    if re.search(r"[&=%:/?]$|%[0-9a-f]{1,2}$", link, re.IGNORECASE):
        return True
    topic = re.search(r"bt(i|m)h:(" + _HEX + "*)$", link, re.IGNORECASE)
    if topic is not None:
        missing = (40 if topic[1].lower() == "i" else 68) - len(topic[2])
        digits = len(word) - len(word.lower().lstrip("0123456789abcdef"))
        return 0 < digits <= missing and word[digits : digits + 1] in ("", "&")
    ends = re.search(r"(?:%2f|/)([a-z]{1,7})$", link, re.IGNORECASE)
    return ends is not None and f"{ends[1]}{word}".lower() == "announce"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
