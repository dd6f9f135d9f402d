"""Fetches to which the Hub gives what the swarm does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders_checkpoints import shard
from tests.hub_server import Habit
from tests.integration.releases import assert_whole
from tests.integration.running import Running, seeding
from tests.integration.served import Served, served
from tests.integration.waiting import until
from weightshare.units import KIB, MIB

PIECE = 64 * KIB
FILES = {
    "model-00001-of-00002.safetensors": shard(5 * MIB + 777, 1),
    "model-00002-of-00002.safetensors": shard(3 * MIB + 5, 2),
    "config.json": b'{"architectures": ["Nothing"]}',
    "sub/empty.txt": b"",
    "sub/vocab.json": b"{}" * 700,
}
SIZE = sum(map(len, FILES.values()))
LONG = {"model.safetensors": shard(16 * MIB + 3, 3), "config.json": b"{}"}
LONG_SIZE = sum(map(len, LONG.values()))


@pytest.fixture(scope="module", params=["hybrid", "v2"])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp(request.param)
    with served(folder, FILES, piece_length=PIECE, hybrid=request.param == "hybrid") as made:
        yield made


def test_nobody_seeds(release: Served, tmp_path: Path) -> None:
    """Link, `.torrent`, manifest, gate, and every piece from the Hub."""
    got = release.fetch(tmp_path, "--timeout", "20")
    assert got["received"] == {"swarm": 0, "hub": SIZE, "reused": 0, "from": {"hub": SIZE}}
    assert got["complete"]
    assert_whole(tmp_path / "out", release.published)


def test_the_hub_alone(release: Served, tmp_path: Path) -> None:
    got = release.fetch(tmp_path, "--sources", "hub", "--timeout", "20")
    assert got["received"] == {"swarm": 0, "hub": SIZE, "reused": 0, "from": {"hub": SIZE}}
    assert got["seconds"] < 3
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


def test_a_slow_seeder_is_helped_and_not_left(slow: Served, tmp_path: Path) -> None:
    with seeding(slow.published.home, "--max-up", "1M") as seeder:
        got = slow.fetch(tmp_path, "--peer", seeder.peer)
    swarm, hub, _ = bytes_of(got)
    assert swarm > 2 * MIB
    assert hub > swarm
    assert LONG_SIZE <= swarm + hub <= LONG_SIZE + 64 * PIECE
    assert got["seconds"] < 10


def test_a_fast_swarm_leaves_the_hub_alone(slow: Served, tmp_path: Path) -> None:
    asked = len(slow.hub.asked)
    with seeding(slow.published.home) as seeder:
        got = slow.fetch(tmp_path, "--peer", seeder.peer)
    assert bytes_of(got) == (LONG_SIZE, 0, 0)
    assert len(slow.hub.asked) == asked


def test_the_hub_dies_and_the_swarm_goes_on(slow: Served, tmp_path: Path) -> None:
    with seeding(slow.published.home, "--max-up", "3M") as seeder:
        slow.hub.habits.append(Habit("reset"))
        got = slow.fetch(tmp_path, "--peer", seeder.peer, "--timeout", "30")
    assert bytes_of(got)[0] > 0.7 * LONG_SIZE
    assert_whole(tmp_path / "out", slow.published)


def test_both_die_and_the_same_command_goes_on(slow: Served, tmp_path: Path) -> None:
    with seeding(slow.published.home, "--max-up", "1M") as seeder:
        slow.hub.habits.append(Habit("503", value="600"))
        with slow.fetching(tmp_path, "--peer", seeder.peer, "--timeout", "4") as running:
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


def test_wrong_bytes_are_refused_and_named(slow: Served, tmp_path: Path) -> None:
    slow.hub.habits.append(Habit("wrong-bytes", path="model.safetensors"))
    failed = slow.fetch(tmp_path / "alone", "--sources", "hub", "--timeout", "10", status=5)
    assert "the Hub gave other bytes than the signed ones of 'model.safetensors'" in failed["message"]
    assert not (tmp_path / "alone" / "out" / "model.safetensors").exists()
    with seeding(slow.published.home, "--max-up", "4M") as seeder:
        got = slow.fetch(tmp_path / "helped", "--peer", seeder.peer)
    assert any("gave other bytes" in warning for warning in got["warnings"])
    assert bytes_of(got)[0] > 0.9 * LONG_SIZE
    assert_whole(tmp_path / "helped" / "out", slow.published)
