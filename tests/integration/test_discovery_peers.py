"""Peers that are named, and peers that peers name: `--peer`, `x.pe`, PEX (BEP 11)."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, shard, tiny
from tests.integration.releases import Published, assert_whole, publish
from tests.integration.running import Running, seeding
from tests.integration.waiting import until
from tests.namespaces import Lan, missing
from tests.ports import free_port
from weightshare.manifest.magnet import Magnet, parse
from weightshare.units import KIB, MIB

_WHY = missing()
BIG = 24 * MIB


def _with_peers(published: Published, *peers: tuple[str, int]) -> str:
    magnet = parse(published.magnet)
    return str(Magnet(v2_hash=magnet.v2_hash, peers=peers))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_link_that_names_a_peer_is_enough(tmp_path: Path, host: str) -> None:
    """`x.pe`, behind two addresses where nobody is."""
    published = publish(tmp_path / "maker", place(tmp_path / "model", tiny()))
    user = tmp_path / "user"
    user.mkdir()
    with seeding(published.home) as seeder:
        link = _with_peers(published, ("127.0.0.1", 1), ("127.0.0.9", seeder.port), (host, seeder.port))
        with Running(user, "fetch", link, "out", *published.trust, "--json", "--timeout", "20") as fetch:
            fetch.result()
    assert_whole(user / "out", published)


@pytest.mark.parametrize("bare", [False, True], ids=["link", "info-hash"])
def test_a_seeder_can_be_sent_to_a_peer(tmp_path: Path, bare: bool) -> None:
    """`seed --peer`, for a user whose seeder cannot be reached; the other may know no more than the v2 info-hash."""
    published = publish(tmp_path / "maker", place(tmp_path / "model", tiny()))
    user = tmp_path / "user"
    user.mkdir()
    port = free_port()
    source = str(published.facts["info_hash_v2"]) if bare else published.magnet
    words = (
        "fetch",
        source,
        "out",
        *published.trust,
        "--json",
        "--timeout",
        "30",
        "--port",
        str(port),
    )
    with (
        Running(user, *words) as fetch,
        seeding(published.home, "--peer", f"127.0.0.1:{port}"),
    ):
        fetch.result()
    assert_whole(user / "out", published)


@pytest.mark.skipif(bool(_WHY), reason=_WHY or "all is here")
def test_a_peer_tells_of_another(tmp_path: Path) -> None:
    """A knows B, and B knows C. B gives next to nothing, so what A has in time is C's, of whom only B could tell."""
    published = publish(tmp_path / "maker", place(tmp_path / "model", {"model.safetensors": shard(BIG)}))
    with Lan(3, multicast=False) as lan, ExitStack() as stack:
        a, b, c = lan.nodes

        def start(node_words: list[str], home: Path, *words: str) -> Running:
            home.mkdir(exist_ok=True)
            more = {"WEIGHTSHARE_NETWORK": "lan"}
            return stack.enter_context(Running(home, *words, "--json", before=tuple(node_words), more=more))

        far = start(c.command([]), published.home, "seed", "--port", "7003").event()
        assert far["port"] == 7003
        hash_alone = str(published.facts["info_hash_v2"])
        slow = ("--max-down", "100K", "--max-up", "64K")
        middle = start(
            b.command([]),
            tmp_path / "middle",
            *("fetch", hash_alone, "out", *published.trust, "--peer", f"{c.address}:7003"),
            *("--port", "7002", *slow),
        )
        until(lambda: (tmp_path / "middle" / "out").exists(), "B to know C")
        near = start(
            a.command([]),
            tmp_path / "near",
            *("fetch", hash_alone, "out", *published.trust, "--peer", f"{b.address}:7002"),
        )
        near.result(within=50)
        assert middle.status is None, middle.out()
        assert_whole(tmp_path / "near" / "out", published)
        assert BIG / (64 * KIB) > 60, "B alone would not have been done"
