"""Fetches to which the Hub gives what the swarm does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders_checkpoints import shard
from tests.integration.releases import assert_whole
from tests.integration.served import Served, served
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
