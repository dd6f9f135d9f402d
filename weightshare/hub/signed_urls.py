"""Where a file really is: the last URL of its redirects, kept until it expires.

The Hub answers a range of a large file with a redirect to a signed URL at its store. Asking the Hub anew for each
range would cost a request each and soon meet its rate limit, so the URL is asked for once, by one thread.
"""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Condition, Event
from urllib.parse import parse_qs, urlsplit

from weightshare.hub.backoff import Headers, server_time
from weightshare.hub.connections import Reach

_UNSAID = 600.0  # seconds that a URL is kept which does not say how long it holds
_MARGIN = 10.0  # seconds before its end at which a URL is no longer begun with
_SHARE = 0.1  # the same, as a share of its life


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file's bytes come from.

    Attributes:
        url: the last of the redirects.
        reach: what may be connected to, as far as the redirects led.
        until: when it is no longer used, on the clock of `time.monotonic()`.
    """

    url: str
    reach: Reach
    until: float


class Places:
    """The places of one source's files; one thread finds each, the others wait for it."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._places: dict[str, Place] = {}
        self._finding: set[str] = set()

    def take(self, path: str, stop: Event) -> Place | None:
        """Where a file is; None if the caller is to find out, and must then call `found` or `not_found`."""
        with self._changed:
            while path in self._finding and not stop.is_set():
                self._changed.wait(0.1)
            place = self._places.get(path)
            if place is not None and time.monotonic() < place.until:
                return place
            self._finding.add(path)
            return None

    def found(self, path: str, place: Place | None) -> None:
        """End the finding: here it is; None if it is not to be kept."""
        with self._changed:
            self._finding.discard(path)
            if place is None:
                self._places.pop(path, None)
            else:
                self._places[path] = place
            self._changed.notify_all()

    def drop(self, path: str, place: Place) -> None:
        """Forget a place that no longer serves, unless a newer one is known."""
        with self._changed:
            if self._places.get(path) is place:
                del self._places[path]


def kept_until(url: str, headers: Headers) -> float:
    """Until when a URL is used, on the clock of `time.monotonic()`.

    Args:
        url: signed or not.
        headers: of the answer that led there; its clock counts, where it says.
    """
    end, now = expiry(url), server_time(headers)
    life = _UNSAID if end is None or now is None else end - now
    return time.monotonic() + life - min(_MARGIN, max(0.0, _SHARE * life))


def expiry(url: str) -> float | None:
    """When a signed URL expires by its own words, in seconds since 1970; None if it does not say.

    CloudFront (`Expires`, `Policy`), S3 and Google (`X-Amz-Date` + `X-Amz-Expires`, `X-Goog-…`), Azure (`se`).
    """
    try:
        query = {name.lower(): values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        if "expires" in query and re.fullmatch(r"\d{1,12}(\.\d+)?", query["expires"]):
            return float(query["expires"])
        for kind in ("amz", "goog"):
            if f"x-{kind}-date" in query and f"x-{kind}-expires" in query:
                begin = datetime.strptime(query[f"x-{kind}-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                return begin.timestamp() + int(query[f"x-{kind}-expires"])
        if "se" in query and "sig" in query:
            return datetime.fromisoformat(query["se"]).timestamp()
        if "policy" in query:
            coded = query["policy"].translate(str.maketrans("-_~", "+=/"))
            policy = json.loads(base64.b64decode(coded))
            return float(policy["Statement"][0]["Condition"]["DateLessThan"]["AWS:EpochTime"])
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        return None
    return None
