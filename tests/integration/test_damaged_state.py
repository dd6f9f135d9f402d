"""What a fetch keeps for itself is damaged: that is no verdict on the release, and the same command brings it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, shard, tiny
from tests.cli.helpers import result
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, seeding
from tests.integration.waiting import until
from weightshare.content.receipts import Receipt, load_receipts, save_receipts
from weightshare.content.store import STAGING
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import KIB, MIB

FILES = tiny() | {"model.safetensors": shard(8 * MIB, 1)}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    return publish(home, place(home / "model", FILES), "--piece-length", str(64 * KIB))


def only(folder: Path, name: str) -> Path:
    """The one file of that name that the user's store keeps."""
    (found,) = (folder / "weightshare" / "releases").glob(f"*/{name}")
    return found


@pytest.mark.parametrize("name", ["info", MANIFEST_NAME])
@pytest.mark.parametrize("how", ["truncated", "garbled"])
def test_what_an_interrupted_run_kept(published: Published, tmp_path: Path, name: str, how: str) -> None:
    words = ("fetch", published.magnet, "out", *published.trust, "--json")
    with seeding(published.home) as seeder:
        peer = ("--peer", seeder.peer)
        with Running(tmp_path, *words, *peer, "--max-down", str(2 * MIB)) as running:
            until(lambda: list((tmp_path / "out").glob(f"{STAGING}/*/*/model*")), "a staged file")
            running.send(signal.SIGINT)
            running.result(130)
        kept = only(tmp_path, name)
        data = kept.read_bytes()
        middle = len(data) // 2
        kept.write_bytes(
            data[:middle] if how == "truncated" else data[:middle] + b"\xff" + data[middle + 1 :]
        )
        with Running(tmp_path, *words, *peer) as running:
            running.result()
    assert_whole(tmp_path / "out", published)
    assert only(tmp_path, MANIFEST_NAME).read_bytes() == (published.folder / MANIFEST_NAME).read_bytes()


def test_a_finished_release_whose_torrent_is_damaged(published: Published, tmp_path: Path) -> None:
    with seeding(published.home) as seeder:
        fetch(tmp_path, published, "out", "--peer", seeder.peer)
        only(tmp_path, "release.torrent").write_bytes(b"d4:info")
        assert fetch(tmp_path, published, "out", "--peer", seeder.peer)["received"]["swarm"] == 0
    assert_whole(tmp_path / "out", published)


def test_what_verify_found_corrupt_is_fetched_again(published: Published, tmp_path: Path) -> None:
    """A receipt that still matches, as when a sector rots: once the file was read, it counts no more."""
    path = "model.safetensors"
    with seeding(published.home) as seeder:
        fetch(tmp_path, published, "out", "--peer", seeder.peer)
        bad = tmp_path / "out" / path
        bad.chmod(0o644)
        bad.write_bytes(FILES[path][:-1] + b"?")
        kept = only(tmp_path, "receipts.json")
        receipts = load_receipts(kept)
        root = receipts[path].root
        assert root is not None
        save_receipts(kept, {**receipts, path: Receipt.of(bad, bytes.fromhex(root))})

        found = result(tmp_path, "verify", "out", status=4)
        assert [file["path"] for file in found["files"] if not file["ok"]] == [path]
        assert fetch(tmp_path, published, "out", "--peer", seeder.peer)["received"]["swarm"] > 0
    assert_whole(tmp_path / "out", published)
    assert result(tmp_path, "verify", "out")["ok"]
