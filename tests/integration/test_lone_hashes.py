"""Files whose last request for piece hashes is for a single one: libtorrent 2.1 hangs up over the answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders_checkpoints import place, shard
from tests.cli.helpers import result
from tests.integration.releases import assert_whole, fetch, publish
from tests.integration.running import seeding
from weightshare.units import KIB

# 513 pieces of 16 KiB each, and a bit: a tensor of a power of two with its header in front.
FILES = {f"model-{n}.safetensors": shard(513 * 32 * KIB - 30 * KIB, n) for n in (1, 2)}


@pytest.mark.parametrize("way", [("--v2-only",), ()], ids=["v2-only", "hybrid"])
def test_with_the_torrent_at_hand_nobody_has_to_be_asked(tmp_path: Path, way: tuple[str, ...]) -> None:
    home = tmp_path / "maintainer"
    folder = place(home / "m7b", FILES)
    published = publish(home, folder, "--piece-length", "32K", *way)
    assert "one piece hash more than a multiple of 512" in " ".join(published.facts["warnings"])
    with seeding(home, "acme/m7b") as seeder:
        got = fetch(
            tmp_path / "user",
            published,
            "--peer",
            seeder.peer,
            "--timeout",
            "20",
            source=published.facts["torrent"],
        )
    assert_whole(Path(got["path"]), published)


def test_publish_chooses_pieces_that_a_link_alone_can_be_fetched_by(tmp_path: Path) -> None:
    home = tmp_path / "maintainer"
    big = {f"model-{n}.safetensors": shard(128 * 1024 * KIB + 88, n) for n in (1, 2)}
    published = publish(home, place(home / "m7b", big), "--v2-only")
    assert not [text for text in published.facts["warnings"] if "512" in text]
    assert result(home, "inspect", "acme/m7b")["bytes"] == published.size
    with seeding(home, "acme/m7b") as seeder:
        got = fetch(tmp_path / "user", published, "--peer", seeder.peer, "--timeout", "20")
    assert_whole(Path(got["path"]), published)
