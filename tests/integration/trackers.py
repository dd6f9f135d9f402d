"""Trackers for tests: Debian's `opentracker` over HTTP and UDP, and one of our own, so that it can speak TLS."""

from __future__ import annotations

import ipaddress
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote_from_bytes, urlsplit

from tests.integration.releases import Published
from tests.integration.waiting import until
from weightshare.manifest import bencode


@dataclass(frozen=True, slots=True)
class OpenTracker:
    """A running `opentracker`; the same port over HTTP and UDP."""

    address: str
    port: int


def hashes_of(published: Published) -> tuple[str, ...]:
    """What a tracker knows a release by: its v1 info-hash, and the first 20 bytes of its v2 one (BEP 52)."""
    v1 = published.facts["info_hash_v1"]
    return (*((str(v1),) if v1 else ()), str(published.facts["info_hash_v2"])[:40])


@contextmanager
def open_tracker(
    hashes: Sequence[str],
    *,
    port: int,
    address: str = "127.0.0.1",
    before: Sequence[str] = (),
) -> Iterator[OpenTracker]:
    """A running `opentracker`. Debian's build serves only the torrents of a list.

    Args:
        hashes: the list.
        port: of both TCP and UDP.
        address: where it listens.
        before: a command that runs it, such as a node's.
    """
    program = shutil.which("opentracker") or "/usr/bin/opentracker"
    # It gives up root and takes the folder for the root of its file system: not one that only its maker may enter.
    folder = Path(tempfile.mkdtemp(prefix="weightshare-tracker-"))
    folder.chmod(0o755)
    known = os.urandom(20)
    (folder / "list").write_text("".join(f"{text}\n" for text in (*hashes, known.hex())))
    listed = "list" if os.geteuid() == 0 else str(folder / "list")
    words = ["-i", address, "-p", str(port), "-P", str(port), "-d", str(folder), "-w", listed]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*before, program, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
        try:
            until(
                lambda: _admits(address, port, known, before, process),
                "opentracker to read its list",
                within=10,
            )
            yield OpenTracker(address, port)
        finally:
            process.kill()
            process.wait(10)
            shutil.rmtree(folder)


# Prints what a URL answers, from wherever it is run; a tracker that is not there yet is an end with status 1.
_ASK = "import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1], timeout=5).read())"


def _admits(
    address: str, port: int, known: bytes, before: Sequence[str], process: subprocess.Popen[bytes]
) -> bool:
    """Whether a torrent of its list is served. The list is read by a thread of its own, after the port is open."""
    assert process.poll() is None, "opentracker has ended"
    asked = f"info_hash={quote_from_bytes(known)}&peer_id={'a' * 20}&port=1&left=0"
    words = [*before, sys.executable, "-I", "-c", _ASK, f"http://{address}:{port}/announce?{asked}"]
    done = subprocess.run(words, capture_output=True, timeout=20, check=False)
    return done.returncode == 0 and b"failure reason" not in done.stdout


@dataclass
class OwnTracker:
    """A tracker of BEP 3 with compact answers (BEP 23).

    Attributes:
        port: on 127.0.0.1.
        asked: the query of each announce, in their order.
        silent: whether it names nobody to anybody.
        refusal: what it says instead of naming peers (BEP 3's `failure reason`).
        redirect: where it sends everybody instead.
        named: ports of further peers on 127.0.0.1 that it names to everybody.
        interval: seconds until it wants to be asked again.
    """

    port: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)
    silent: bool = False
    refusal: str = ""
    redirect: str = ""
    named: Sequence[int] = ()
    interval: int = 60
    known: dict[str, set[tuple[str, int]]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it is asked, without TLS."""
        return f"http://127.0.0.1:{self.port}/announce"

    def answer(self, query: str, host: str) -> bytes:
        """Note who asks, and name the others."""
        # latin-1: an info-hash is any 20 bytes
        asked = dict(parse_qsl(query, encoding="latin-1"))
        self.asked.append(asked)
        if self.refusal:
            return bencode.encode({b"failure reason": self.refusal.encode()})
        here = (host, int(asked["port"]))
        crowd = self.known.setdefault(asked["info_hash"], set())
        others = [] if self.silent else sorted(crowd - {here})
        if asked.get("event") == "stopped":
            crowd.discard(here)
        else:
            crowd.add(here)
        others += [("127.0.0.1", port) for port in self.named]
        peers = b"".join(
            ipaddress.ip_address(host).packed + number.to_bytes(2, "big") for host, number in others
        )
        return bencode.encode({b"interval": self.interval, b"peers": peers})


@contextmanager
def own_tracker(
    certificate: Path | None = None, **behaviour: str | bool | int | Sequence[int]
) -> Iterator[OwnTracker]:
    """A running tracker on loopback, over TLS where it has a certificate.

    Args:
        certificate: key and certificate in one PEM.
        **behaviour: the tracker's attributes.
    """
    tracker = OwnTracker(**behaviour)  # type: ignore[arg-type]

    class Announce(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = tracker.answer(parts.query, str(self.client_address[0]))
            self.send_response(302 if tracker.redirect else 200)
            if tracker.redirect:
                self.send_header("Location", tracker.redirect)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def handle(self) -> None:
            with suppress(OSError):  # a client that does not like the certificate
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Announce)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    tracker.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield tracker
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
