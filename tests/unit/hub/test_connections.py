"""What a source's connections survive, where they may lead, and how they go by a proxy."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.https_server import Page, https_site
from tests.hub_server import serve
from weightshare.api import reach as reaching
from weightshare.api.reach import Reach
from weightshare.errors import SourceError
from weightshare.hub.backoff import Patience
from weightshare.hub.connections import Proxies, environment_proxy, no_proxy
from weightshare.hub.ranges import RangeSource
from weightshare.hub.sources import mirror_source, web_seed_url
from weightshare.swarm.networks import Network

HASTY = Patience(connect=2, stall=0.2, least=1024, attempts=3, progress=2, wait=1, first=0.02)
BODY = bytes(range(200))
HEAD = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-199/500\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
pytestmark = pytest.mark.timeout(20)


def local() -> Reach:
    return Reach(Network.LOCAL, inside=True)


def mirror(url: str, *, reach: Callable[[], Reach] = local, proxies: Proxies = no_proxy) -> RangeSource:
    return mirror_source(url, "m", many=True, reach=reach, patience=HASTY, proxies=proxies)


def read(source: RangeSource, path: str = "a", length: int = 200) -> bytes:
    got = bytearray()
    source.read(path, 0, length, take=got.extend, stop=threading.Event())
    return bytes(got)


@contextmanager
def answering(answers: Sequence[Sequence[bytes]], pause: float = 0) -> Iterator[str]:
    """A server that gives one answer a connection, in parts with pauses, and closes it; the last one for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    left = list(answers)

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            parts = left.pop(0) if len(left) > 1 else left[0]
            with connection:
                try:
                    connection.recv(65536)
                    for part in parts:
                        connection.sendall(part)
                        time.sleep(pause)
                except OSError:
                    continue

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        [HEAD + b"Content-Length: 200\r\n\r\n" + BODY],
        [HEAD + b"Connection: close\r\n\r\n" + BODY],
        [HEAD + b"Content-Length: -5\r\n\r\n" + BODY],
        [
            CHUNKED,
            b"64\r\n" + BODY[:100] + b"\r\n64\r\n" + BODY[100:] + b"\r\n0\r\n\r\n",
        ],
        [b"HTTP/1.0 200 OK\r\n\r\n" + BODY + BODY],
    ],
    ids=["length", "close", "negative", "chunked", "1.0"],
)
def test_bodies_of_all_kinds(answer: list[bytes]) -> None:
    with answering([answer]) as url, mirror(url) as ours:
        assert read(ours) == BODY
        # The server closed the connection that was kept; that is no failure.
        assert read(ours) == BODY


@pytest.mark.parametrize(
    "answer",
    [
        [b"HTTP/1.1 206 OK\r\n"] + [b"X: y\r\n"] * 1000,
        [b"H"] * 100,
        [CHUNKED] + [b"0"] * 1000,
        [CHUNKED + b"ffffffffffffffffffffffff\r\n"],
        [b"no HTTP at all\r\n\r\n"],
        [HEAD + b"X: " + b"y" * 100_000],
        [b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"],
        [b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n"],
        [b"HTTP/1.1 302 Found\r\n\r\n"],
        [HEAD + b"Content-Length: 100\r\n\r\n" + BODY],
        [b""],
    ],
    ids=range(11),
)
def test_nonsense_and_trickles_end_in_an_error(answer: list[bytes]) -> None:
    began = time.monotonic()
    with answering([answer], pause=0.03) as url, mirror(url) as ours, pytest.raises(SourceError):
        read(ours)
    assert time.monotonic() - began < HASTY.progress + 2


def test_a_strangers_link_does_not_lead_inside(tmp_path: Path) -> None:
    def strangers() -> Reach:
        return Reach(Network.PUBLIC, inside=False)

    (tmp_path / "a").write_bytes(BODY)
    with serve(tmp_path, "o/m") as hub:
        for url in (hub.url, hub.url.replace("127.0.0.1", "localhost")):
            with (
                mirror(url, reach=strangers) as ours,
                pytest.raises(SourceError, match="inside your own") as caught,
            ):
                read(ours)
            assert caught.value.fatal
        with mirror("http://example.org/") as ours, pytest.raises(SourceError, match="outside the network"):
            read(ours)
        assert not hub.asked


def test_a_redirect_from_outside_does_not_lead_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even from a connection that was kept, whose address nobody looks up again."""
    monkeypatch.setattr(reaching, "is_inside", lambda host: host == "127.0.0.2")
    (tmp_path / "a").write_bytes(BODY)
    (tmp_path / "w.bin").write_bytes(BODY)
    source = RangeSource("hub", lambda path: hub.resolve(path), reach=_public, proxies=no_proxy)
    with serve(tmp_path, "o/m", elsewhere="http://127.0.0.2:1") as hub, source as ours:
        for path in ("w.bin", "a", "w.bin"):
            if path == "a":
                assert read(ours, path) == BODY
                continue
            with pytest.raises(SourceError, match="inside your own") as caught:
                read(ours, path)
            assert caught.value.fatal
        assert len(hub.asked) == 3


class _Proxy(BaseHTTPRequestHandler):
    """A proxy that answers absolute URLs itself, and connects where it is told."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.command, self.path, self.headers.get("Proxy-Authorization")))
        self.send_response(206)
        self.send_header("Content-Range", "bytes 0-199/500")
        self.send_header("Content-Length", "200")
        self.end_headers()
        self.wfile.write(BODY)

    def do_CONNECT(self) -> None:
        self.asked.append((self.command, self.path, self.headers.get("Proxy-Authorization")))
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), 5) as other:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(other, self.connection))
            back.start()
            _pump(self.connection, other)
            back.join()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, str | None]]]:
    asked: list[tuple[str, str, str | None]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_", (_Proxy,), {"asked": asked}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://me:a%20b@127.0.0.1:{server.server_address[1]}")
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


BASIC = f"Basic {base64.b64encode(b'me:a b').decode()}"


def test_a_proxy_is_asked_for_the_whole_url(proxy: list[tuple[str, str, str | None]]) -> None:
    with mirror("http://mirror.example:81/x/", proxies=environment_proxy, reach=_public) as ours:
        assert read(ours) == BODY
        assert read(ours) == BODY
    assert proxy == [("GET", "http://mirror.example:81/x/m/a", BASIC)] * 2


def test_a_proxy_connects_for_https(
    proxy: list[tuple[str, str, str | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with https_site(tmp_path) as site:
        site.pages["/m/a"] = Page(BODY)
        url = f"https://{site.host}/"
        with (
            mirror(url, proxies=environment_proxy, reach=_public) as ours,
            pytest.raises(SourceError, match="certificate"),
        ):
            read(ours)
        monkeypatch.setenv("SSL_CERT_FILE", str(site.certificate))
        with mirror(url, proxies=environment_proxy, reach=_public) as ours:
            assert read(ours) == BODY
        with mirror(url, proxies=environment_proxy, reach=local) as ours:
            assert read(ours) == BODY
        site.pages["/m/b"] = Page(status=302, location="http://127.0.0.1:1/")
        with mirror(url) as ours, pytest.raises(SourceError, match="redirects to 'http:"):
            read(ours, "b")
    assert proxy == [("CONNECT", site.host, BASIC)] * 2


def test_proxies_that_are_not_spoken_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    source = mirror("http://mirror.example/", proxies=environment_proxy, reach=_public)
    with source as ours, pytest.raises(SourceError, match="kind socks5"):
        read(ours)


def _public() -> Reach:
    return Reach(Network.PUBLIC, inside=True)


@pytest.mark.parametrize(
    ("url", "many", "found"),
    [
        ("https://h.example/d/", True, "https://h.example/d/a%20b/c/d%23.txt"),
        ("https://h.example/d", True, "https://h.example/d/a%20b/c/d%23.txt"),
        ("https://h.example/d/", False, "https://h.example/d/a%20b"),
        ("https://h.example/d/x.bin", False, "https://h.example/d/x.bin"),
    ],
)
def test_where_a_web_seed_has_a_file(url: str, many: bool, found: str) -> None:
    assert web_seed_url(url, "a b", "c/d#.txt", many=many) == found
