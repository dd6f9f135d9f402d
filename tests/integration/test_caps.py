"""Caps on the rate bind on loopback and on a LAN too, where nothing else slows a transfer down."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import namespaces
from tests.builders_checkpoints import place, shard
from tests.integration.releases import Published, fetch, publish
from tests.integration.running import Running, seeding
from weightshare.units import MIB

SIZE = 24 * MIB
CAP = 4 * MIB
LEAST = SIZE / CAP
"""Seconds that a transfer takes at the cap."""
TOLERANCE = 0.15
BESIDE = 2.5
"""Seconds a fetch may take beside the transfer on a busy machine: the engine's start, the gate, the proof."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    return publish(home, place(home / "model", {"model.safetensors": shard(SIZE)}))


def assert_capped(seconds: float, *, beside: float = BESIDE) -> None:
    """A transfer of the release took the time that it takes at the cap."""
    assert LEAST * (1 - TOLERANCE) <= seconds <= LEAST * (1 + TOLERANCE) + beside


def test_without_a_cap_it_is_far_faster(published: Published, tmp_path: Path) -> None:
    """Or the tests below would show nothing."""
    with seeding(published.home) as seeder:
        fetched = fetch(tmp_path, published, "out", "--peer", seeder.peer)
    assert fetched["seconds"] < LEAST / 2


def test_max_down(published: Published, tmp_path: Path) -> None:
    with seeding(published.home) as seeder:
        fetched = fetch(tmp_path, published, "out", "--peer", seeder.peer, "--max-down", str(CAP))
    assert_capped(fetched["seconds"])


def test_max_up_is_shared_by_all_peers(published: Published, tmp_path: Path) -> None:
    """Two peers at once, at the cap together: each takes as long as both releases' bytes one after the other."""
    with ExitStack() as stack:
        seeder = stack.enter_context(seeding(published.home, "--max-up", str(2 * CAP)))
        both = []
        for user in (tmp_path / "b", tmp_path / "c"):
            user.mkdir()
            words = ("fetch", published.magnet, "out", *published.trust, "--peer", seeder.peer, "--json")
            both.append(stack.enter_context(Running(user, *words)))
        seconds = [running.result()["seconds"] for running in both]
    assert_capped(max(seconds))


@pytest.fixture(scope="module")
def household() -> Iterator[namespaces.Lan]:
    """Two machines with addresses of a home network, which the engine would by itself leave out of all limits."""
    if why := namespaces.missing():
        pytest.skip(why)
    with namespaces.Lan(2) as lan:
        for number, node in enumerate(lan.nodes, 1):
            words = node.command(["ip", "addr", "add", f"10.77.0.{number}/24", "dev", "eth0"])
            subprocess.run(words, check=True)
        yield lan


@pytest.mark.parametrize("side", ["none", "up", "down"])
def test_caps_bind_between_two_machines_of_a_lan(
    published: Published, tmp_path: Path, household: namespaces.Lan, side: str
) -> None:
    here, there = (tuple(node.command([])) for node in household.nodes)
    up = ("--max-up", str(CAP)) if side == "up" else ()
    down = ("--max-down", str(CAP)) if side == "down" else ()
    with seeding(published.home, "--network", "lan", *up, port=6991, before=here) as seeder:
        words = ("--network", "lan", "--peer", f"10.77.0.1:{seeder.port}", "--json", *published.trust, *down)
        with Running(tmp_path, "fetch", published.magnet, "out", *words, before=there) as running:
            seconds = running.result()["seconds"]
    if side == "none":
        assert seconds < LEAST / 2
    else:
        assert_capped(seconds, beside=2 * BESIDE)  # two namespaces more to be started in
