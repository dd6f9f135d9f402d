"""What an answer to a range request means: bytes that can be taken, a redirect, a reason to ask again, or the end."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from http.client import HTTPMessage
from urllib.parse import quote, urljoin, urlsplit

from weightshare.errors import SourceAccessError, SourceError
from weightshare.hub.backoff import retry_after

SKIP = 1 << 20
"""Bytes that are read and thrown away where a server sends a whole file though a part was asked."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class AgainError(Exception):
    """Not this time.

    Args:
        reason: what was wrong.
        wait: seconds that the source asks to wait, if it does.
        elsewhere: the URL itself may be spent; find out anew where the file is.
        status: HTTP's, where there was one.
        fatal: a source that keeps doing this is of no use.
        held: the source speaks for itself as a whole: nobody is to ask meanwhile.
    """

    def __init__(
        self,
        reason: str,
        *,
        wait: float | None = None,
        elsewhere: bool = False,
        status: int | None = None,
        fatal: bool = False,
        held: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.elsewhere = elsewhere
        self.status = status
        self.fatal = fatal
        self.held = held


@dataclass(frozen=True, slots=True)
class Span:
    """What a body holds of what was asked.

    Attributes:
        skip: bytes before the first that was asked.
        take: bytes that were asked, at most.
        whole: whether the connection can be used again after them.
    """

    skip: int
    take: int
    whole: bool


def span(status: int, headers: HTTPMessage, begin: int, end: int, url: str) -> Span:
    """Which bytes the body of an answer holds.

    Args:
        status: 200 or 206.
        headers: the answer's.
        begin: first byte asked.
        end: the byte after the last asked.
        url: for messages.

    Raises:
        AgainError: they are not those that were asked.
        SourceError: the file there is shorter.
    """
    coding = (headers.get("Content-Encoding") or "identity").strip().lower()
    if coding not in ("", "identity"):
        raise AgainError(
            f"the bytes came as {coding[:20]}, which was not asked for", fatal=True, elsewhere=True
        )
    length = _number(headers.get("Content-Length"))
    if status == 200:
        if length is not None and length < end:
            raise shorter(url, length, end)
        if begin > SKIP:
            raise AgainError("it sends whole files where a part is asked", fatal=True, elsewhere=True)
        return Span(begin, end - begin, length == end)
    said = (headers.get("Content-Range") or "").strip()
    found = _RANGE.fullmatch(said)
    if not found:
        raise AgainError("it does not say which bytes it sent", fatal=True, elsewhere=True)
    first, last = int(found[1]), int(found[2]) + 1
    if found[3] != "*" and int(found[3]) < end:
        raise shorter(url, int(found[3]), end)
    if first != begin or not first < last <= end or length not in (None, last - first):
        raise AgainError(
            f"bytes {begin}-{end - 1} were asked and {said[:60]} came", fatal=True, elsewhere=True
        )
    return Span(0, last - first, True)


def redirect(url: str, headers: HTTPMessage, seen: list[str], limit: int = 10) -> str:
    """Where an answer redirects to.

    Args:
        url: what was asked.
        headers: the answer's.
        seen: all URLs on the way so far.
        limit: redirects at most.

    Raises:
        SourceError: in a circle, too often, to something that is no URL of http, or from https to http.
    """
    said = headers.get("Location") or ""
    try:
        # A `Location` is often not quite a URL (RFC 9110, 10.2.2): what cannot stand in a request is quoted.
        target = quote(urljoin(url, said), safe="%/:=&?~#+!$,;'@()*[]|").partition("#")[0]
        parts = urlsplit(target)
        secure = parts.scheme == "https" or (parts.scheme == "http" and urlsplit(url).scheme == "http")
        proper = bool(parts.hostname) and parts.port != 0
    except ValueError:
        target, secure, proper = said, False, False
    if target in seen or len(seen) > limit:
        raise failed(url, "it redirects in a circle", fatal=True)
    if not proper or not secure:
        raise failed(url, f"it redirects to {target[:80]!r}, where nothing is fetched from", fatal=True)
    return target


def refused(
    status: int, headers: HTTPMessage, url: str, *, known: bool, signed: bool, hub: bool
) -> AgainError | SourceError:
    """What an answer that is neither bytes nor a redirect means.

    Args:
        status: HTTP's.
        headers: the answer's.
        url: what was asked.
        known: whether the URL was found out earlier, so that it may have expired since.
        signed: whether it is another host's, at which a redirect ended.
        hub: whether the source is the Hub, and no mirror.
    """
    if status in _AGAIN:
        held = status in (429, 503)
        return AgainError(_said(status, headers), wait=retry_after(headers), status=status, held=held)
    if known or (signed and status in (400, 401, 403)):
        return AgainError(_said(status, headers), elsewhere=True, status=status)
    if status == 416:
        return failed(url, "the file there is shorter", status=416, fatal=True, lacks=True)
    if status in (404, 410):
        missing = headers.get("X-Error-Code") in ("RepoNotFound", "RevisionNotFound")
        reason = "the repository or its revision is not there" if missing else "it does not have this file"
        return failed(url, reason, status=status, fatal=True, lacks=not missing)
    if status in (401, 403, 407):
        return no_access(status, headers, url, hub=hub)
    return failed(url, _said(status, headers), status=status, fatal=True)


def no_access(status: int, headers: HTTPMessage, url: str, *, hub: bool) -> SourceAccessError:
    """The error where we are not let in; what a mirror other than the Hub wants of us is not known."""
    reason, hint = f"the answer was {status}", "Fetch from peers alone, or from another source."
    if hub and headers.get("X-Error-Code") == "GatedRepo":
        reason = "the model is gated"
        hint = "Accept its terms on its page there, then put a token of the same account into HF_TOKEN."
    elif hub and status == 401:
        reason = "it wants a token, or there is no such repository"
        hint = "Private or gated: put a token into HF_TOKEN, or run `hf auth login`. Or fetch from peers."
    elif hub:
        hint = "Look whether the token in HF_TOKEN may read this repository. Or fetch from peers."
    message = f"{urlsplit(url).hostname} does not let us in: {reason}."
    return SourceAccessError(message, hint=hint, url=shown(url), status=status, fatal=True)


def failed(
    url: str,
    reason: str,
    *,
    status: int | None = None,
    fatal: bool = False,
    lacks: bool = False,
    retry_in: float | None = None,
) -> SourceError:
    """The error where a source did not give what was asked."""
    hint = "Fetch from peers alone, or from another source." if fatal else "Try again; what arrived is kept."
    return SourceError(
        f"{shown(url)} did not give its bytes: {reason}.",
        hint=hint,
        url=shown(url),
        status=status,
        fatal=fatal,
        lacks=lacks,
        retry_at=None if retry_in is None else time.monotonic() + retry_in,
    )


def shorter(url: str, length: int, end: int) -> SourceError:
    """The error where a file ends too early to be the one that was signed."""
    return failed(
        url, f"the file there has {length} bytes, and at least {end} were expected", fatal=True, lacks=True
    )


def shown(url: str) -> str:
    """A URL for messages: without its query, which may be a signature, and without a name and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _said(status: int, headers: HTTPMessage) -> str:
    words = (headers.get("X-Error-Message") or "").strip()
    words = "".join(char for char in words if char.isprintable())[:120]
    return f"the answer was {status}" + (f", {words}" if words else "")


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text) else None
