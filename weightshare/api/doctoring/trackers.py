"""One question to a tracker: does it answer, and whom does it know of.

Nothing is announced that would stay: a tracker is asked to scrape (BEP 15, BEP 48), or told that a client which never
came has stopped (BEP 3), which it answers with its counts all the same.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import struct
import time
import urllib.error
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, urlsplit

from weightshare.api.downloads import download
from weightshare.errors import DownloadError
from weightshare.manifest.text import escape
from weightshare.swarm.networks import Network, allows_host, is_inside

_MAGIC = 0x41727101980  # BEP 15: protocol_id
_CONNECT, _ANNOUNCE, _SCRAPE, _ERROR = 0, 1, 2, 3
_STOPPED = 3
_AGAIN = 2.0  # seconds until a packet is sent once more
_LARGEST = 1 << 20
_LONGEST_WORDS = 120
_FAILURE = re.compile(rb"14:failure reason(\d{1,4}):")
_SEEDERS, _LEECHERS = re.compile(rb"8:completei(\d{1,9})e"), re.compile(rb"10:incompletei(\d{1,9})e")
_PEERS = re.compile(rb"5:peers(\d{1,6}):")


@dataclass(frozen=True, slots=True)
class Known:
    """What a tracker knows of a torrent.

    Attributes:
        seeders: peers with all of it.
        leechers: others.
        seconds: until it had answered.
    """

    seeders: int
    leechers: int
    seconds: float


class TrackerSilentError(Exception):
    """A tracker that gave no counts: `words` say why, and `heard` whether it gave any answer at all."""

    def __init__(self, words: str, *, heard: bool = False) -> None:
        self.words = escape(words)[:_LONGEST_WORDS]
        super().__init__(self.words)
        self.heard = heard


def ask(url: str, hashes: Sequence[bytes], network: Network, patience: float) -> Known:
    """Ask a tracker of a stranger's link about a torrent.

    Args:
        url: `udp`, `http` or `https`.
        hashes: what the torrent is known by, 20 bytes each: the v1 info-hash, the first bytes of the v2 one (BEP 52).
        network: only hosts within it are asked.
        patience: seconds for all of it.

    Raises:
        TrackerSilentError: no look-up, no connection, no answer, or one that is no tracker's.
    """
    began = time.monotonic()
    parts = urlsplit(url)
    try:
        if parts.scheme.lower() == "udp":
            counts = _ask_udp(parts.hostname or "", parts.port or 0, hashes, network, began + patience)
        else:
            counts = _ask_http(url, hashes, network, patience)
    except ValueError as error:
        raise TrackerSilentError(f"it is no URL: {error}") from error
    seeders = max((count[0] for count in counts), default=0)
    leechers = max((count[1] for count in counts), default=0)
    return Known(seeders, leechers, time.monotonic() - began)


_Counts = list[tuple[int, int]]


def _ask_udp(host: str, port: int, hashes: Sequence[bytes], network: Network, deadline: float) -> _Counts:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise TrackerSilentError("its name is not known to DNS") from error
    refused = TrackerSilentError("its name has no address")
    for family, kind, _, _, address in found[:4]:
        numeric = str(address[0])
        if not allows_host(network, numeric):
            refused = TrackerSilentError(f"{numeric} lies outside the network allowed ({network})")
            continue
        if network is Network.PUBLIC and is_inside(numeric):
            refused = TrackerSilentError(f"it leads to {numeric}, inside your own network")
            continue
        with socket.socket(family, kind) as line:
            try:
                line.connect(address)
                return _talk(line, hashes, deadline)
            except ConnectionRefusedError as error:
                refused = TrackerSilentError("refused: nothing listens there")
                refused.__cause__ = error
            except OSError as error:
                refused = TrackerSilentError(f"not to be reached: {error.strerror or error}")
                refused.__cause__ = error
    raise refused


def _talk(line: socket.socket, hashes: Sequence[bytes], deadline: float) -> _Counts:
    """The two steps of BEP 15; a tracker that does not scrape is told of a client that has stopped."""
    answer = _exchange(line, struct.pack(">QI", _MAGIC, _CONNECT), b"", _CONNECT, deadline)
    connection = answer[8:16]
    if len(connection) < 8:
        raise TrackerSilentError("it answers, but not as a tracker", heard=True)
    try:
        answer = _exchange(line, connection + struct.pack(">I", _SCRAPE), b"".join(hashes), _SCRAPE, deadline)
        rows = [answer[8 + 12 * row : 20 + 12 * row] for row in range(len(hashes))]
        if all(len(row) == 12 for row in rows):
            return [(row[0], row[2]) for row in (struct.unpack(">III", raw) for raw in rows)]
    except TrackerSilentError as error:
        if not error.heard:
            raise
    counts = []
    for one in hashes:
        body = one + os.urandom(20) + struct.pack(">QQQIIIiH", 0, 1, 0, _STOPPED, 0, 0, 0, 1)
        answer = _exchange(line, connection + struct.pack(">I", _ANNOUNCE), body, _ANNOUNCE, deadline)
        if len(answer) < 20:
            raise TrackerSilentError("it answers, but not as a tracker", heard=True)
        leechers, seeders = struct.unpack(">II", answer[12:20])
        counts.append((seeders, leechers))
    return counts


def _exchange(line: socket.socket, head: bytes, body: bytes, action: int, deadline: float) -> bytes:
    """Send a packet, again until it is answered; an answer to another packet is passed over."""
    transaction = os.urandom(4)
    while (left := deadline - time.monotonic()) > 0:
        line.send(head + transaction + body)
        again = time.monotonic() + min(_AGAIN, left)
        while (wait := again - time.monotonic()) > 0:
            line.settimeout(wait)
            try:
                answer = line.recv(2048)
            except TimeoutError:
                break
            if len(answer) < 8 or answer[4:8] != transaction:
                continue
            (kind,) = struct.unpack(">I", answer[:4])
            if kind == _ERROR:
                raise TrackerSilentError(
                    f"it says: {answer[8:].decode('utf-8', 'replace').strip()}", heard=True
                )
            if kind == action:
                return answer
    raise TrackerSilentError("no answer")


def _ask_http(url: str, hashes: Sequence[bytes], network: Network, patience: float) -> _Counts:
    counts = []
    peer = "-WS0100-" + os.urandom(6).hex()
    for one in hashes:
        query = (
            f"info_hash={quote_from_bytes(one, safe='')}&peer_id={peer}&port=1&uploaded=0&downloaded=0"
            "&left=1&compact=1&numwant=0&event=stopped"
        )
        asked = f"{url}{'&' if urlsplit(url).query else '?'}{query}"
        try:
            answer = download(asked, network, limit=_LARGEST, timeout=patience, claimed=True)
        except DownloadError as error:
            raise TrackerSilentError(_why(error), heard=error.facts.get("status") is not None) from error
        counts.append(_counted(answer))
    return counts


def _counted(answer: bytes) -> tuple[int, int]:
    """Seeders and leechers by an answer (BEP 3). Read leniently, as many trackers leave their keys unsorted."""
    failure = _FAILURE.search(answer)
    if failure is not None:
        words = answer[failure.end() :][: int(failure[1])]
        raise TrackerSilentError(f"it says: {words.decode('utf-8', 'replace')}", heard=True)
    seeders, leechers, peers = _SEEDERS.search(answer), _LEECHERS.search(answer), _PEERS.search(answer)
    if not answer.startswith(b"d") or not (seeders or peers or b"8:interval" in answer):
        raise TrackerSilentError("it answers, but not as a tracker", heard=True)
    if seeders is not None:
        return int(seeders[1]), int(leechers[1]) if leechers is not None else 0
    return 0, int(peers[1]) // 6 if peers is not None else 0


def _why(error: DownloadError) -> str:
    """What stood in the way of an HTTP question, told by its kind and not in the system's words."""
    status = error.facts.get("status")
    if status is not None:
        return f"HTTP {status}"
    cause: BaseException | None = error.__cause__
    if isinstance(cause, urllib.error.URLError) and isinstance(cause.reason, BaseException):
        cause = cause.reason
    if isinstance(cause, socket.gaierror):
        return "its name is not known to DNS"
    if isinstance(cause, ConnectionRefusedError):
        return "refused: nothing listens there"
    if isinstance(cause, TimeoutError):
        return "no answer"
    if isinstance(cause, ssl.SSLError):
        return f"its certificate does not hold: {cause.reason or cause}"
    return error.message.rpartition("could not be fetched: ")[2].rstrip(".")
