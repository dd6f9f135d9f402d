"""Nothing is fetched that another release on this machine has already, and nothing is believed for being here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.builders_checkpoints import contents, place, shard
from tests.cli.helpers import result
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import seeding
from weightshare.units import KIB

SAME, OLD, NEW = shard(300 * KIB, 1), shard(200 * KIB, 2), shard(200 * KIB, 3)
FIRST = {"a.safetensors": SAME, "b.safetensors": OLD, "config.json": b'{"v": 1}'}
SECOND = {"renamed.safetensors": SAME, "b.safetensors": NEW, "config.json": b'{"v": 2}'}


@pytest.fixture
def versions(tmp_path: Path) -> tuple[Published, Published]:
    home = tmp_path / "maintainer"
    words = ("--piece-length", "32K")
    first = publish(home, place(home / "one" / "m7b", FIRST), "--version", "1", *words)
    return first, publish(home, place(home / "two" / "m7b", SECOND), "--version", "2", *words)


def test_an_unchanged_shard_is_not_fetched_again(
    versions: tuple[Published, Published], tmp_path: Path
) -> None:
    first, second = versions
    user = tmp_path / "user"
    with seeding(first.home, "acme/m7b@1", "acme/m7b@2") as seeder:
        one = fetch(user, first, "--peer", seeder.peer)
        two = fetch(user, second, "--peer", seeder.peer)
    assert one["received"] == {"swarm": first.size, "hub": 0, "reused": 0}
    assert two["received"] == {"swarm": second.size - len(SAME), "hub": 0, "reused": len(SAME)}
    assert_whole(Path(two["path"]), second)
    for release in ("acme/m7b@1", "acme/m7b@2"):
        assert result(user, "verify", release)["ok"]
    assert not os.access(Path(two["path"]) / "renamed.safetensors", os.X_OK)
    with seeding(user, "acme/m7b@1", "acme/m7b@2") as seeder:
        third = fetch(tmp_path / "third", second, "--peer", seeder.peer)
    assert_whole(Path(third["path"]), second)


def test_a_link_does_not_spoil_the_receipt_of_where_it_came_from(
    versions: tuple[Published, Published], tmp_path: Path
) -> None:
    first, second = versions
    user = tmp_path / "user"
    with seeding(first.home, "acme/m7b@1", "acme/m7b@2") as seeder:
        fetch(user, first, "--peer", seeder.peer)
        fetch(user, second, "--peer", seeder.peer)
    # Nobody serves it any more: the answer comes from receipts that still hold, or not at all.
    again = fetch(user, first, "--timeout", "2")
    assert again["received"]["reused"] == first.size


def test_of_what_is_not_what_it_was_the_rest_is_taken(
    versions: tuple[Published, Published], tmp_path: Path
) -> None:
    first, second = versions
    user = tmp_path / "user"
    with seeding(first.home, "acme/m7b@1", "acme/m7b@2") as seeder:
        one = Path(fetch(user, first, "--peer", seeder.peer)["path"])
        shard_file = one / "a.safetensors"
        shard_file.chmod(0o644)
        spoilt = bytearray(SAME)
        spoilt[150 * KIB] ^= 1
        shard_file.write_bytes(spoilt)
        two = fetch(user, second, "--peer", seeder.peer)
    kept = len(SAME) - 32 * KIB
    assert two["received"] == {"swarm": second.size - kept, "hub": 0, "reused": kept}
    assert_whole(Path(two["path"]), second)
    assert shard_file.read_bytes() == spoilt, "somebody's file is left alone"


def test_a_user_s_own_folder_is_copied_from_and_never_linked(
    versions: tuple[Published, Published], tmp_path: Path
) -> None:
    first, second = versions
    user, mine = tmp_path / "user", tmp_path / "mine"
    with seeding(first.home, "acme/m7b@1", "acme/m7b@2") as seeder:
        fetch(user, first, str(mine), "--peer", seeder.peer)
        two = fetch(user, second, "--peer", seeder.peer)
    assert two["received"]["reused"] == len(SAME)
    taken = Path(two["path"]) / "renamed.safetensors"
    assert taken.stat().st_ino != (mine / "a.safetensors").stat().st_ino
    assert taken.stat().st_nlink == 1
    assert contents(mine) == contents(first.folder)


def test_a_release_whose_files_are_all_here_needs_no_peer_for_them(tmp_path: Path) -> None:
    home, user = tmp_path / "maintainer", tmp_path / "user"
    first = publish(home, place(home / "one" / "m7b", FIRST), "--version", "1")
    second = publish(home, place(home / "two" / "m7b", FIRST), "--version", "2")
    with seeding(home, "acme/m7b@1", "acme/m7b@2") as seeder:
        fetch(user, first, "--peer", seeder.peer)
        two = fetch(user, second, "--peer", seeder.peer)
    assert two["received"] == {"swarm": 0, "hub": 0, "reused": second.size}
    assert_whole(Path(two["path"]), second)


def test_a_dry_run_says_what_comes_from_where_and_does_nothing(
    versions: tuple[Published, Published], tmp_path: Path
) -> None:
    first, second = versions
    user = tmp_path / "user"
    with seeding(first.home, "acme/m7b@1", "acme/m7b@2") as seeder:
        fetch(user, first, "--peer", seeder.peer)
        before = sorted(path for path in user.rglob("*"))
        said = fetch(user, second, "--dry-run", "--peer", seeder.peer)
        assert sorted(path for path in user.rglob("*")) == before
        sources = {file["path"]: file["from"] for file in said["files"]}
        assert sources == {
            "b.safetensors": "peers",
            "config.json": "peers",
            "renamed.safetensors": "acme/m7b@1",
        }
        assert said["from_peers"] == second.size - len(SAME)
        got = fetch(user, second, "--peer", seeder.peer)
        assert got["received"]["swarm"] == said["from_peers"]
        assert got["path"] == said["path"]
        after = fetch(user, second, "--dry-run", "--peer", seeder.peer)
    assert {file["from"] for file in after["files"]} == {"here"}
    assert after["from_peers"] == 0


def test_a_dry_run_goes_through_the_gate_and_remembers_nobody(
    versions: tuple[Published, Published], tmp_path: Path
) -> None:
    first, _ = versions
    user = tmp_path / "user"
    user.mkdir()
    with seeding(first.home, "acme/m7b@1") as seeder:
        words = ("fetch", first.magnet, "--dry-run", "--peer", seeder.peer)
        assert result(user, *words, status=3)["error"] == "unknown_publisher"
        assert fetch(user, first, "--dry-run", "--peer", seeder.peer)["from_peers"] == first.size
    assert result(user, "trust", "list")["publishers"] == []
    assert result(user, "ls")["releases"] == []
