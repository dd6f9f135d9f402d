"""Disks that are too small, fill up, or hold something else where a release must land."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.builders_checkpoints import contents, place, shard, tiny
from tests.cli.helpers import result
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, seeding
from tests.integration.staged import Disk
from tests.integration.waiting import until
from weightshare.content.store import STAGING
from weightshare.units import KIB, MIB

PIECE = 256 * KIB
SIZE = 24 * MIB
FILES = {"a.safetensors": shard(SIZE // 2, 1), "b.safetensors": shard(SIZE // 2, 2), "config.json": b"{}"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    return publish(home, place(home / "model", FILES), "--piece-length", str(PIECE))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("small")
    return publish(home, place(home / "model", tiny()))


@pytest.fixture
def user(tmp_path: Path) -> Path:
    home = tmp_path / "user"
    home.mkdir()
    return home


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("needs Linux and root, to mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "weightshare-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False, timeout=10).returncode:
        pytest.skip("may not mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


def fill(disk: Path, leave: int = 0) -> Path:
    """Put a file on the disk that leaves so many bytes free at most, whoever else is writing there."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        while (free := shutil.disk_usage(disk).free) > leave:
            # Somebody else may have been faster, so ask for less and look again.
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), min(free - leave, MIB))
    return ballast


def test_refused_before_the_download_when_it_cannot_fit(published: Published, user: Path, disk: Path) -> None:
    ballast = fill(disk, SIZE)
    with seeding(published.home) as seeder:
        words = (str(disk / "out"), "--peer", seeder.peer)
        refused = fetch(user, published, *words, status=6)
        assert refused["error"] == "no_space"
        assert refused["needed"] > published.size
        assert refused["free"] < refused["needed"]
        assert [path.name for path in disk.iterdir()] == ["ballast"]
        # Fewer files fit.
        fetch(user, published, *words, "--include", "*.json")
        ballast.unlink()
        fetch(user, published, *words)
        assert_whole(disk / "out", published)
        # Beside its manifest, it gave all files once.
        assert seeder.stop()["uploaded"] < published.size + MIB


def caught(running: Running, folder: Path, disk: Path) -> Path:
    """Fill the disk once some pieces are on it, and wait until the fetch says so; what fills it."""
    until(lambda: taken(folder) > 2 * MIB or running.status is not None, "some pieces", within=60)
    ballast = fill(disk)
    until(lambda: "the disk is full" in running.err() or running.status is not None, "the reason", within=30)
    assert running.status is None, (running.out(), running.err())
    return ballast


@pytest.mark.parametrize("home_too", [False, True], ids=["files on it", "home on it too"])
def test_a_disk_that_fills_up_meanwhile(published: Published, user: Path, disk: Path, home_too: bool) -> None:
    """It waits, gives up when its patience ends, and loses nothing."""
    home = ("--home", str(disk / "home")) if home_too else ()
    words = (*published.trust, *home, "--max-down", str(6 * MIB), "--json", "--timeout")
    with seeding(published.home) as seeder:
        fetching = ("fetch", published.magnet, str(disk / "out"), "--peer", seeder.peer, *words)
        with Running(user, *fetching, "6") as running:
            ballast = caught(running, disk / "out", disk)
            failed = running.result(6)
        assert failed["error"] == "no_space"
        assert failed["reason"] == "disk_full"
        assert "Waited" in failed["message"]
        assert "the same command resumes" in failed["hint"]
        assert failed["free"] < MIB < failed["needed"] <= published.size + MIB
        assert not any((disk / "out" / path).exists() for path in FILES)

        # Still full: refused at once, and what came is kept.
        staged = Disk(disk / "out", FILES, PIECE)
        staged.look()
        with Running(user, *fetching, "60") as running:
            assert running.result(6, within=30)["error"] == "no_space"
        staged.look()
        assert staged.bytes() > MIB

        ballast.unlink()
        with Running(user, *fetching, "60") as running:
            received = running.result()["received"]
        assert received["reused"] >= staged.bytes()
        assert received["swarm"] + received["reused"] == published.size
        assert_whole(disk / "out", published)


@pytest.mark.parametrize("home_too", [False, True], ids=["files on it", "home on it too"])
@pytest.mark.parametrize("form", ["hybrid", "v2"])
def test_it_goes_on_by_itself_when_space_is_made(
    published: Published, user: Path, disk: Path, home_too: bool, form: str
) -> None:
    """One fetch over a disk that fills up and is cleared: all right, and only what the disk refused comes twice."""
    release, name = published, "acme/m7b@1"
    if form == "v2":
        more = ("--piece-length", str(PIECE), "--v2-only", "--version", f"2-{home_too}")
        release, name = publish(published.home, published.folder, *more), f"acme/m7b@2-{home_too}"
    home = ("--home", str(disk / "home")) if home_too else ()
    words = (*release.trust, *home, "--max-down", str(6 * MIB), "--json", "--timeout", "60")
    with seeding(release.home, name) as seeder:
        fetching = ("fetch", release.magnet, str(disk / "out"), "--peer", seeder.peer, *words)
        staged = Disk(disk / "out", FILES, PIECE)
        with Running(user, *fetching) as running:
            ballast = caught(running, disk / "out", disk)
            staged.look()
            here = staged.bytes()
            ballast.unlink()
            received = running.result()["received"]
    assert received["reused"] == 0
    assert release.size <= received["swarm"] <= 2 * release.size - here
    assert_whole(disk / "out", release)


def taken(folder: Path) -> int:
    """Bytes that a folder's files take on the disk."""
    found = 0
    for path in folder.rglob("*"):
        if path.is_file():
            found += path.stat().st_blocks * 512
    return found


def test_a_folder_that_cannot_be(small: Published, user: Path) -> None:
    """A file stands where the folder's parent must be."""
    (user / "file").write_text("mine")
    with seeding(small.home) as seeder:
        refused = fetch(user, small, "file/out", "--peer", seeder.peer, status=6)
    assert "file/out" in refused["message"]
    assert (user / "file").read_text() == "mine"
    assert result(user, "ls") == {"releases": []}


def test_a_file_in_the_way_is_left_alone(small: Published, user: Path) -> None:
    mine = place(user / "out", {"config.json": b"mine", "notes.txt": b"mine too"})
    words = ("out", "--peer")
    with seeding(small.home) as seeder:
        refused = fetch(user, small, *words, seeder.peer, status=6)
        assert refused["error"] == "file_in_the_way"
        assert "config.json" in refused["message"]
        assert "--force" in refused["hint"]
        assert contents(mine) == contents(
            place(user / "copy", {"config.json": b"mine", "notes.txt": b"mine too"})
        )

        fetch(user, small, *words, seeder.peer, "--force")
    assert contents(mine).pop("notes.txt")
    assert (mine / "notes.txt").read_bytes() == b"mine too"
    (mine / "notes.txt").unlink()
    assert_whole(mine, small)


def test_a_file_that_is_there_already_with_the_right_bytes_is_used(small: Published, user: Path) -> None:
    """A copy made by other means is proven, not fetched."""
    place(user / "out", {"model.safetensors": tiny()["model.safetensors"]})
    with seeding(small.home) as seeder:
        received = fetch(user, small, "out", "--peer", seeder.peer)["received"]
    assert received["reused"] == len(tiny()["model.safetensors"])
    assert received["swarm"] == small.size - received["reused"]
    assert_whole(user / "out", small)


@pytest.mark.parametrize("whose", ["the same user", "another user"])
def test_two_fetches_into_one_folder(published: Published, user: Path, tmp_path: Path, whose: str) -> None:
    """The second is told so at once, and the first is not disturbed."""
    other = user if whose == "the same user" else tmp_path / "other"
    other.mkdir(exist_ok=True)
    folder = str(user / "out")
    with seeding(published.home) as seeder:
        words = (folder, *published.trust, "--peer", seeder.peer, "--json")
        with Running(user, "fetch", published.magnet, *words, "--max-down", str(6 * MIB)) as first:
            until(lambda: taken(user / "out" / STAGING) > MIB, "some pieces", within=60)
            with Running(other, "fetch", published.magnet, *words) as second:
                refused = second.result(6, within=20)
            assert refused["error"] == "store_locked"
            assert str(first.pid) in refused["message"]
            assert first.status is None
            first.result()
    assert_whole(user / "out", published)


def test_verify_and_ls_after_a_refusal(small: Published, user: Path) -> None:
    """A fetch that was refused for a file in the way left no release behind."""
    place(user / "out", {"config.json": b"mine"})
    with seeding(small.home) as seeder:
        fetch(user, small, "out", "--peer", seeder.peer, status=6)
    assert result(user, "ls") == {"releases": []}
    assert contents(user / "out").keys() == {"config.json"}
