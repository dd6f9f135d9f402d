"""Caps on the rate bind on loopback too, where nothing else slows a transfer down."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

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


def assert_capped(seconds: float, share: float = 1.0) -> None:
    """A transfer of the release took the time that it takes at a share of the cap."""
    assert LEAST / share * (1 - TOLERANCE) <= seconds <= LEAST / share * (1 + TOLERANCE) + BESIDE


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
