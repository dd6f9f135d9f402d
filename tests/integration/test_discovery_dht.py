"""A DHT of our own: five machines, an info-hash, and not one address or tracker."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, tiny
from tests.integration.releases import Published, assert_whole, publish
from tests.integration.running import Running
from tests.integration.waiting import until
from tests.namespaces import Lan, Node, capture, missing
from weightshare.swarm.settings import DEFAULT_PORT

_WHY = missing()
pytestmark = pytest.mark.skipif(bool(_WHY), reason=_WHY or "all is here")


def _start(node: Node, home: Path, *words: str) -> Running:
    home.mkdir(exist_ok=True)
    more = {"WEIGHTSHARE_NETWORK": "public"}
    return Running(home, *words, "--json", before=tuple(node.command([])), more=more)


@pytest.mark.parametrize("way", [(), ("--v2-only",)], ids=["hybrid", "v2-only"])
def test_a_bare_info_hash_is_found(tmp_path: Path, way: tuple[str, ...]) -> None:
    """Three nodes that serve something else, a seeder, and a fetch that knows the hash and one node."""
    published = publish(tmp_path / "maker", place(tmp_path / "model", tiny()), *way)
    other = publish(tmp_path / "other", place(tmp_path / "else", tiny(1)), name="acme/else")
    with Lan(5, default_route=True, apart=True, multicast=False) as lan, ExitStack() as stack:
        router = f"{lan.nodes[0].address}:{DEFAULT_PORT}"
        for node in lan.nodes[:3]:
            first = stack.enter_context(_start(node, other.home, "seed", "--dht-nodes", router))
            first.event()
        seeder = stack.enter_context(_start(lan.nodes[3], published.home, "seed", "--dht-nodes", router))
        seeder.event()
        nobody = "203.0.113.1:6881"
        with _start(lan.nodes[4], tmp_path / "user", *_words(published, nobody, "4")) as user:
            assert user.result(5)["error"] == "no_peers", "it was found by something else than the DHT"
        with _start(lan.nodes[4], tmp_path / "user", *_words(published, router, "40")) as user:
            user.result(within=55)
    assert_whole(tmp_path / "user" / "out", published)


def _words(published: Published, node: str, timeout: str) -> tuple[str, ...]:
    source = str(published.facts["info_hash_v2"])
    return ("fetch", source, "out", *published.trust, "--dht-nodes", node, "--timeout", timeout)


def test_the_nodes_given_stand_in_for_the_public_ones(tmp_path: Path) -> None:
    """Whoever has a DHT of their own tells nobody else what they look for."""
    with Lan(1, default_route=True, resolver="203.0.113.53") as lan, capture(lan.nodes[0]) as seen:
        words = ("fetch", "ab" * 32, "--dht-nodes", "203.0.113.1:6881,[2001:db8::1]:7000", "--timeout", "4")
        with _start(lan.nodes[0], tmp_path / "user", *words) as user:
            until(
                lambda: {"203.0.113.1", "2001:db8::1"} <= seen.destinations(), "questions to both", within=20
            )
            assert user.result(5)["error"] == "no_peers"
        assert not any("dht." in line or "router." in line for line in seen.lines())
