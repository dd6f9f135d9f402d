"""Connections to a web source: kept alive, given up when nothing comes, and only to where they may lead.

http.client speaks HTTP over a socket of ours, which looks at the clock and at the order to stop whenever it waits for
a byte, be it of a header: so neither a silent server nor one that trickles holds a thread for ever.
"""

from __future__ import annotations

import base64
import io
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from weightshare.hub.backoff import Patience

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_IDLE = 16  # connections kept
_PORTS = {"http": 80, "https": 443}
Proxies = Callable[[str], str | None]


class Reach(Protocol):
    """What may be connected to on the way of one request and its redirects."""

    @property
    def proxied(self) -> bool:
        """Whether a proxy of the user's may be asked to connect."""

    def refuses(self, host: str) -> str:
        """Why a host must not even be looked up; empty if it may be."""

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        """What `socket.create_connection` does, over the addresses that are allowed; PermissionError where none is."""

    def outside(self) -> None:
        """The way led outside without a connection of ours, by a proxy."""


class Stalled(OSError):  # noqa: N818, a state of the line
    """Nothing, or next to nothing, came for too long."""


class Stopped(Exception):  # noqa: N818, an order and no error
    """The order to stop came while waiting."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: whom a secret may be told, and which connections are alike."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of a URL.

        Raises:
            ValueError: it is no URL of http or https.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("only http and https are fetched")
        return cls(parts.scheme, parts.hostname.lower(), parts.port or _PORTS[parts.scheme])


class Pulse:
    """Whether bytes still come, or a stop was ordered.

    Args:
        patience: see `stall` and `least`.
        stop: the order.
    """

    def __init__(self, patience: Patience, stop: Event) -> None:
        self._patience = patience
        self._stop = stop
        self.tick = min(0.2, patience.stall / 4)
        """Seconds between two looks at the clock while nothing comes."""
        self._since = time.monotonic()
        self._bytes = 0

    def restart(self) -> None:
        """A new request begins."""
        self._since, self._bytes = time.monotonic(), 0

    def came(self, count: int) -> None:
        """So many bytes came."""
        self._bytes += count
        if self._bytes >= self._patience.least:
            self.restart()
        self.check()

    def pause(self, seconds: float) -> None:
        """So long it was we who did not read."""
        self._since += seconds

    def check(self) -> None:
        """Raises Stopped or Stalled if it is time to."""
        if self._stop.is_set():
            raise Stopped
        if time.monotonic() - self._since > self._patience.stall:
            raise Stalled(f"{self._bytes} bytes in {self._patience.stall:g} s")


class _Wire:
    """A socket as http.client wants it, whose reads look at a pulse."""

    def __init__(self, sock: socket.socket, pulse: Pulse) -> None:
        sock.settimeout(pulse.tick)
        self.sock = sock
        self.pulse = pulse
        self.readers = 0
        self.closed = False

    def sendall(self, data: ReadableBuffer) -> None:
        """Send a request, which is small."""
        self.sock.settimeout(5.0)
        self.sock.sendall(data)
        self.sock.settimeout(self.pulse.tick)

    def makefile(self, _mode: str = "rb", *_: object, **__: object) -> io.BufferedReader:
        """What an answer is read from."""
        self.readers += 1
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Close, once the last reader has."""
        self.closed = True
        if not self.readers:
            self.sock.close()


class _Reader(io.RawIOBase):
    """The bytes of one answer."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        wire = self._wire
        while True:
            try:
                count = wire.sock.recv_into(buffer)
            except TimeoutError:
                wire.pulse.check()
                continue
            wire.pulse.came(count)
            return count

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._wire.readers -= 1
            if self._wire.closed:
                self._wire.close()


class Connection(HTTPConnection):
    """One connection to an origin, direct or by a proxy."""

    def __init__(
        self, origin: Origin, reach: Reach, proxy: str | None, tls: ssl.SSLContext | None, patience: Patience
    ) -> None:
        super().__init__(origin.host, origin.port)
        self.default_port = _PORTS[origin.scheme]  # so that `Host` names the port only if it must
        self.origin = origin
        self.used = False
        self.proxied = proxy is not None and origin.scheme == "http"
        self.reach = reach
        self._proxy, self._tls, self._patience = proxy, tls, patience

    def connect(self) -> None:
        """Connect, through the proxy if there is one, and shake hands."""
        origin, timeout, pulse = self.origin, self._patience.connect, self._pulse
        if self._proxy is None:
            raw = self.reach.connect((origin.host, origin.port), timeout)
        else:
            parts = urlsplit(self._proxy)
            # The user's own proxy may well stand inside; where it then leads is for it to say.
            raw = socket.create_connection((parts.hostname or "", parts.port or 3128), timeout)
            self.reach.outside()
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._proxy is not None and self._tls is not None:
                self._tunnel_through(raw, self._proxy)
            if self._tls is not None:
                raw.settimeout(timeout)
                raw = self._tls.wrap_socket(raw, server_hostname=origin.host)
        except BaseException:
            raw.close()
            raise
        self.sock: Any = _Wire(raw, pulse)

    def ask(self, url: str, headers: dict[str, str], pulse: Pulse) -> HTTPResponse:
        """Ask for a URL, and read the answer's headers."""
        self._pulse = pulse
        if self.sock is not None:
            self.sock.pulse = pulse
        parts = urlsplit(url)
        target = url if self.proxied else (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if self.proxied and self._proxy is not None:
            headers = headers | _credentials(self._proxy)
        self.request("GET", target, headers=headers)
        return self.getresponse()

    def _tunnel_through(self, raw: socket.socket, proxy: str) -> None:
        """Ask a proxy for a connection (RFC 9110, 9.3.6)."""
        host = f"[{self.origin.host}]" if ":" in self.origin.host else self.origin.host
        lines = [f"CONNECT {host}:{self.origin.port} HTTP/1.1", f"Host: {host}:{self.origin.port}"]
        lines += [f"{name}: {value}" for name, value in _credentials(proxy).items()]
        wire: Any = _Wire(raw, self._pulse)
        wire.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        answer = HTTPResponse(wire, method="CONNECT")
        answer.begin()
        answer.close()
        if answer.status != 200:
            raise OSError(f"the proxy answered {answer.status} {answer.reason}")


class Connections:
    """The connections of one source, lent to one thread at a time.

    Args:
        patience: see `connect`.
        proxies: the proxy for a URL, if any.
    """

    def __init__(self, patience: Patience, proxies: Proxies) -> None:
        self._patience = patience
        self._proxies = proxies
        self._lock = Lock()
        self._idle: dict[tuple[Origin, bool], list[Connection]] = {}
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    def borrow(self, url: str, reach: Reach, *, redirected: bool, fresh: bool) -> Connection:
        """A connection to a URL's origin; close it, or `give` it back once an answer was read to its end.

        Args:
            url: what is to be asked.
            reach: what a new one may connect to.
            redirected: whether a redirect led there; such never share with those that the user's own word led to.
            fresh: not one that was used before.
        """
        origin = Origin.of(url)
        with self._lock:
            idle = self._idle.get((origin, redirected), [])
            if idle and not fresh:
                return idle.pop()
            if origin.scheme == "https" and self._tls is None:
                self._tls = ssl.create_default_context()
        tls = self._tls if origin.scheme == "https" else None
        return Connection(origin, reach, self._proxies(url) if reach.proxied else None, tls, self._patience)

    def give(self, connection: Connection, *, redirected: bool) -> None:
        """Keep it for the next."""
        connection.used = True
        with self._lock:
            idle = self._idle.setdefault((connection.origin, redirected), [])
            if not self._closed and connection.sock is not None and len(idle) < _IDLE:
                idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close those that are idle; those that are lent close when they come back."""
        with self._lock:
            self._closed = True
            idle = [connection for kept in self._idle.values() for connection in kept]
            self._idle.clear()
        for connection in idle:
            connection.close()


def environment_proxy(url: str) -> str | None:
    """The proxy that the environment or the system names for a URL, as everywhere in Python.

    Raises:
        HTTPException: it is of a kind that is not spoken here.
    """
    parts = urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    named = urllib.request.getproxies()
    proxy = named.get(parts.scheme) or named.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme != "http":
        raise HTTPException(f"proxies of the kind {urlsplit(proxy).scheme} are not spoken here")
    return proxy


def no_proxy(_url: str) -> str | None:
    """Never one: where a proxy would be asked for what must stay within a network."""
    return None


def _credentials(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    said = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(said).decode()}"}
