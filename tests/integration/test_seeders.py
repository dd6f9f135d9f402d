"""What a seeder reads, what it never writes, when it hashes again, and how it begins and ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, shard, tiny
from tests.builders_load import flip
from tests.cli.helpers import environment, result, weightshare
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, seeding
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import KIB, MIB

NOBODY = 65534


def stamps(folder: Path) -> dict[str, tuple[int, ...]]:
    """All that would show a write: mode, owner, inode, size, times of change; reading alone changes none of them."""
    return {
        str(path.relative_to(folder)): (
            *(found.st_mode, found.st_uid, found.st_ino, found.st_size),
            *(found.st_mtime_ns, found.st_ctime_ns),
        )
        for path in (folder, *folder.rglob("*"))
        for found in (path.lstat(),)
    }


def read_only(folder: Path) -> None:
    """Files 0444, folders 0555."""
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that other users can reach into, unlike pytest's own."""
    place = Path(tempfile.mkdtemp(prefix="weightshare-test-"))
    place.chmod(0o755)
    yield place
    for path in place.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(place)


def as_nobody(home: Path) -> tuple[str, ...]:
    """The words that run a command as an unprivileged user; skips where that cannot be done."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("needs Linux and root, to run a seeder as a user who owns nothing of the folder")
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv (util-linux)")
    before = (setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
    tried = subprocess.run(
        [*before, sys.executable, "-c", "import weightshare_cli"],
        env=environment(home),
        cwd="/",
        capture_output=True,
        check=False,
        timeout=60,
    )
    if tried.returncode:
        pytest.skip("another user cannot reach this checkout or its Python")
    return before


def test_serves_a_read_only_folder_of_another_user(open_place: Path, tmp_path: Path) -> None:
    """Published by root, files 0444, folder 0555, served by nobody: everything arrives, nothing is touched."""
    home = open_place / "home"
    before = as_nobody(open_place)
    folder = place(open_place / "model", {**tiny(), "sub/é.json": b"[]"})
    read_only(folder)
    published = publish(home, folder)
    assert not (folder / MANIFEST_NAME).exists()
    for path in (home, *home.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    seen = stamps(folder)
    with seeding(home, before=before) as seeder:
        status = Path(f"/proc/{seeder.pid}/status").read_text()
        assert f"Uid:\t{NOBODY}\t{NOBODY}" in status
        fetch(tmp_path / "user", published, "out", "--peer", seeder.peer)
        seeder.stop()
    assert stamps(folder) == seen
    assert_whole(tmp_path / "user" / "out", published)


def test_never_writes_to_what_it_serves(tmp_path: Path) -> None:
    """Writable or not: a folder looks the same after it was served, and every file is opened for reading only."""
    folder = place(tmp_path / "model", tiny())
    published = publish(tmp_path / "home", folder)
    seen = stamps(folder)
    with seeding(published.home) as seeder:
        fetch(tmp_path / "user", published, "out", "--peer", seeder.peer)
        modes = {flags & os.O_ACCMODE for flags in open_flags(seeder.pid, folder)}
        assert modes == {os.O_RDONLY}
        seeder.stop()
    assert stamps(folder) == seen


def open_flags(pid: int, folder: Path) -> list[int]:
    """The flags with which a process holds files of a folder open."""
    if not Path("/proc/self/fdinfo").exists():
        pytest.skip("needs /proc/PID/fdinfo")
    flags = []
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        if handle.readlink().is_relative_to(folder):
            info = Path(f"/proc/{pid}/fdinfo/{handle.name}").read_text()
            flags.append(int(info.partition("flags:\t")[2].split()[0], 8))
    return flags


LARGE = 40 * MIB


def bytes_read(pid: int) -> int:
    """Bytes that a process has read by system calls since it began."""
    counters = Path(f"/proc/{pid}/io")
    if not counters.exists():
        pytest.skip("needs /proc/PID/io")
    return int(counters.read_text().partition("rchar: ")[2].split()[0])


def test_hashes_again_only_what_changed(tmp_path: Path) -> None:
    folder = place(tmp_path / "model", {"model.safetensors": shard(LARGE)})
    published = publish(tmp_path / "home", folder)

    def start() -> int:
        with seeding(published.home) as seeder:
            read = bytes_read(seeder.pid)
            seeder.stop()
        return read

    idle = start()
    os.utime(folder / "model.safetensors")
    touched = start()
    assert touched - idle > LARGE * 0.99, "a touched file is hashed again"
    assert abs(start() - idle) < LARGE // 10, "and then has a receipt that holds again"
    assert idle < LARGE * 0.9, "a receipt that holds is believed"

    with (folder / "model.safetensors").open("rb+") as file:
        file.seek(LARGE // 2)
        byte = file.read(1)
        file.seek(LARGE // 2)
        file.write(bytes([byte[0] ^ 1]))
    refused = result(published.home, "seed", "--port", "0", status=4)
    assert refused["path"] == "model.safetensors"
    assert "model.safetensors" in refused["message"]
    piece_length = 64 * KIB
    assert refused["pieces"] == [LARGE // 2 // piece_length]


def test_a_file_that_is_gone_or_cut_is_not_served(tmp_path: Path) -> None:
    folder = place(tmp_path / "model", tiny())
    published = publish(tmp_path / "home", folder)
    os.truncate(folder / "config.json", 3)
    (folder / "README.md").unlink()
    refused = result(published.home, "seed", "--port", "0", status=4)
    assert sorted(refused["paths"]) == ["README.md", "config.json"]


def test_a_folder_with_a_signed_manifest_is_served_as_it_is(tmp_path: Path) -> None:
    """A folder copied from elsewhere, which the store has never seen, is hashed against its manifest first."""
    published = publish(tmp_path / "home", place(tmp_path / "model", tiny()))
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    copy = shutil.copytree(published.folder, mirror / "copy")
    seen = stamps(copy)
    with seeding(mirror, str(copy), *published.trust) as seeder:
        fetch(tmp_path / "user", published, "out", "--peer", seeder.peer)
    assert_whole(tmp_path / "user" / "out", published)
    assert stamps(copy) == seen

    again = shutil.copytree(published.folder, mirror / "again")
    flip(again / "model.safetensors", 1000)
    refused = result(mirror, "seed", str(again), "--port", "0", status=4)
    assert refused["paths"] == ["model.safetensors"]


def test_two_releases_at_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    both = [
        publish(home, place(tmp_path / f"model-{number}", tiny(number)), name=f"acme/m{number}")
        for number in (1, 2)
    ]
    with seeding(home) as seeder:
        assert seeder.listening["event"] == "listening"
        assert seeder.listening["port"] == seeder.port > 0
        assert sorted(seeder.listening["releases"]) == ["acme/m1@1", "acme/m2@1"]
        users = [tmp_path / "user-1", tmp_path / "user-2"]
        for user in users:
            user.mkdir()
        fetches = [
            Running(user, "fetch", published.magnet, "out", *published.trust, "--peer", seeder.peer, "--json")
            for user, published in zip(users, both, strict=True)
        ]
        try:
            for running in fetches:
                running.result()
        finally:
            for running in fetches:
                running.__exit__(None, None, None)
        listed = {one["release"]: one["seeding"] for one in result(home, "ls")["releases"]}
        assert listed == {"acme/m1@1": True, "acme/m2@1": True}
        last = seeder.stop()
        assert last["event"] == "stopped"
        assert last["uploaded"] >= sum(published.size for published in both)
    for user, published in zip(users, both, strict=True):
        assert_whole(user / "out", published)
    assert not any(one["seeding"] for one in result(home, "ls")["releases"])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    return publish(home, place(home / "model", tiny()))


def test_a_port_in_use_is_a_network_error(published: Published) -> None:
    with seeding(published.home) as seeder:
        refused = result(published.home, "seed", "--port", str(seeder.port), status=5)
    assert refused["port"] == seeder.port
    assert refused["error"] == "listen"
    assert str(seeder.port) in refused["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_a_good_end(published: Published, number: signal.Signals) -> None:
    with seeding(published.home) as seeder:
        seeder.send(number)
        assert seeder.result(0, within=20)["event"] == "stopped"
        assert "Traceback" not in seeder.err()


def test_nothing_to_serve(tmp_path: Path) -> None:
    assert weightshare(tmp_path, "seed", "--port", "0").returncode == 6


def test_publish_and_serve_in_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    result(home, "keys", "new", "acme")
    folder = place(tmp_path / "model", tiny())
    with Running(home, "publish", str(folder), "--name", "acme/m7b", "--seed", "--json") as running:
        facts, listening = running.event(0), running.event(1)
        published = Published(home, folder, facts)
        fetch(tmp_path / "user", published, "out", "--peer", f"127.0.0.1:{listening['port']}")
        running.send(signal.SIGINT)
        assert running.result()["event"] == "stopped"
    assert_whole(tmp_path / "user" / "out", published)
