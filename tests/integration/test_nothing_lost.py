"""Staged files that other programs cut or change, disks that refuse, seeders that go: it ends clearly, and resumes.

Each time the fetch is a real process against a real seeder, and what it says is held against the bytes on the disk.
"""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, shard, tiny
from tests.builders_load import flip
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, Seeder, seeding
from tests.integration.staged import Disk
from tests.integration.waiting import until
from weightshare.content.store import STAGING
from weightshare.units import KIB, MIB

PIECE = 256 * KIB
RATE = 8 * MIB
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
FILES = {FIRST: shard(12 * MIB + 7, 1), SECOND: shard(12 * MIB, 2), "config.json": b"{}"}
SIZE = sum(map(len, FILES.values()))

Change = Callable[[Path], None]


def cut(path: Path) -> None:
    """To a third, in the middle of a piece."""
    os.truncate(path, path.stat().st_size // 3)


def overwrite(path: Path) -> None:
    """One bit of the first piece, in place, where data is."""
    flip(path, 1000)


def replace(path: Path) -> None:
    """By another file with the same bytes but for one."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    flip(copy, 1000)
    copy.replace(path)


def remove(path: Path) -> None:
    path.unlink()


@pytest.fixture(scope="module", params=["hybrid", "v2-only"])
def published(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    words = ("--v2-only",) if request.param == "v2-only" else ()
    return publish(home, place(home / "model", FILES), "--piece-length", str(PIECE), *words)


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    return publish(home, place(home / "model", FILES), "--piece-length", str(PIECE))


@pytest.fixture
def user(tmp_path: Path) -> Path:
    home = tmp_path / "user"
    home.mkdir()
    return home


def fetching(
    user: Path, published: Published, seeder: Seeder, *words: str, before: tuple[str, ...] = ()
) -> Running:
    words = ("--peer", seeder.peer, "--max-down", str(RATE), "--json", *words)
    return Running(user, "fetch", published.magnet, "out", *published.trust, *words)


def until_here(disk: Disk, running: Running, share: float) -> None:
    def look() -> bool:
        assert running.status is None, (running.status, running.out(), running.err())
        disk.look()
        return disk.bytes() >= share * SIZE

    until(look, f"{share:.0%} on the disk", within=60)


def staged(user: Path) -> Path:
    """The staged file that has the most pieces of its beginning."""
    found = [path for name in (FIRST, SECOND) for path in (user / "out").glob(f"{STAGING}/*/*/{name}")]
    return max(found, key=lambda path: path.read_bytes()[:PIECE] == FILES[path.name][:PIECE])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("change", [cut, overwrite, replace, remove])
def test_a_staged_file_that_changed_between_two_runs(
    published: Published, user: Path, change: Change, number: signal.Signals
) -> None:
    """What is wrong comes again, what is right does not, and it ends whole."""
    disk = Disk(user / "out", FILES, PIECE)
    with seeding(published.home) as seeder:
        with fetching(user, published, seeder) as running:
            until_here(disk, running, 0.6)
            running.send(number)
            assert running.end(within=30) in (130, -signal.SIGKILL)
        change(staged(user))
        disk = Disk(user / "out", FILES, PIECE)
        disk.look()
        here = disk.bytes()
        with fetching(user, published, seeder) as running:
            received = running.result()["received"]
    assert_whole(user / "out", published)
    assert received["swarm"] + received["reused"] == SIZE
    # After a kill, pieces that had not been read back; and what was cut off in the middle.
    slack = 2 * PIECE if number is signal.SIGINT else 2 * PIECE + RATE
    assert received["swarm"] <= SIZE - here + slack


@pytest.mark.parametrize("change", [cut, overwrite, remove])
def test_a_staged_file_that_changes_while_it_is_fetched(
    hybrid: Published, user: Path, change: Change
) -> None:
    """It is noticed, or goes unharmed: never a wrong file, and the same command comes to a good end."""
    with seeding(hybrid.home) as seeder:
        with fetching(user, hybrid, seeder, "--timeout", "10") as running:
            until_here(Disk(user / "out", FILES, PIECE), running, 0.3)
            change(staged(user))
            status = running.end(within=60)
            assert status in (0, 6), (running.out(), running.err())
        if status:
            assert not (user / "out" / FIRST).exists()
            with fetching(user, hybrid, seeder) as running:
                running.result()
    if change is not overwrite:  # a change behind the proof is for the load to find
        assert_whole(user / "out", hybrid)


def test_something_else_in_the_place_of_a_staged_file(hybrid: Published, user: Path) -> None:
    with seeding(hybrid.home) as seeder:
        with fetching(user, hybrid, seeder) as running:
            until_here(Disk(user / "out", FILES, PIECE), running, 0.3)
            running.send(signal.SIGINT)
            running.end()
        place_of = staged(user)
        place_of.unlink()
        place_of.mkdir()
        with fetching(user, hybrid, seeder) as running:
            failed = running.result(6)
        assert place_of.name in failed["message"]
        assert "resumes" in failed["hint"]
        assert not any((user / "out" / path).exists() for path in FILES)
        place_of.rmdir()
        with fetching(user, hybrid, seeder) as running:
            running.result()
    assert_whole(user / "out", hybrid)


def test_a_folder_that_turns_read_only_meanwhile(hybrid: Published, user: Path) -> None:
    """Files that are open can be written on; the next one cannot be made, and none can get its name."""
    words = ("--exclude", "config.json")
    folder = None
    try:
        with seeding(hybrid.home) as seeder:
            with fetching(user, hybrid, seeder, *words) as running:
                found = until(lambda: list((user / "out").glob(f"{STAGING}/*/*/model-*")), "a staged file")
                folder = found[0].parent
                immutable(folder, True)
                failed = running.result(6)
            assert failed["exit_code"] == 6
            assert "model-" in failed["message"]
            assert not any((user / "out" / path).exists() for path in FILES)
            immutable(folder, False)
            with fetching(user, hybrid, seeder, *words) as running:
                running.result()
    finally:
        if folder is not None and folder.exists():
            immutable(folder, False)
    for path in (FIRST, SECOND):
        assert (user / "out" / path).read_bytes() == FILES[path]


def immutable(folder: Path, on: bool) -> None:
    """Let nobody, not even root, make or rename files in a folder; skips where that cannot be done."""
    chattr = shutil.which("chattr")
    if chattr is None:
        pytest.skip("needs chattr")
    if (
        subprocess.run([chattr, "+i" if on else "-i", folder], check=False, capture_output=True).returncode
        and on
    ):
        pytest.skip("needs root, and a file system that knows immutable folders")


@pytest.fixture
def volume(user: Path) -> Iterator[Path]:
    """The destination as a mount of its own."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("needs Linux and root, to mount a folder read-only")
    folder = user / "out"
    folder.mkdir()
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode:
        pytest.skip("may not mount here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_volume_that_is_read_only_the_next_time(hybrid: Published, user: Path, volume: Path) -> None:
    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,bind,{how}", volume], check=True, capture_output=True)

    disk = Disk(volume, FILES, PIECE)
    with seeding(hybrid.home) as seeder:
        with fetching(user, hybrid, seeder) as running:
            until_here(disk, running, 0.3)
            running.kill()
        until(lambda: not running.relatives(), "its workers to end")
        remount("ro")
        with fetching(user, hybrid, seeder) as running:
            failed = running.result(6)
        assert "ead-only" in failed["message"]
        remount("rw")
        disk.look()
        with fetching(user, hybrid, seeder) as running:
            received = running.result()["received"]
    assert received["swarm"] <= SIZE - disk.bytes()
    assert_whole(volume, hybrid)


def test_the_seeder_goes_near_the_end(published: Published, user: Path) -> None:
    """It says what is missing, and the next run asks for that alone."""
    disk = Disk(user / "out", FILES, PIECE)
    with seeding(published.home) as seeder:
        with fetching(user, published, seeder) as running:
            until_here(disk, running, 0.7)
            running.send(signal.SIGINT)
            running.end()
        with fetching(user, published, seeder, "--timeout", "4", "--max-down", str(MIB // 2)) as running:
            until_here(disk, running, 0.92)
            seeder.kill()
            failed = running.result(5)
    assert "resumes" in failed["hint"]
    disk.look()
    with seeding(published.home) as seeder, fetching(user, published, seeder) as running:
        received = running.result()["received"]
    assert received["swarm"] <= SIZE - disk.bytes() <= 0.09 * SIZE
    assert_whole(user / "out", published)


def test_files_from_the_future_and_the_past(tmp_path: Path) -> None:
    """A clock that was wrong, or was set: receipts compare times, and never with now."""
    folder = place(tmp_path / "model", tiny())
    for number, path in enumerate(sorted(folder.iterdir())):
        os.utime(path, (0, 4_000_000_000 if number % 2 else 1))
    published = publish(tmp_path / "maintainer", folder)
    with seeding(published.home) as seeder:
        fetch(tmp_path / "user", published, "out", "--peer", seeder.peer)
        for path in (tmp_path / "user" / "out").iterdir():
            os.utime(path, (0, 4_000_000_000))
    with seeding(tmp_path / "user") as seeder:
        other = fetch(tmp_path / "other", published, "out", "--peer", seeder.peer)
    assert other["received"]["swarm"] == published.size


ROOT = Path(__file__).resolve().parents[2]
WALL_CLOCK = {
    ("time", "time"),
    ("time", "time_ns"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
}
MAY_TELL_THE_TIME = {
    "weightshare/api",  # when something was made, for people; and whether a root has expired
    "weightshare/content/home.py",  # what a process that was killed left behind long ago
    "weightshare/content/drafts.py",
    "weightshare/run/demo_checkpoint.py",
    "weightshare/trust",
    "weightshare/limits.py",  # a schedule is by the wall clock
    "weightshare/content/ledger.py",  # and so is a budget per day
}


def test_nothing_waits_by_a_clock_that_can_be_set() -> None:
    """Who asks for the wall clock does it to write down when something was, never to wait."""
    for path in sorted((ROOT / "weightshare").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if any(name.startswith(allowed) for allowed in MAY_TELL_THE_TIME):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in WALL_CLOCK, f"{name}:{node.lineno}"
