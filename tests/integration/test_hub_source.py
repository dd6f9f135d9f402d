"""Fetches to which the Hub gives what the swarm does not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders_checkpoints import place, shard
from tests.cli.helpers import weightshare
from tests.hub_server import Habit, serve
from tests.integration.releases import assert_whole, fetch, publish
from tests.integration.running import Running, seeding
from tests.integration.served import Served, served, website
from tests.integration.waiting import until
from weightshare.api.manifest_places import manifest_of
from weightshare.api.sources import resolve
from weightshare.errors import ManifestNotFoundError
from weightshare.swarm.networks import Network
from weightshare.units import KIB, MIB

PIECE = 64 * KIB
FILES = {
    "model-00001-of-00002.safetensors": shard(5 * MIB + 777, 1),
    "model-00002-of-00002.safetensors": shard(3 * MIB + 5, 2),
    "config.json": b'{"architectures": ["Nothing"]}',
    "sub/empty.txt": b"",
    "sub/vocab.json": b"{}" * 700,
}
SHARDS = [path for path in FILES if path.endswith(".safetensors")]
SIZE = sum(map(len, FILES.values()))
LONG = {"model.safetensors": shard(6 * MIB + 3, 3), "config.json": b"{}"}
LONG_SIZE = sum(map(len, LONG.values()))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Of several files and v2 alone."""
    with served(tmp_path_factory.mktemp("release"), FILES, piece_length=PIECE, hybrid=False) as made:
        yield made


def test_the_hub_alone(release: Served, tmp_path: Path) -> None:
    """No peer is asked, though one is given; a part first, and then the rest."""
    asked = release.hub.count("store")
    with seeding(release.published.home) as seeder:
        words = ("--sources", "hub", "--peer", seeder.peer, "--order", "model")
        got = release.fetch(tmp_path, *words, "--include", "*.json")
        assert bytes_of(got) == (0, SIZE - sum(len(FILES[path]) for path in SHARDS), 0)
        assert release.hub.count("store") == asked
        got = release.fetch(tmp_path, *words)
    assert bytes_of(got)[:2] == (0, sum(len(FILES[path]) for path in SHARDS))
    assert_whole(tmp_path / "out", release.published)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A release that a slow peer needs a while for."""
    with served(tmp_path_factory.mktemp("lasting"), LONG, piece_length=PIECE) as made:
        yield made


@pytest.fixture
def slow(lasting: Served) -> Iterator[Served]:
    """The same, its Hub with no habits afterwards."""
    yield lasting
    lasting.hub.habits.clear()


def share_here(running: Running, least: int) -> None:
    """Wait until so many per cent are here."""

    def look() -> bool:
        assert running.status is None, (running.out(), running.err())
        return any(int(share) >= least for share in re.findall(r"\((\d+) %\)", running.err()))

    until(look, f"{least} %")


def bytes_of(got: dict[str, Any]) -> tuple[int, int, int]:
    received = got["received"]
    return received["swarm"], received["hub"], received["reused"]


def test_the_seeder_dies_on_the_way(slow: Served, tmp_path: Path) -> None:
    """The only peer goes when a part has come; the rest comes from the Hub, and nothing counts twice."""
    with seeding(slow.published.home, "--max-up", "1M") as seeder:
        running = slow.fetching(tmp_path, "--peer", seeder.peer, "--timeout", "30")
        with running:
            share_here(running, 15)
            seeder.kill()
            got = running.result()
    swarm, hub, _ = bytes_of(got)
    assert swarm > 0
    assert hub > 0
    assert LONG_SIZE <= swarm + hub <= LONG_SIZE + 10 * PIECE
    assert_whole(tmp_path / "out", slow.published)


def test_both_die_and_the_same_command_goes_on(slow: Served, tmp_path: Path) -> None:
    with seeding(slow.published.home, "--max-up", "1M") as seeder:
        slow.hub.habits.append(Habit("503", value="600"))
        with slow.fetching(tmp_path, "--peer", seeder.peer, "--timeout", "3") as running:
            share_here(running, 15)
            seeder.kill()
            failed = running.result(5)
    assert failed["reason"] == "servers_wait"
    assert "the Hub asks us to wait" in failed["message"]
    assert "same command resumes" in failed["hint"]
    assert not (tmp_path / "out" / "model.safetensors").exists()
    slow.hub.habits.clear()
    got = slow.fetch(tmp_path, "--sources", "hub")
    _, hub, reused = bytes_of(got)
    assert reused > LONG_SIZE / 10
    assert hub + reused >= LONG_SIZE
    assert_whole(tmp_path / "out", slow.published)


def test_a_cap_binds_the_hub_alone(slow: Served, tmp_path: Path) -> None:
    got = slow.fetch(tmp_path, "--sources", "hub", "--max-down", str(3 * MIB))
    assert 0.8 * LONG_SIZE / (3 * MIB) <= got["seconds"] <= 1.3 * LONG_SIZE / (3 * MIB) + 2


def test_a_web_seed_that_redirects(tmp_path: Path) -> None:
    """A mirror that sends every file elsewhere, on which libtorrent's own web seeds wait half a minute a file."""
    with ExitStack() as stack:
        model = place(tmp_path / "model", FILES)
        hub = stack.enter_context(serve(model, "acme/mirror", large=0))
        site = stack.enter_context(website(tmp_path / "pages"))
        seed = f"{hub.url}/acme/mirror/resolve/main/"
        # The last folder of such a seed is the torrent's name: the mirror knows it as a branch.
        seed = seed.removesuffix("main/")
        made = publish(
            tmp_path / "home", model, "--web-seed", seed, "--out", str(tmp_path / "pages"), name="acme/main"
        )
        assert site
        got = fetch(tmp_path / "user", made, "out", "--sources", "hub", source=str(made.facts["torrent"]))
    assert bytes_of(got)[:2] == (0, SIZE)
    host = hub.url.removeprefix("http://")
    assert got["received"]["from"] == {host: SIZE}
    assert_whole(tmp_path / "user" / "out", made)


def test_nobody_seeds(slow: Served, tmp_path: Path) -> None:
    """Link, `.torrent`, manifest, gate, and every piece from the Hub, through the engine."""
    got = slow.fetch(tmp_path, "--timeout", "20")
    assert got["received"] == {"swarm": 0, "hub": LONG_SIZE, "reused": 0, "from": {"hub": LONG_SIZE}}
    assert got["complete"]
    assert_whole(tmp_path / "out", slow.published)


def test_wrong_bytes_are_refused_and_named(slow: Served, tmp_path: Path) -> None:
    slow.hub.habits.append(Habit("wrong-bytes", path="model.safetensors"))
    failed = slow.fetch(tmp_path, "--sources", "hub", "--timeout", "10", status=5)
    assert "the Hub gave other bytes than the signed ones of 'model.safetensors'" in failed["message"]
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_useless_hub_does_not_stop_the_swarm(slow: Served, tmp_path: Path) -> None:
    slow.hub.habits.append(Habit("wrong-bytes", path="model.safetensors"))
    with seeding(slow.published.home, "--max-up", "1500K") as seeder:
        got = slow.fetch(tmp_path, "--peer", seeder.peer)
    assert any("gave other bytes" in warning for warning in got["warnings"])
    assert bytes_of(got)[0] > 0.8 * LONG_SIZE
    assert_whole(tmp_path / "out", slow.published)


def test_the_network_allowed_holds_for_the_hub(slow: Served, tmp_path: Path) -> None:
    """`local` allows this machine alone, and the public Hub is none of it."""
    words = ("fetch", slow.published.magnet, "out", *slow.published.trust, "--sources", "hub", "--json")
    done = weightshare(tmp_path, *words, more={"HF_HUB_OFFLINE": "0"})
    assert done.returncode == 5, done.stderr
    assert "huggingface.co lies outside the network allowed (local)" in json.loads(done.stdout)["message"]


def test_where_the_manifest_may_lie(slow: Served) -> None:
    """Beside the `.torrent`, at a second `xs=`, and the other way round; another release's counts for nothing."""
    envelope = (slow.pages / "m7b.weightshare.json").read_bytes()
    target = resolve(slow.published.magnet, Network.LOCAL)
    assert target.torrent is not None
    info = target.torrent.info
    assert manifest_of(target, info, Network.LOCAL) == envelope
    assert resolve(f"{slow.site}/m7b.weightshare.json", Network.LOCAL).torrent == target.torrent

    apart = slow.pages / "apart"
    apart.mkdir(exist_ok=True)
    (apart / "one.torrent").write_bytes((slow.pages / "m7b.torrent").read_bytes())
    (apart / "two.json").write_bytes(envelope)
    urls = (f"{slow.site}/apart/one.torrent", f"{slow.site}/apart/two.json")
    second = resolve(str(replace(target.magnet, sources=urls)), Network.LOCAL)
    assert manifest_of(second, info, Network.LOCAL) == envelope

    (apart / "weightshare.json").write_bytes(envelope.replace(b"e", b"f", 1))
    alone = resolve(str(replace(target.magnet, sources=urls[:1])), Network.LOCAL)
    with pytest.raises(ManifestNotFoundError, match=r"apart/weightshare\.json is another manifest"):
        manifest_of(alone, info, Network.LOCAL)
