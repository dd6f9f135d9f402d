"""One reading of a range, and the bodies of the answers that bring it: handed on in order as they come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse

from weightshare.hub.answers import Span
from weightshare.hub.connections import Pulse, Stopped

CHUNK = 1 << 20
"""Bytes handed on at a time, at most."""
_FIRST_CHUNK = 64 << 10  # the same while speed is limited, so that it is even; it doubles while it is not
_LONGEST = 0.5  # seconds that bytes wait for more to be handed on with
_BUFFERS = threading.local()

Throttle = Callable[[int], float]


class TakerError(Exception):
    """Whoever takes the bytes failed, which says nothing about the source; the cause is theirs."""


@dataclass(slots=True)
class Reading:
    """One call of `RangeSource.read`: what is asked, and how far it came.

    Attributes:
        path: the file.
        begin: the next byte that is missing.
        end: the byte after the last.
        take: who takes them.
        stop: the order to end.
        pulse: whether bytes come.
        done_at: when there last was progress, on the clock of `time.monotonic()`.
        failures: in a row since.
        chunk: bytes to hand on at a time.
    """

    path: str
    begin: int
    end: int
    take: Callable[[memoryview], None]
    stop: threading.Event
    pulse: Pulse
    done_at: float = field(default_factory=time.monotonic)
    failures: int = 0
    chunk: int = _FIRST_CHUNK

    def check(self) -> None:
        """Raises Stopped if it is time to."""
        if self.stop.is_set():
            raise Stopped

    def hand_on(self, view: memoryview, throttle: Throttle | None) -> None:
        """Hand bytes on, then wait as long as the limit on speed wants it; neither counts as the source's time.

        Raises:
            TakerError: whoever takes them raised its cause.
        """
        began = time.monotonic()
        self.begin += len(view)
        try:
            self.take(view)
        except Exception as error:
            raise TakerError from error
        wait = throttle(len(view)) if throttle is not None else 0.0
        self.chunk = _FIRST_CHUNK if wait else min(CHUNK, 2 * self.chunk)
        if wait:
            self.stop.wait(wait)
        self.pulse.pause(time.monotonic() - began)


def copy(response: HTTPResponse, span: Span, reading: Reading, throttle: Throttle | None) -> None:
    """Hand on what a body holds of a reading.

    Raises:
        HTTPException: it ended half-way; what came was handed on.
        OSError: the connection broke, likewise.
        TakerError: see Reading.
    """
    # With a length the body stands in the stream as it is, and is read straight into the buffer.
    into = response.readinto if response.chunked or response.length is None else response.fp.readinto1
    buffer: memoryview | None = getattr(_BUFFERS, "view", None)
    if buffer is None:
        buffer = _BUFFERS.view = memoryview(bytearray(CHUNK))
    skip, left = span.skip, span.take
    while skip:
        skip -= _some(into, buffer[: min(skip, CHUNK)])
    while left:
        view = buffer[: min(left, reading.chunk)]
        left -= _fill(into, view, lambda part: reading.hand_on(part, throttle), reading.stop)


def _fill(
    into: Callable[[memoryview], int],
    view: memoryview,
    take: Callable[[memoryview], None],
    stop: threading.Event,
) -> int:
    """Fill a view and have it taken; if the connection breaks or is slow, what came is."""
    filled, late = 0, time.monotonic() + _LONGEST
    try:
        while filled < len(view) and time.monotonic() < late:
            filled += _some(into, view[filled:])
    finally:
        if filled and not stop.is_set():
            take(view[:filled])
    return filled


def _some(into: Callable[[memoryview], int], view: memoryview) -> int:
    count = into(view)
    if not count:
        raise HTTPException("the connection ended half-way")
    return count
