"""Small files by HTTP: a `.torrent`, a manifest. Bounded in size and time, and inside the network that was allowed."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from typing import IO, Any
from urllib.parse import urlsplit

from weightshare.api.reach import Reach
from weightshare.errors import DownloadError
from weightshare.manifest.text import quoted
from weightshare.swarm.networks import Network, allows_host, is_inside
from weightshare.units import format_duration, format_size
from weightshare.version import __version__

_TIMEOUT = 15.0
_CHUNK = 1 << 16


def download(
    url: str,
    network: Network,
    *,
    limit: int,
    timeout: float = _TIMEOUT,
    same_origin: bool = False,
    claimed: bool = False,
) -> bytes:
    """Fetch a small file.

    Args:
        url: `http` or `https`.
        network: hosts outside it are refused, redirects included.
        limit: largest body taken, in bytes.
        timeout: seconds for the whole of it.
        same_origin: refuse redirects to another scheme, host or port; where the host is what makes it credible.
        claimed: the URL is a stranger's and not the user's own word: on the public network it may not lead to this
            machine or its own network, by whatever name. A redirect from outside never may.

    Raises:
        DownloadError: refused, unreachable, too large or too slow; the fact `status` is HTTP's where there was one.
    """
    opener, request = _opener(url, network, same_origin=same_origin, claimed=claimed)
    deadline = time.monotonic() + timeout
    body = bytearray()
    try:
        with opener.open(request, timeout=timeout) as answer:
            while chunk := answer.read(_CHUNK):
                body += chunk
                if len(body) > limit:
                    raise _failed(url, f"it is larger than {format_size(limit)}")
                if time.monotonic() > deadline:
                    raise _failed(url, f"it took longer than {format_duration(timeout)}")
    except urllib.error.HTTPError as error:
        with error:
            raise _failed(url, f"the answer was {error.code} {error.reason}", error.code) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _failed(url, str(reason)) from error
    return bytes(body)


@dataclass(frozen=True, slots=True)
class Probed:
    """How a server answered when it was asked for the first byte of a file.

    Attributes:
        status: HTTP's: 206 from one that honours ranges, 200 from one that would send the whole file.
        size: of the whole file in bytes, None where it was not said.
        host: who answered in the end, after redirects.
    """

    status: int
    size: int | None
    host: str


def probe(url: str, network: Network, *, timeout: float = _TIMEOUT, claimed: bool = False) -> Probed:
    """Ask for the first byte of a file (RFC 9110, 14.2), and read no more than that.

    Args:
        url: `http` or `https`.
        network: as for `download`.
        timeout: seconds until an answer must have begun.
        claimed: as for `download`.

    Raises:
        DownloadError: refused or unreachable, or the answer was an error of HTTP's, in the fact `status`.
    """
    opener, request = _opener(url, network, same_origin=False, claimed=claimed)
    request.add_header("Range", "bytes=0-0")
    try:
        with opener.open(request, timeout=timeout) as answer:
            whole = (answer.headers["Content-Range"] or "").rpartition("/")[2]
            if answer.status != 206:
                whole = answer.headers["Content-Length"] or ""
            size = int(whole) if whole.isascii() and whole.isdigit() else None
            return Probed(answer.status, size, urlsplit(answer.url).hostname or "")
    except urllib.error.HTTPError as error:
        with error:
            raise _failed(url, f"the answer was {error.code} {error.reason}", error.code) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _failed(url, str(reason)) from error


@dataclass(frozen=True, slots=True)
class Part:
    """What a server said to a question for a part of a file.

    Attributes:
        status: HTTP's.
        url: where it came from in the end, after redirects.
        content_range: its header, empty where there was none.
        body: as much of it as was asked for, and one byte more where there is more.
    """

    status: int
    url: str
    content_range: str
    body: bytes


def ask_part(url: str, network: Network, *, offset: int, length: int, timeout: float = _TIMEOUT) -> Part:
    """Ask for a part of a file, once, and say what came; for looking at a server, not for fetching from it.

    Args:
        url: `http` or `https`; the user's own word.
        network: as for `download`.
        offset: first byte.
        length: bytes.
        timeout: seconds for the whole of it.

    Raises:
        DownloadError: refused, unreachable or too slow; an answer, whatever its status, is none.
    """
    opener, request = _opener(url, network, same_origin=False, claimed=False)
    request.add_header("Range", f"bytes={offset}-{offset + length - 1}")
    request.add_header("Accept-Encoding", "identity")
    deadline = time.monotonic() + timeout
    body = bytearray()
    try:
        with opener.open(request, timeout=timeout) as answer:
            while len(body) <= length and (chunk := answer.read(min(_CHUNK, length + 1 - len(body)))):
                body += chunk
                if time.monotonic() > deadline:
                    raise _failed(url, f"it took longer than {format_duration(timeout)}")
            return Part(answer.status, answer.geturl(), answer.headers["Content-Range"] or "", bytes(body))
    except urllib.error.HTTPError as error:
        with error:
            return Part(error.code, error.geturl() or url, "", b"")
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _failed(url, str(reason)) from error


def _opener(
    url: str, network: Network, *, same_origin: bool, claimed: bool
) -> tuple[urllib.request.OpenerDirector, urllib.request.Request]:
    """What asks a URL within the network allowed, and with what."""
    _check(url, network)
    host = urlsplit(url).hostname or ""
    if claimed and network is Network.PUBLIC and (host == "localhost" or is_inside(host)):
        raise _failed(url, "a stranger's link leads inside your own network")
    # The connection to a proxy of the user's may well lead inside; what the proxy then asks is for it to say.
    reach = Reach(network, inside=not claimed or _proxied(host))
    # A proxy would be asked for what is never asked outside; on the public network it is the user's own choice.
    proxies = [] if network is Network.PUBLIC else [urllib.request.ProxyHandler({})]
    opener = urllib.request.build_opener(
        _Redirects(network, url if same_origin else None), _Http(reach), _Https(reach), *proxies
    )
    request = urllib.request.Request(url, headers={"User-Agent": f"weightshare/{__version__}"})  # noqa: S310
    return opener, request


class _Http(urllib.request.HTTPHandler):
    def __init__(self, reach: Reach) -> None:
        super().__init__()
        self._reach = reach

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(self._connection, req)

    def _connection(self, host: str, **options: Any) -> HTTPConnection:
        connection = HTTPConnection(host, **options)
        connection._create_connection = self._reach.connect  # type: ignore[attr-defined]
        return connection


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, reach: Reach) -> None:
        super().__init__()
        self._reach = reach

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(self._connection, req)

    def _connection(self, host: str, **options: Any) -> HTTPSConnection:
        connection = HTTPSConnection(host, **options)
        connection._create_connection = self._reach.connect  # type: ignore[attr-defined]
        return connection


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, network: Network, origin: str | None) -> None:
        self._network = network
        self._origin = origin

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            _check(newurl, self._network)
            if self._origin is not None and _origin(newurl) != _origin(self._origin):
                raise _failed(self._origin, f"it redirects to another place, {quoted(newurl)}")
        except (DownloadError, ValueError):
            fp.close()  # urllib would leave it open
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check(url: str, network: Network) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _failed(url, "only http and https are fetched")
    if not allows_host(network, parts.hostname):
        raise _failed(url, f"its host lies outside the network allowed ({network})")


def _proxied(host: str) -> bool:
    return bool(urllib.request.getproxies()) and not urllib.request.proxy_bypass(host)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _failed(url: str, reason: str, status: int | None = None) -> DownloadError:
    return DownloadError(
        f"{url} could not be fetched: {reason}.",
        hint="Check the address and the connection, or fetch by the magnet link.",
        url=url,
        status=status,
    )
