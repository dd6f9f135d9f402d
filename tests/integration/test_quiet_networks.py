"""What leaves a machine, as a packet capture on its link shows it.

Nothing under `local`, nothing for outside under `lan`.

Each test runs in a network namespace that has routes to everywhere, a public name server, and a link full of bait:
trackers, web seeds, `.torrent` URLs and peers outside, by address and by name. The same under `public` sends packets,
so the capture can see them.
"""

from __future__ import annotations

import ipaddress
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.builders_checkpoints import place, tiny
from tests.cli.helpers import environment
from tests.integration.releases import Published, assert_whole
from tests.integration.running import Running
from tests.integration.waiting import until
from tests.namespaces import GATEWAY, Capture, Lan, Node, capture, missing
from weightshare.manifest.magnet import Magnet, parse

_WHY = missing() or ("" if shutil.which("tcpdump") else "tcpdump is not installed")
pytestmark = pytest.mark.skipif(bool(_WHY), reason=_WHY or "all is here")

RESOLVER = "203.0.113.53"
TRACKERS = (
    "udp://203.0.113.5:6969/announce",
    "http://203.0.113.6/announce",
    "https://tracker.example.org/announce",
    "udp://tracker.example.net:1337/announce",
    "http://[2001:db8::6]:80/announce",
    "udp://nas:6969/announce",
    "http://nas.local/announce",
)
WEB_SEEDS = (
    "http://203.0.113.7/m/",
    "https://cdn.example.org/m/",
    "http://[2001:db8::7]/m/",
    "http://box.lan/",
)
SOURCES = (
    "http://203.0.113.8/m.torrent",
    "https://example.org/m.torrent",
    "http://box.internal/m.torrent",
    "http://127.0.0.1:9/",
)
PEERS = (("203.0.113.9", 6881), ("2001:db8::9", 6881), ("seeder.example.org", 6881), ("nas", 6881))
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://203.0.113.10:3128")

# RFC 1918, 3927, 6598, 4193, 4291; 198.18/15 (RFC 2544) is the LAN of these tests. Multicast stays on the link. The
# engine asks a tracker from each interface, 127.0.0.1 too; no router takes such a packet further.
PRIVATE = [
    ipaddress.ip_network(text)
    for text in (
        *(
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "100.64.0.0/10",
            "198.18.0.0/15",
        ),
        *("224.0.0.0/4", "127.0.0.0/8", "fc00::/7", "fe80::/10", "ff00::/8"),
    )
]


def bait(published: Published) -> str:
    """The release's magnet with all that a stranger could add to it."""
    magnet = parse(published.magnet)
    return str(
        Magnet(
            v2_hash=magnet.v2_hash,
            v1_hash=magnet.v1_hash,
            name=magnet.name,
            trackers=TRACKERS,
            web_seeds=WEB_SEEDS,
            sources=SOURCES,
            peers=PEERS,
            publisher=magnet.publisher,
        )
    )


def outside(destinations: set[str]) -> set[str]:
    """Those that are not on the LAN of these tests."""
    return {
        text
        for text in destinations - {"ARP"}
        if not any(ipaddress.ip_address(text) in network for network in PRIVATE)
    }


def await_packets(seen: Capture, look: Callable[[], bool], what: str, *, within: float) -> None:
    """Wait for packets; if they do not come, say which did."""
    try:
        until(look, what, within=within)
    except AssertionError as error:
        kinds = {line.partition(": ")[0] + line.partition("length")[2] for line in seen.lines()}
        raise AssertionError("\n".join([str(error), *sorted(kinds)[-200:]])) from None


class Someone:
    """A user on a node.

    Args:
        node: where their commands run.
        home: their folder.
        network: how far their commands reach.
    """

    def __init__(self, node: Node, home: Path, network: str) -> None:
        self.node = node
        self.home = home
        self._network = network
        home.mkdir(exist_ok=True)

    def start(self, *words: str) -> Running:
        """Start a command."""
        more = {"WEIGHTSHARE_NETWORK": self._network, **PROXIES}
        return Running(self.home, *words, before=tuple(self.node.command([])), more=more)

    def run(self, *words: str, status: int = 0) -> dict[str, Any]:
        """Run a command to its end, with `--json`."""
        with self.start(*words, "--json") as running:
            return running.result(status)

    def publishes(self, folder: Path) -> Published:
        """Publish a small model with all the bait there is."""
        self.run("keys", "new", "acme")
        trackers = [word for url in TRACKERS for word in ("--tracker", url)]
        seeds = [word for url in WEB_SEEDS for word in ("--web-seed", url)]
        sources = [word for url in SOURCES for word in ("--torrent-url", url)]
        facts = self.run("publish", str(folder), "--name", "acme/m7b", *trackers, *seeds, *sources)
        return Published(self.home, folder, facts)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return place(tmp_path / "model", tiny())


def _whole_journey(maker: Someone, user: Someone, folder: Path, peer: str) -> None:
    """Everything that speaks to others, and what has no reason to."""
    with ExitStack() as stack:
        published = maker.publishes(folder)
        link = bait(published)
        seeder = stack.enter_context(maker.start("seed", "--json", "--port", "0"))
        port = seeder.event()["port"]
        words = ("--peer", f"{peer}:{port}") if peer else ()
        user.run("fetch", link, "preview", *published.trust, *words, "--timeout", "20", "--dry-run")
        user.run("fetch", link, "out", *published.trust, *words, "--timeout", "20")
        assert_whole(user.home / "out", published)
        user.run("inspect", "acme/m7b")
        user.run("inspect", link, *words)
        user.run("verify", "out")
        user.run("ls")
        user.run("trust", "list")
        # Links and URLs that lead nowhere but outside.
        user.run("fetch", "ab" * 32, "--timeout", "2", status=5)
        user.run("fetch", SOURCES[0], status=5)
        user.run("fetch", "https://tracker.example.org/m.torrent", status=5)
        user.run("trust", "add", "someone", "github:someone", status=5)


def test_local_sends_nothing_at_all(tmp_path: Path, model: Path) -> None:
    with Lan(1, default_route=True, resolver=RESOLVER) as lan, capture(lan.nodes[0]) as seen:
        one = Someone(lan.nodes[0], tmp_path / "maker", "local")
        two = Someone(lan.nodes[0], tmp_path / "user", "local")
        _whole_journey(one, two, model, "127.0.0.1")
        assert seen.lines() == []


def test_lan_sends_nothing_outside(tmp_path: Path, model: Path) -> None:
    """Also the proof that two find each other by LSD (BEP 14): no address is given."""
    with (
        Lan(2, default_route=True, resolver=RESOLVER) as lan,
        capture(lan.nodes[0]) as first,
        capture(lan.nodes[1]) as second,
    ):
        maker = Someone(lan.nodes[0], tmp_path / "maker", "lan")
        user = Someone(lan.nodes[1], tmp_path / "user", "lan")
        _whole_journey(maker, user, model, "")
        for seen in (first, second):
            assert outside(seen.destinations()) == set()
            assert "239.192.152.143" in seen.destinations(), "no local service discovery"
            assert not any(".1900:" in line or ".5351:" in line for line in seen.lines()), (
                "asked a router for a port"
            )


def test_public_is_seen(tmp_path: Path) -> None:
    """Such a link without the network's walls: every kind of bait is taken, or the tests above could not fail."""
    link = str(Magnet(v2_hash=b"\xab" * 32, trackers=TRACKERS, peers=PEERS))
    with Lan(1, default_route=True, resolver=RESOLVER) as lan, capture(lan.nodes[0]) as seen:
        user = Someone(lan.nodes[0], tmp_path / "user", "public")
        with user.start("fetch", link, "--timeout", "150"):
            expected = {RESOLVER, "203.0.113.5", "203.0.113.6", "2001:db8::6", "203.0.113.9", "2001:db8::9"}
            words = {
                *("tracker.example.org", "tracker.example.net", "seeder.example.org", "dht.libtorrent.org"),
                *("239.255.255.250.1900:", ".5351:"),  # routers, by UPnP, and by PCP or NAT-PMP
            }

            def all_taken() -> bool:
                lines = seen.lines()
                missing = {word for word in words if not any(word in line for line in lines)}
                return not missing and expected <= outside(seen.destinations())

            await_packets(seen, all_taken, "packets to all the bait", within=140)


@pytest.mark.parametrize("network", ["local", "lan", "public"])
def test_a_tracker_inside_cannot_send_us_outside(tmp_path: Path, network: str) -> None:
    """It redirects to a name; following it would take a look-up, which leaves the network. In public it does."""
    log = tmp_path / "asked"
    with Lan(1, default_route=True, resolver=RESOLVER) as lan, capture(lan.nodes[0]) as seen:
        node = lan.nodes[0]
        elsewhere = "http://tracker.example.org/announce"
        words = node.command([sys.executable, "-m", "tests.integration.canary", "80", str(log), elsewhere])
        tracker = subprocess.Popen(words, env=environment(tmp_path), start_new_session=True)
        try:
            until(log.exists, "the tracker to listen")
            user = Someone(node, tmp_path / "user", network)
            link = str(Magnet(v2_hash=b"\xab" * 32, trackers=("http://127.0.0.1/announce",)))

            def followed() -> bool:
                return any("tracker.example.org" in line for line in seen.lines())

            if network == "public":
                with user.start("fetch", link, "--timeout", "60"):
                    await_packets(seen, followed, "the redirect to be followed", within=60)
            else:
                user.run("fetch", link, "--timeout", "4", status=5)
                assert not followed()
                # The tracker's own: it asks for its name when it starts.
                assert outside(seen.destinations()) <= {RESOLVER}
            assert "127.0.0.1 /announce" in log.read_text().splitlines()
        finally:
            tracker.kill()
            tracker.wait(10)


def test_a_router_is_asked_for_the_peer_port_alone(tmp_path: Path, model: Path) -> None:
    """By PCP (RFC 6887) or NAT-PMP (RFC 6886), on the public network; what is asked for is read at the gateway."""
    log = tmp_path / "asked"
    with Lan(1, default_route=True, resolver=RESOLVER) as lan:
        gateway = Node(lan.hub, GATEWAY)
        words = gateway.command([sys.executable, "-m", "tests.integration.datagrams", "5351", str(log)])
        listener = subprocess.Popen(words, env=environment(tmp_path), start_new_session=True)
        try:
            until(log.exists, "the gateway to listen")
            maker = Someone(lan.nodes[0], tmp_path / "maker", "public")
            maker.publishes(model)
            with maker.start("seed", "--json", "--port", "7007") as seeder:
                seeder.event()
                until(lambda: len(_asked_of(log)) >= 2, "a port to be asked for")
            assert _asked_of(log) == {("TCP", 7007), ("UDP", 7007)}
        finally:
            listener.kill()
            listener.wait(10)


def _asked_of(log: Path) -> set[tuple[str, int]]:
    """Protocol and internal port of each mapping that was asked for."""
    found = set()
    for line in log.read_text().splitlines():
        data = bytes.fromhex(line)
        if len(data) == 60 and data[:2] == b"\2\1":  # PCP, MAP
            found.add(({6: "TCP", 17: "UDP"}[data[36]], int(struct.unpack(">H", data[40:42])[0])))
        elif len(data) == 12 and data[0] == 0 and data[1] in (1, 2):  # NAT-PMP
            found.add(({1: "UDP", 2: "TCP"}[data[1]], int(struct.unpack(">H", data[4:6])[0])))
    return found
