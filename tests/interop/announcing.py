"""A tracker on the loopback device that remembers who announced what (BEP 3, BEP 23)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.integration.waiting import until
from weightshare.manifest import bencode


class Tracker:
    """Who is where, by info-hash (20 bytes: SHA-1, or the first 20 of a SHA-256)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._ports: dict[bytes, dict[int, bool]] = {}
        self._lock = threading.Lock()

    def announced(self, info_hash: str | bytes, *, whole: bool = False) -> set[int]:
        """The ports announced for an info-hash (in hex, or raw); `whole` leaves only those who have everything."""
        key = (bytes.fromhex(info_hash) if isinstance(info_hash, str) else info_hash)[:20]
        with self._lock:
            return {port for port, complete in self._ports.get(key, {}).items() if complete or not whole}

    def await_seeder(self, info_hash: str, port: int) -> None:
        """Wait until a seeder is known: a client that asks earlier may ask again in minutes only."""
        until(lambda: port in self.announced(info_hash, whole=True), "the seeder's announce")

    def forget(self) -> None:
        """Forget everybody, as if all had said that they stop."""
        with self._lock:
            self._ports.clear()

    def hashes(self) -> set[str]:
        """Every info-hash that anybody announced, in hex."""
        with self._lock:
            return {key.hex() for key in self._ports}

    def announce(self, query: str) -> bytes:
        """Note an announce and answer it."""
        said = dict(parse_qsl(query, encoding="latin-1", keep_blank_values=True))
        key, port = said["info_hash"].encode("latin-1"), int(said["port"])
        with self._lock:
            swarm = self._ports.setdefault(key, {})
            if said.get("event") == "stopped":
                swarm.pop(port, None)
            else:
                swarm[port] = said.get("left") == "0"
            others = [other for other in swarm if other != port]
        peers = b"".join(bytes([127, 0, 0, 1]) + other.to_bytes(2, "big") for other in others)
        return bencode.encode({b"interval": 2, b"min interval": 1, b"peers": peers})


@contextmanager
def tracking() -> Iterator[Tracker]:
    """A tracker for the time of a test."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            if asked.path != "/announce":
                self.send_error(404)  # some ask for statistics, unasked
                return
            body = tracker.announce(asked.query)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        tracker = Tracker(f"http://127.0.0.1:{server.server_address[1]}/announce")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield tracker
        finally:
            server.shutdown()
            thread.join()
