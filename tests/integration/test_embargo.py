"""A release under embargo: who gets it, who hears of it, and what changes when it is announced.

On machines of their own, since on one machine everybody has the same address; what leaves them is captured.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.builders_checkpoints import place, tiny
from tests.integration.releases import Published, assert_whole
from tests.integration.running import Running
from tests.integration.trackers import hashes_of, open_tracker
from tests.integration.waiting import until
from tests.namespaces import GATEWAY, Capture, Lan, Node, capture, missing
from weightshare.manifest.magnet import parse

_WHY = missing() or next(
    (f"{tool} is not installed" for tool in ("tcpdump", "opentracker") if not shutil.which(tool)), ""
)
pytestmark = pytest.mark.skipif(bool(_WHY), reason=_WHY or "all is here")

PORT = 7007
TRACKER = f"http://{GATEWAY}:6969/announce"


class Someone:
    """A user on a node, whose commands may speak to everybody."""

    def __init__(self, node: Node, home: Path) -> None:
        self.node = node
        self.home = home
        home.mkdir(exist_ok=True)

    def start(self, *words: str) -> Running:
        more = {"WEIGHTSHARE_NETWORK": "public"}
        return Running(self.home, *words, "--json", before=tuple(self.node.command([])), more=more)

    def run(self, *words: str, status: int = 0) -> dict[str, Any]:
        with self.start(*words) as running:
            return running.result(status)


def told(seen: Capture, *allowed: Node) -> set[str]:
    """Everybody beside these to whom something went that was more than the kernel's answer to a dial."""
    lines = [line for line in seen.lines() if not line.endswith("length 0")]
    return {
        line
        for line in lines
        if not line.startswith("ARP") and not any(f"> {node.address}." in line for node in allowed)
    }


def test_only_the_list_gets_it_until_it_is_announced(tmp_path: Path) -> None:
    with ExitStack() as stack:
        lan = stack.enter_context(Lan(3, default_route=True, resolver="203.0.113.53"))
        maker, mirror, stranger = (
            Someone(node, tmp_path / name)
            for node, name in zip(lan.nodes, ("maker", "mirror", "stranger"), strict=True)
        )
        seen = [stack.enter_context(capture(node)) for node in lan.nodes[:2]]
        maker.run("keys", "new", "acme")
        folder = place(tmp_path / "model", tiny())
        words = ("--tracker", TRACKER, "--torrent-url", f"http://{GATEWAY}:8000/m.torrent")
        held = ("--embargo", "--allow", mirror.node.address)
        facts = maker.run("publish", str(folder), "--name", "acme/m7b", *words, *held)
        published = Published(maker.home, folder, facts)
        quiet = parse(published.magnet)
        assert (quiet.trackers, quiet.sources, quiet.embargo) == ((), (), 0)
        assert maker.run("ls")["releases"][0]["embargo"] == {"allow": [mirror.node.address], "opens": 0}

        seeder = stack.enter_context(maker.start("seed", "--port", str(PORT)))
        assert seeder.event()["releases"] == ["acme/m7b@1"]
        at = ("--peer", f"{maker.node.address}:{PORT}")
        # The stranger has the bare hash, which is no secret for long, and even the address.
        bare = str(facts["info_hash_v2"])
        outcome = stranger.run("fetch", bare, "out", *published.trust, *at, "--timeout", "3", status=5)
        assert outcome["error"] == "no_peers"
        assert not any(path.is_file() for path in stranger.home.rglob("out/**/*"))
        got = mirror.run("fetch", published.magnet, "out", *published.trust, *at, "--timeout", "20")
        assert_whole(mirror.home / "out", published)
        assert got["complete"]
        copy = stack.enter_context(mirror.start("seed", "--port", str(PORT)))
        copy.event()
        late = ("--peer", f"{mirror.node.address}:{PORT}")
        stranger.run("fetch", bare, "out", *published.trust, *late, "--timeout", "3", status=5)
        assert told(seen[0], mirror.node) == set()
        assert told(seen[1], maker.node) == set()
        assert any(mirror.node.address in line for line in seen[0].lines()), "the capture saw nothing at all"

        hub = Node(lan.hub, GATEWAY)
        stack.enter_context(
            open_tracker(hashes_of(published), port=6969, address=GATEWAY, before=hub.command([]))
        )
        opened = maker.run("publish", "--announce", "acme/m7b")
        assert opened["was_closed"]
        assert opened["seeding"]
        assert opened["trackers"] == [TRACKER]
        assert seeder.event(1).get("event") == "announced", (seeder.out(), seeder.err())
        until(lambda: any(GATEWAY in line for line in told(seen[0], mirror.node)), "an announcement")
        stranger.run("fetch", opened["magnet"], "out", *published.trust, "--timeout", "30")
        assert_whole(stranger.home / "out", published)
        assert maker.run("ls")["releases"][0]["embargo"] is None

        # The mirror opens by the link that is posted, and takes the trackers from it.
        assert told(seen[1], maker.node) == set()
        mirror.run("publish", "--announce", opened["magnet"])
        assert copy.event(1)["event"] == "announced"
        until(lambda: any(GATEWAY in line for line in told(seen[1], maker.node)), "the mirror's announcement")
