"""One URL of a magnet link, mended: trackers above all, which chat and social sites take for web pages.

A site that makes links of host names sees one in `udp%3A%2F%2Ftracker.example`: `2Ftracker.example`. It puts `http://`
before it, which leaves `udp%3A%2F%http://2Ftracker.example`, or a short link of its own in its place, which leaves
nothing. The first can be undone exactly; of the second the host is gone, and no host is made up here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

_DEPTH = 6
"""Percent-encodings on top of each other that are undone."""

SHORTENERS = frozenset(
    ("t.co", "bit.ly", "buff.ly", "dlvr.it", "fb.me", "goo.gl", "is.gd", "lnkd.in", "ow.ly", "tinyurl.com")
)
"""Hosts of short links: what one stands for only its maker knows, and a tracker it is never."""

_SCHEME = r"(?P<scheme>udp|https?|wss?)"
_GOOD = re.compile(
    _SCHEME + r"://(?P<host>[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?\.?|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<rest>[/?][^\s\\]*)?",
    re.ASCII | re.IGNORECASE,
)
# `udp:/%http://2Fhost`, and what a filter that breaks links makes of it: `udp:/-tp://2Fhost`.
_LINKED = re.compile(
    _SCHEME + r":/?/?(?:%|-|%25)?(?:h?t?tps?|hxxps?)://(?P<slash>2F)?/?(?P<rest>.*)", re.ASCII | re.IGNORECASE
)
_ONE_SLASH = re.compile(_SCHEME + r":/(?P<rest>[^/].*)", re.ASCII | re.IGNORECASE)
_SLASH_BEFORE_PORT = re.compile(
    _SCHEME + r"://(?P<host>[a-z0-9._-]{1,253})/:(?P<port>[0-9]{1,5})(?P<rest>/.*)?", re.ASCII | re.IGNORECASE
)
_WEB_BEFORE_HOST = re.compile(r"(?:https?://)(?P<rest>" + _SCHEME + r"://.*)", re.ASCII | re.IGNORECASE)
_CUTS = ("…", "...")
_BROKEN = ("udp:/%", "udp:/-", "http:/%", "http:/-", "https:/%", "https:/-", "wss:/%", "ws:/%")


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of a URL.

    Attributes:
        url: the URL, decoded; empty if it is lost.
        changes: what was put right.
        lost: why nothing can be made of it.
    """

    url: str
    changes: tuple[str, ...] = ()
    lost: str = ""


def mend(value: str) -> Mended:
    """Mend a URL as it stands in a link.

    Args:
        value: percent-encoded, once as it should be, or more often, or not at all.

    Returns:
        The URL unchanged where nothing is wrong with it, also where it is of a scheme that is none of a tracker's.
    """
    changes: list[str] = []
    url = unquote(value)
    for _ in range(_DEPTH):
        if _GOOD.fullmatch(url) or not re.match(r"[a-z]{2,5}%(?:25)*3a", url, re.IGNORECASE):
            break
        url = unquote(url)
        changes.append("decoded twice what was encoded twice")
    url = _unlinked(url, changes)
    cut = url.endswith(_CUTS)
    if cut:
        url = url.rstrip("….")
        changes.append("took out the dots where it was cut short")
    if not changes and not url.lower().startswith(_BROKEN):
        # Odd, perhaps, but nothing that a chat or a site does; whoever reads the link decides.
        host = re.match(_SCHEME + r"://([^/?#:]*)", url, re.IGNORECASE)
        short = host is not None and host[2].lower().rstrip(".") in SHORTENERS
        return Mended("", lost="a short link stands where its host stood") if short else Mended(url)
    return _checked(url, tuple(dict.fromkeys(changes)), cut)


def _checked(url: str, changes: tuple[str, ...], cut: bool) -> Mended:
    """What was mended, if it is a whole URL now."""
    found = _GOOD.fullmatch(url)
    if found is None:
        return Mended("", lost="it is cut short" if cut else "it is no URL any more")
    if found["host"].lower().rstrip(".") in SHORTENERS:
        return Mended("", lost="a short link stands where its host stood")
    if found["port"] and not 0 < int(found["port"]) < 65536:
        return Mended("", lost=f"{found['port']} is no port")
    if found["scheme"].lower() == "udp" and not found["port"]:
        return Mended("", lost="its port is lost")
    if cut and not _survives_a_cut(found):
        return Mended("", lost="it is cut short")
    return Mended(url, changes)


def _unlinked(url: str, changes: list[str]) -> str:
    """The URL without what a site that makes links put into it."""
    if _GOOD.fullmatch(url) and not _LINKED.fullmatch(url) and not _SLASH_BEFORE_PORT.fullmatch(url):
        return url
    if (web := _WEB_BEFORE_HOST.fullmatch(url)) is not None:
        url = web["rest"]
        changes.append("took out the http:// that a site put before it")
    if (linked := _LINKED.fullmatch(url)) is not None:
        url = f"{linked['scheme']}://{linked['rest']}"
        changes.append("took out the http:// that a site put into it")
    elif (single := _ONE_SLASH.fullmatch(url)) is not None:
        url = f"{single['scheme']}://{single['rest']}"
        changes.append("put back a slash")
    if (early := _SLASH_BEFORE_PORT.fullmatch(url)) is not None:
        url = f"{early['scheme']}://{early['host']}:{early['port']}{early['rest'] or ''}"
        changes.append("took out the slash before the port")
    return url


def _survives_a_cut(found: re.Match[str]) -> bool:
    """Whether what is left of a URL names the tracker: with UDP the path plays no part (BEP 15)."""
    rest = found["rest"] or ""
    return rest.endswith("/announce") or (found["scheme"].lower() == "udp" and rest.startswith("/"))
