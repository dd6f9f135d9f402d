"""Files of one release that are equal: one is fetched, and the others are made from it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, shard
from tests.cli.helpers import result
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, seeding
from tests.integration.waiting import until
from weightshare.content.receipts import load_receipts
from weightshare.content.store import STAGING
from weightshare.units import KIB, MIB

PIECE = 32 * KIB
LONG, SHORT = shard(700 * KIB, 1), shard(20 * KIB, 2)
A, B, C, D = (f"{folder}/model.safetensors" for folder in "abcd")
TWO = {A: LONG, B: LONG, "config.json": b'{"architectures": ["Nothing"]}'}
CASES = {
    "two": TWO,
    "three": {**TWO, C: LONG},
    "short": {**TWO, A: SHORT, B: SHORT},
    "empty": {"a/empty.txt": b"", "b/empty.txt": b"", C: LONG},
}
KINDS = {"v2-only": ("--v2-only",), "hybrid": ()}


def released(tmp_path: Path, files: Mapping[str, bytes], *words: str) -> Published:
    home = tmp_path / "maintainer"
    return publish(home, place(home / "m7b", files), "--piece-length", str(PIECE), *words)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 60 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60m", "weightshare-test", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


def once(files: Mapping[str, bytes]) -> int:
    """The bytes of what is not equal."""
    return sum(map(len, set(files.values())))


@pytest.mark.parametrize(
    ("case", "kind", "by"),
    [(case, "v2-only", "magnet") for case in CASES]
    + [("two", "hybrid", "magnet"), ("two", "v2-only", "torrent"), ("three", "hybrid", "torrent")],
)
def test_equal_files_are_fetched_once(tmp_path: Path, case: str, kind: str, by: str) -> None:
    files = CASES[case]
    published = released(tmp_path, files, *KINDS[kind])
    source = published.magnet if by == "magnet" else str(published.facts["torrent"])
    user = tmp_path / "user"
    with seeding(published.home, "acme/m7b") as seeder:
        words = ("--peer", seeder.peer, "--timeout", "20")
        said = fetch(user, published, "--dry-run", *words, source=source)
        got = fetch(user, published, *words, source=source)
    assert_whole(Path(got["path"]), published)
    assert got["received"] == {"swarm": once(files), "hub": 0, "reused": published.size - once(files)}
    assert said["from_peers"] == once(files)
    sources = {file["path"]: file["from"] for file in said["files"]}
    assert sources.get(B, f"same as {A}") == f"same as {A}"
    assert all(sources[path] == "peers" for path, data in files.items() if not data)
    assert got["files"] == len(files)
    # What it wrote down is right too: nothing of it need be proven again to be served.
    receipts = load_receipts(next(user.rglob("receipts.json")))
    assert receipts.keys() == files.keys()
    assert all(receipt.still_holds(Path(got["path"]) / path) for path, receipt in receipts.items())
    with seeding(user, "acme/m7b") as seeder:
        assert_whole(Path(fetch(tmp_path / "third", published, "--peer", seeder.peer)["path"]), published)


def test_in_a_folder_of_the_user_s_they_are_no_links(tmp_path: Path) -> None:
    published = released(tmp_path, TWO, "--v2-only")
    mine = tmp_path / "mine"
    with seeding(published.home, "acme/m7b") as seeder:
        got = fetch(tmp_path / "user", published, str(mine), "--peer", seeder.peer)
    assert_whole(mine, published)
    assert got["received"]["swarm"] == once(TWO)
    assert [(mine / path).stat().st_nlink for path in (A, B)] == [1, 1]


def test_there_must_be_room_for_all_of_them(tmp_path: Path, disk: Path) -> None:
    data = shard(20 * MIB, 6)
    published = released(tmp_path, {A: data, B: data, C: data}, "--v2-only")
    user = tmp_path / "user"
    with seeding(published.home, "acme/m7b") as seeder:
        refused = fetch(user, published, str(disk), "--peer", seeder.peer, status=6)
        assert refused["error"] == "no_space"
        assert refused["needed"] >= published.size
        # In a folder of our own one of them is enough, and the others are links to it.
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "weightshare").symlink_to(disk)
        got = fetch(tmp_path / "own", published, "--peer", seeder.peer)
    folder = Path(got["path"])
    assert_whole(folder, published)
    assert len({(folder / path).stat().st_ino for path in (A, B, C)}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_them_alone_and_then_the_rest(tmp_path: Path, kind: str) -> None:
    files = {**TWO, C: LONG}
    published = released(tmp_path, files, *KINDS[kind])
    user = tmp_path / "user"
    with seeding(published.home, "acme/m7b") as seeder:
        words = ("--peer", seeder.peer, "--timeout", "20")
        got = fetch(user, published, "--include", "b/*", *words)
        assert (got["files"], got["bytes"], got["complete"]) == (1, len(LONG), False)
        assert got["received"] == {"swarm": len(LONG), "hub": 0, "reused": 0}
        folder = Path(got["path"])
        assert (folder / B).read_bytes() == LONG
        assert not (folder / A).exists()
        assert not (folder / C).exists()
        said = fetch(user, published, "--dry-run", *words)
        assert {file["path"]: file["from"] for file in said["files"]} == {
            A: f"same as {B}",
            B: "here",
            C: f"same as {B}",
            "config.json": "peers",
        }
        got = fetch(user, published, *words)
        assert got["received"]["swarm"] == said["from_peers"] == once(files) - len(LONG)
    assert_whole(folder, published)
    assert result(user, "verify", "acme/m7b")["ok"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("wanted", ["*", "b/*"])
def test_a_fetch_that_is_ended_goes_on_with_the_one_it_began(
    tmp_path: Path, how: signal.Signals, wanted: str
) -> None:
    data = shard(6 * MIB, 3)
    files = {**TWO, A: data, B: data}
    published = released(tmp_path, files, "--v2-only")
    user = tmp_path / "user"
    user.mkdir()
    with seeding(published.home, "acme/m7b") as seeder:
        words = ("fetch", published.magnet, *published.trust, "--peer", seeder.peer, "--json")
        with Running(user, *words, "--max-down", "1M", "--include", wanted) as begun:
            until(lambda: len(pieces(user)) > 30, "pieces that were read back")
            begun.send(how)
            begun.end()
        kept = len(pieces(user)) * PIECE
        assert kept < len(data) / 2, "pieces are proven one by one"
        assert [path.parent.name for path in user.rglob("model.safetensors")] == ["a"], "one is asked for"
        got = result(user, *words[:-1])
    assert_whole(Path(got["path"]), published)
    assert got["received"]["swarm"] <= once(files) - kept + 2 * PIECE


def test_ended_while_the_second_is_made_nothing_comes_again(tmp_path: Path) -> None:
    data = shard(64 * MIB, 6)
    files = {**TWO, A: data, B: data}
    published = released(tmp_path, files, "--v2-only")
    user, mine = tmp_path / "user", tmp_path / "mine"
    user.mkdir()
    with seeding(published.home, "acme/m7b") as seeder:
        words = ("fetch", published.magnet, str(mine), *published.trust, "--json", "--peer", seeder.peer)
        with Running(user, *words) as begun:
            until((mine / A).exists, "the first of them")
            begun.kill()
        assert (mine / STAGING).exists(), "it was too late to see anything"
        got = result(user, *words[:-3])
    assert got["received"] == {"swarm": 0, "hub": 0, "reused": published.size}
    assert_whole(mine, published)


def test_of_an_equal_file_that_is_not_what_it_was_nothing_is_believed(tmp_path: Path) -> None:
    published = released(tmp_path, TWO, "--v2-only")
    user = tmp_path / "user"
    with seeding(published.home, "acme/m7b") as seeder:
        words = ("--peer", seeder.peer)
        folder = Path(fetch(user, published, *words, "--include", "a/*")["path"])
        (folder / A).chmod(0o644)
        (folder / A).write_bytes(bytes(len(LONG)))
        said = fetch(user, published, "--dry-run", *words)
        assert {file["path"]: file["from"] for file in said["files"]} == {
            A: "in the way",
            B: "peers",
            "config.json": "peers",
        }
        got = fetch(user, published, *words)
    assert got["received"]["swarm"] == once(TWO)
    assert_whole(folder, published)


def test_the_files_after_them_get_their_hashes_too(tmp_path: Path) -> None:
    # Three equal files take up all the requests for hashes that a connection may have open.
    data, last = shard(2 * MIB, 4), shard(6 * MIB, 5)
    files = {A: data, B: data, C: data, D: last}
    published = released(tmp_path, files, "--v2-only")
    user = tmp_path / "user"
    user.mkdir()
    with (
        seeding(published.home, "acme/m7b") as seeder,
        Running(
            user,
            *("fetch", published.magnet, *published.trust, "--peer", seeder.peer, "--max-down", "1M"),
        ) as fetching,
    ):
        first_of_last = 3 * len(data) // PIECE
        until(lambda: any(piece >= first_of_last for piece in pieces(user)), "a piece of the last file")
        assert fetching.status is None
        staged = next(user.rglob(D))
        assert staged.stat().st_blocks * 512 < len(last) / 2, "pieces are proven one by one"


def pieces(home: Path) -> set[int]:
    """The pieces in the journal."""
    found: set[int] = set()
    for journal in home.rglob("pieces"):
        data = journal.read_bytes()
        found.update(int.from_bytes(data[at : at + 4]) for at in range(0, len(data) - 35, 36))
    return {number for number in found if number < 1 << 30}
