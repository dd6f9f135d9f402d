"""Bytes of a file from the Hub or from any mirror by HTTP: a range at a time, from any number of threads.

What comes are claims, to be proven by whoever takes them. What is seen to here is that exactly the bytes asked for are
handed on, or a clear error is raised: redirects to another host are followed and the signed URL at their end is kept
until it expires; 429 and 503 are heeded; answers with other bytes, encoded, short or stalled are asked for again; all
of it with an end.
"""

from __future__ import annotations

import copy
import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from types import TracebackType
from typing import Self

from weightshare.errors import SourceError, SourceStoppedError
from weightshare.hub import answers, bodies
from weightshare.hub.answers import AgainError
from weightshare.hub.backoff import Pace, Patience, Waiting
from weightshare.hub.bodies import CHUNK, Reading, TakerError
from weightshare.hub.connections import (
    Connection,
    Connections,
    Origin,
    Proxies,
    Pulse,
    Reach,
    Stalled,
    Stopped,
    environment_proxy,
)
from weightshare.hub.signed_urls import Place, Places, kept_until
from weightshare.version import __version__

HUB = "hub"
"""The name of the source that is the Hub."""


class RangeSource:
    """Files of one release at one web source; thread-safe.

    Args:
        name: HUB, or the mirror's host; for messages, receipts and sums.
        locate: the URL of a file by its path in the release.
        reach: makes what a request and its redirects may connect to; a new one for each.
        token: sent as `Authorization: Bearer` to the origin of the located URL, and to nobody else.
        throttle: seconds to wait after so many bytes.
        patience: how much is put up with.
        proxies: the proxy for a URL.
        waiting: told of each wait that the source causes.
    """

    def __init__(
        self,
        name: str,
        locate: Callable[[str], str],
        *,
        reach: Callable[[], Reach],
        token: str | None = None,
        throttle: Callable[[int], float] | None = None,
        patience: Patience | None = None,
        proxies: Proxies = environment_proxy,
        waiting: Callable[[Waiting], None] | None = None,
    ) -> None:
        self.name = name
        self._locate = locate
        self._reach = reach
        self._token = token
        self._throttle = throttle
        self._patience = patience or Patience()
        self._waiting = waiting
        self._connections = Connections(self._patience, proxies)
        self._places = Places()
        self._pace = Pace(self._patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._connections.close()

    def read(
        self,
        path: str,
        offset: int,
        length: int,
        *,
        take: Callable[[memoryview], None],
        stop: threading.Event,
    ) -> None:
        """Read a part of a file; returns once all of it was handed on.

        Args:
            path: of the file in the release, `/`-separated.
            offset: first byte.
            length: bytes.
            take: called with the bytes in order, a chunk at a time; the view is only good during the call.
            stop: set to end it early, within a fraction of a second; longer while a connection is being made.

        Raises:
            SourceError: the source did not give them; `fatal`, `lacks` and `retry_at` say what that means. Some chunks
                may have been handed on before.
            SourceStoppedError: `stop` was set.
        """
        reading = Reading(path, offset, offset + length, take, stop, Pulse(self._patience, stop))
        url = self._locate(path)
        try:
            while reading.begin < reading.end:
                reading.check()
                self._await_turn(url, reading)
                before = reading.begin
                try:
                    self._attempt(url, reading)
                    if reading.begin < reading.end and reading.begin - before < self._patience.least:
                        raise AgainError(f"it sends {reading.begin - before} bytes at a time", fatal=True)
                except AgainError as again:
                    self._failed(url, reading, before, again)
        except TakerError as error:
            raise error.__cause__ or error from None
        except Stopped:
            raise SourceStoppedError(
                f"Reading from {self.name} was stopped.", url=answers.shown(url)
            ) from None

    # ---- waiting and giving up

    def _await_turn(self, url: str, reading: Reading) -> None:
        left, _ = self._pace.held
        if left > self._patience.wait:
            raise answers.failed(url, f"it asks to wait {left:.0f} s", retry_in=left)
        self._pace.await_turn(reading.stop)
        reading.check()

    def _failed(self, url: str, reading: Reading, before: int, again: AgainError) -> None:
        """Wait until it is to be asked again; raises if it is not."""
        patience, now = self._patience, time.monotonic()
        if reading.begin - before >= min(patience.least, (reading.end - before + 3) // 4):
            reading.failures, reading.done_at = 0, now
        reading.failures += 1
        delay = self._pace.delay(reading.failures, again.wait)
        # An expired URL is the ordinary course of things: once, it costs no wait.
        if again.elsewhere and reading.failures == 1 and again.wait is None:
            delay = 0.0
        if delay > patience.wait:
            self._pace.hold(delay)
            raise answers.failed(
                url, f"{again.reason}; it asks to wait {delay:.0f} s", status=again.status, retry_in=delay
            )
        spent = now - reading.done_at
        if reading.failures >= patience.attempts or spent + delay > patience.progress:
            tried = f"{again.reason} ({reading.failures} attempts, {spent:.0f} s)"
            raise answers.failed(
                url,
                tried,
                status=again.status,
                fatal=again.fatal,
                retry_in=None if again.fatal else self._pace.delay(patience.attempts, None),
            )
        if again.held:
            self._pace.hold(delay)
        if delay and self._waiting is not None:
            self._waiting(Waiting(self.name, again.reason, delay))
        reading.stop.wait(delay)

    # ---- one attempt

    def _attempt(self, url: str, reading: Reading) -> None:
        """Ask once for what is missing, and take what comes of it; raises AgainError, SourceError or Stopped."""
        place = self._places.take(reading.path, reading.stop)
        if place is not None:
            try:
                connection, response = self._open(
                    place.url, place.reach, reading, redirected=place.url != url
                )
                if response.status not in (200, 206):
                    connection.close()
                    raise self._refusal(response, place.url, url, known=True)
                self._receive(connection, response, place.url, reading, redirected=place.url != url)
            except AgainError as again:
                if again.elsewhere or again.status is None:
                    self._places.drop(reading.path, place)
                raise
            return
        found: Place | None = None
        try:
            self._await_turn(url, reading)  # whoever looked for it before us may have been told to wait
            connection, response, found = self._follow(url, reading)
        finally:
            self._places.found(reading.path, found)
        try:
            self._receive(connection, response, found.url, reading, redirected=found.url != url)
        except AgainError as again:
            if again.elsewhere:
                self._places.drop(reading.path, found)
            raise

    def _follow(self, url: str, reading: Reading) -> tuple[Connection, HTTPResponse, Place]:
        """Ask the located URL and follow its redirects to where the bytes are."""
        seen = [url]
        reach = self._reach()
        while True:
            redirected = len(seen) > 1
            connection, response = self._open(seen[-1], reach, reading, redirected=redirected)
            if response.status in (200, 206):
                until = kept_until(seen[-1], response.headers)
                return connection, response, Place(seen[-1], copy.copy(connection.reach), until)
            if response.status not in answers.REDIRECTS:
                connection.close()
                raise self._refusal(response, seen[-1], url, known=False)
            # A connection that was kept has been somewhere: how far the way led so far, it knows and `reach` does not.
            reach = copy.copy(connection.reach)
            self._discard(connection, response, redirected)
            seen.append(answers.redirect(seen[-1], response.headers, seen))

    def _refusal(
        self, response: HTTPResponse, url: str, located: str, *, known: bool
    ) -> AgainError | SourceError:
        known = known and url != located
        signed = Origin.of(url) != Origin.of(located)
        return answers.refused(
            response.status, response.headers, url, known=known, signed=signed, hub=self.name == HUB
        )

    def _open(
        self, url: str, reach: Reach, reading: Reading, *, redirected: bool
    ) -> tuple[Connection, HTTPResponse]:
        """Send a request and read the headers of its answer."""
        fresh = False
        while True:
            try:
                origin = Origin.of(url)
                if reason := reach.refuses(origin.host):
                    raise answers.failed(url, reason, fatal=True)
                connection = self._connections.borrow(url, reach, redirected=redirected, fresh=fresh)
            except (ValueError, HTTPException) as error:
                raise answers.failed(url, str(error), fatal=True) from error
            reading.pulse.restart()
            try:
                return connection, connection.ask(url, self._headers(origin, reading), reading.pulse)
            except (OSError, HTTPException, ValueError) as error:
                connection.close()
                # A kept connection that the server has closed meanwhile is no failure of its own.
                if connection.used and not isinstance(error, Stalled) and not fresh:
                    fresh = True
                    continue
                if isinstance(error, ssl.SSLCertVerificationError):
                    reason = f"its certificate does not hold: {error.verify_message}"
                    raise answers.failed(url, reason, fatal=True) from error
                if isinstance(error, PermissionError):
                    raise answers.failed(url, _words(error), fatal=True) from error
                raise AgainError(_words(error)) from error
            except BaseException:
                connection.close()
                raise

    def _headers(self, origin: Origin, reading: Reading) -> dict[str, str]:
        headers = {
            "User-Agent": f"weightshare/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Range": f"bytes={reading.begin}-{reading.end - 1}",
        }
        if self._token is not None and origin == Origin.of(self._locate(reading.path)):
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _discard(self, connection: Connection, response: HTTPResponse, redirected: bool) -> None:
        """Read the few bytes that a redirect has, so that its connection can be used again."""
        try:
            if (response.length or 0) <= CHUNK and not response.chunked:
                response.read()
                response.close()
                self._connections.give(connection, redirected=redirected)
                return
        except (OSError, HTTPException):
            pass
        connection.close()

    # ---- the bytes

    def _receive(
        self, connection: Connection, response: HTTPResponse, url: str, reading: Reading, *, redirected: bool
    ) -> None:
        """Hand on the body of an answer, as far as it was asked for."""
        try:
            span = answers.span(response.status, response.headers, reading.begin, reading.end, url)
            bodies.copy(response, span, reading, self._throttle)
        except (OSError, HTTPException, ValueError) as error:
            connection.close()
            raise AgainError(_words(error)) from error
        except BaseException:
            connection.close()
            raise
        finally:
            response.close()
        if span.whole and not response.will_close:
            self._connections.give(connection, redirected=redirected)
        else:
            connection.close()


def _words(error: Exception) -> str:
    """What went wrong on the line, in a few words."""
    if isinstance(error, Stalled):
        return f"too little came: {error}"
    text = str(error).strip() or type(error).__name__
    return "".join(char for char in text if char.isprintable())[:160]
