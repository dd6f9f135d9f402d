"""An HTTP tracker that says what a test wants it to say (BEP 3, BEP 23)."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from weightshare.manifest import bencode


@dataclass
class Tracker:
    """What it says.

    Attributes:
        port: where it listens, on 127.0.0.1.
        ports: the peers it names, on 127.0.0.1.
        failure: its words where it refuses; empty where it does not.
        asked: how often it was asked for peers.
    """

    port: int
    ports: Sequence[int] = ()
    failure: str = ""
    asked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/announce"

    def answer(self) -> bytes:
        """The next answer."""
        with self.lock:
            self.asked += 1
        if self.failure:
            return bencode.encode({b"failure reason": self.failure.encode()})
        peers = b"".join(socket.inet_aton("127.0.0.1") + struct.pack(">H", port) for port in self.ports)
        return bencode.encode({b"interval": 1800, b"peers": peers})


@contextmanager
def tracker(*ports: int, failure: str = "") -> Iterator[Tracker]:
    """A tracker for the time of a test."""
    told = Tracker(0, ports, failure)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = told.answer()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join(10)
