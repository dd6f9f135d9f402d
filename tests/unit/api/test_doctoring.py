"""What the doctor asks, of trackers and servers that answer as real ones do, well or badly."""

from __future__ import annotations

import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote_from_bytes
from urllib.request import urlopen

import pytest

from tests.builders_metainfo import hashed_all
from tests.integration.trackers import open_tracker, own_tracker
from tests.ports import free_port
from weightshare.api.doctoring import link
from weightshare.api.doctoring.checks import Asked, Check, Outcome, fail, ok, skip, status_of, together, warn
from weightshare.api.doctoring.diagnosing import kind_of
from weightshare.api.doctoring.trackers import TrackerSilentError, ask
from weightshare.content.home import Home
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.metainfo import build_info, build_torrent, parse_info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.swarm.networks import Network
from weightshare.units import BLOCK

HASH = b"\x12" * 20
FILES = hashed_all({"a": b"x" * 40_000, MANIFEST_NAME: b"{}"}, BLOCK)
INFO = build_info("m", BLOCK, FILES, hybrid=True)
TORRENT = build_torrent(INFO, FILES)
V2 = parse_info(INFO).v2_hash


def asked(source: str = "", home: Path = Path("/nowhere"), network: Network = Network.LOCAL) -> Asked:
    return Asked(source, Home(home), network, patience=3.0)


@contextmanager
def udp_tracker(answer: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """A server of datagrams on loopback; the URL of the tracker that it plays."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                packet, address = line.recvfrom(2048)
                if packet == b"end":
                    return
                said = answer(packet)
                if said is not None:
                    line.sendto(said, address)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"udp://127.0.0.1:{line.getsockname()[1]}/announce"
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"end", line.getsockname())
            thread.join(10)


def by_the_book(packet: bytes) -> bytes:
    """BEP 15: connect and scrape."""
    action, transaction = struct.unpack(">I4s", packet[8:16])
    if action == 0:
        assert packet[:8] == struct.pack(">Q", 0x41727101980)
        return struct.pack(">I4s8s", 0, transaction, b"connects")
    assert packet[:8] == b"connects"
    assert action == 2
    assert packet[16:] == HASH
    return struct.pack(">I4sIII", 2, transaction, 7, 99, 3)


def test_a_udp_tracker_is_asked_as_the_standard_says() -> None:
    with udp_tracker(by_the_book) as url:
        known = ask(url, [HASH], Network.LOCAL, 3)
    assert (known.seeders, known.leechers) == (7, 3)


def test_a_udp_tracker_that_does_not_scrape_is_told_of_a_client_that_has_stopped() -> None:
    events = []

    def answer(packet: bytes) -> bytes:
        action, transaction = struct.unpack(">I4s", packet[8:16])
        if action == 0:
            return by_the_book(packet)
        if action == 2:
            return struct.pack(">I4s", 3, transaction) + b"no scrapes"
        assert packet[16:36] == HASH
        events.append(struct.unpack(">I", packet[80:84])[0])
        return struct.pack(">I4sIII", 1, transaction, 1800, 4, 5)

    with udp_tracker(answer) as url:
        known = ask(url, [HASH], Network.LOCAL, 3)
    assert (known.seeders, known.leechers) == (5, 4)
    assert events == [3]


def test_a_lost_packet_is_sent_again() -> None:
    packets = []

    def answer(packet: bytes) -> bytes | None:
        packets.append(packet)
        return by_the_book(packet) if len(packets) > 1 else None

    with udp_tracker(answer) as url:
        assert ask(url, [HASH], Network.LOCAL, 6).seeders == 7


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            lambda packet: struct.pack(">I4s", 3, packet[12:16]) + b"go \x1b[31maway",
            r"it says: go \\x1b\[31maway",
        ),
        (lambda packet: b"HTTP/1.1 400", "no answer"),
        (lambda packet: struct.pack(">I4s", 0, packet[12:16]), "not as a tracker"),
    ],
    ids=["refusal", "noise", "short"],
)
def test_a_udp_server_that_is_no_use_is_told_apart(answer: Callable[[bytes], bytes], words: str) -> None:
    with udp_tracker(answer) as url, pytest.raises(TrackerSilentError, match=words):
        ask(url, [HASH], Network.LOCAL, 1)


@pytest.mark.parametrize("scheme", ["udp", "http"])
def test_why_a_tracker_is_silent(scheme: str) -> None:
    with pytest.raises(TrackerSilentError, match="nothing listens there"):
        ask(f"{scheme}://127.0.0.1:{free_port()}/announce", [HASH], Network.LOCAL, 3)
    with pytest.raises(TrackerSilentError, match=r"inside your own network"):
        ask(f"{scheme}://127.0.0.1:{free_port()}/announce", [HASH], Network.PUBLIC, 3)
    with pytest.raises(TrackerSilentError, match=r"outside"):
        ask(f"{scheme}://198.51.100.1:80/announce", [HASH], Network.LOCAL, 3)


def test_http_trackers_by_what_they_say() -> None:
    with own_tracker(named=(1, 2)) as tracker:
        assert ask(tracker.url, [HASH], Network.LOCAL, 3).leechers == 2
        (question,) = tracker.asked
        assert question["event"] == "stopped"
        assert question["info_hash"].encode("latin-1") == HASH
    with (
        own_tracker(refusal="not here") as tracker,
        pytest.raises(TrackerSilentError, match="says: not here"),
    ):
        ask(tracker.url, [HASH], Network.LOCAL, 3)


class Web(BaseHTTPRequestHandler):
    """Files under `/m/`, a page that is none, and a server that knows no ranges."""

    def do_GET(self) -> None:
        pages = {f"/seed/m/{MANIFEST_NAME}": b"{}", f"/whole/m/{MANIFEST_NAME}": b"{}", "/m.torrent": TORRENT}
        pages["/page/announce"] = b"<html>"
        body = pages.get(self.path.partition("?")[0])
        if body is None:
            self.send_error(404)
            return
        ranged = self.headers["Range"] and not self.path.startswith("/whole")
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes 0-0/{len(body)}")
            body = body[:1]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_each_part_of_a_link_is_explained_and_asked(tmp_path: Path, web: str) -> None:
    with udp_tracker(lambda packet: by_the_book(packet.replace(V2[:20], HASH))) as tracker:
        magnet = Magnet(
            v2_hash=V2,
            name="m",
            trackers=(
                tracker,
                f"{web}/page/announce",
                "udp://tracker.example:80/announce",
                "wss://127.0.0.1/x",
            ),
            web_seeds=(f"{web}/seed/", f"{web}/whole/", f"{web}/none/"),
            sources=(f"{web}/m.torrent", f"{web}/page/announce", "http://[::1]:1/m.torrent"),
            peers=(("127.0.0.1", int(web.rpartition(":")[2])), ("127.0.0.1", free_port())),
            publisher=b"\x07" * 32,
        )
        made = list(link.checks(asked(f"<{magnet}>", tmp_path)))
    seen = [(check.name, str(check.outcome), check.finding) for check in made]

    def one(name: str, outcome: str, *words: str) -> None:
        assert any(
            (found[0], found[1]) == (name, outcome) and all(word in found[2] for word in words)
            for found in seen
        ), (name, outcome, words, seen)

    one("repair", "warn", "took out the text")
    assert any((check.name, check.show) == ("info-hash v2", V2.hex()) for check in made)
    one("publisher", "warn", "SHA256:BwcHBw", "you do not know")
    one("tracker", "ok", "udp://127.0.0.1", "7 seeding, 3 others")
    one("tracker", "warn", web, "not as a tracker")
    one("tracker", "skip", "tracker.example", "outside the network")
    one("tracker", "skip", "WebTorrent")
    one("web seed", "ok", "honours ranges")
    one("web seed", "warn", "whole files")
    one("web seed", "warn", f"has no m/{MANIFEST_NAME}")
    one("torrent", "ok", "2 files")
    one("torrent", "warn", "no sound .torrent")
    one("torrent", "warn", "refused")
    one("peer", "ok", "takes connections")
    one("peer", "warn", "refused")
    one("DHT", "skip", "local")
    assert made[-1].show == f"'{magnet}'"
    assert status_of(made) == 0


def test_a_link_to_which_nobody_answers_fails_as_the_network_does(tmp_path: Path) -> None:
    source = f"magnet:?xt=urn:btih:{'12' * 20}&tr=http://127.0.0.1:{free_port()}/announce"
    made = list(link.checks(asked(source, tmp_path)))
    assert [check.name for check in made if check.outcome is Outcome.FAIL] == ["ways"]
    assert any(check.name == "proof" for check in made)
    assert status_of(made) == 5


@pytest.mark.parametrize(
    "url", ["http://[bad/x", "http://127.0.0.1:99999/announce", "http://@/", "http://127.0.0.1:x/"]
)
def test_a_url_that_is_none_is_said_and_ends_nothing(tmp_path: Path, url: str) -> None:
    odd = f"magnet:?xt=urn:btih:{'12' * 20}&tr={url}&ws={url}&xs={url}&tr={url.replace('http', 'udp')}"
    made = list(link.checks(asked(odd, tmp_path)))
    assert {check.outcome for check in made if check.name in ("tracker", "web seed", "torrent")} <= {
        Outcome.WARN,
        Outcome.SKIP,
    }
    assert made[-1].name == "link"


def test_a_text_that_is_no_link_is_a_matter_of_usage(tmp_path: Path) -> None:
    (check,) = link.checks(asked("magnet:?xt=urn:btih:12…", tmp_path))
    assert (check.outcome, check.code) == (Outcome.FAIL, 2)
    assert "xt=urn:btih:12…: no whole info-hash" in check.finding


def test_what_a_source_is(tmp_path: Path) -> None:
    assert kind_of(asked()).name == "machine"
    for text in (
        "magnet:?xt=urn:btih:12",
        "xt=urn:btih:" + "12" * 20,
        "12" * 20,
        "https://a.example/m.torrent",
    ):
        assert kind_of(asked(text, tmp_path)).name == "link"
    assert kind_of(asked(str(tmp_path), tmp_path)).name == "release"


def test_checks_that_wait_do_so_at_the_same_time_and_for_no_longer_than_allowed() -> None:
    began, never = time.monotonic(), threading.Event()

    def waits() -> Check:
        never.wait(20)
        return ok("late", "")

    made = list(together([(waits, lambda: warn("late", "no answer")), (lambda: ok("quick", ""), waits)], 0.3))
    never.set()
    assert [(check.name, str(check.outcome)) for check in made] == [("quick", "ok"), ("late", "warn")]
    assert time.monotonic() - began < 10


def test_the_status_is_that_of_the_first_failure() -> None:
    assert status_of([ok("a", ""), warn("b", ""), skip("c", "")]) == 0
    assert status_of([ok("a", ""), fail("b", "", code=6), fail("c", "")]) == 6


@pytest.mark.skipif(shutil.which("opentracker") is None, reason="needs opentracker, of Debian")
def test_a_real_tracker_counts_who_is_there_and_is_left_as_it_was() -> None:
    with open_tracker([HASH.hex()], port=free_port()) as tracker:
        address = f"{tracker.address}:{tracker.port}/announce"
        here = (
            f"info_hash={quote_from_bytes(HASH)}&peer_id={'a' * 20}&port=7000&left=0&uploaded=0&downloaded=0"
        )
        urlopen(f"http://{address}?{here}", timeout=10).close()
        for scheme in ("udp", "http", "udp", "http"):
            known = ask(f"{scheme}://{address}", [HASH], Network.LOCAL, 5)
            assert (known.seeders, known.leechers) == (1, 0), scheme
