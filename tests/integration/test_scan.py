"""Files that other programs keep: found whatever they are called, taken by a fetch, served from where they lie."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.builders_checkpoints import contents, place, shard
from tests.cli.helpers import result, weightshare
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import seeding
from tests.integration.waiting import until
from weightshare.units import KIB

BIG = shard(300 * KIB, 1)
SMALL = shard(100 * KIB, 2).replace(b'"weight"', b'"second"', 1)  # a tensor of its own
FILES = {
    "model-1.safetensors": BIG,
    "model-2.safetensors": SMALL,
    "config.json": b'{"architectures": ["Nothing"]}',
    "empty.txt": b"",
    "sub/notes.md": b"# notes that only this model has\n",
}
OLLAMA = "ollama/blobs/sha256-0123"
STUDIO = "home/.lmstudio/models/acme/m7b/weights.safetensors"
BLOBS = "hf/hub/models--acme--m7b/blobs"


class Machine:
    """A user whose other programs have the release's files, each under a name of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root / "machine"
        self.home = self.root / "home"
        place(
            self.root,
            {
                OLLAMA: BIG,
                "ollama/blobs/sha256-4567": shard(300 * KIB, 9),  # same size, something else
                "ollama/blobs/sha256-89-partial": BIG,
                "ollama/manifests/library/m7b": b"{}",
                STUDIO: SMALL,
                f"{BLOBS}/aa": FILES["config.json"],
                f"{BLOBS}/bb": FILES["sub/notes.md"],
            },
        )
        snapshot = self.root / "hf/hub/models--acme--m7b/snapshots" / ("c" * 40)
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").symlink_to("../../blobs/aa")
        self.more = {
            "OLLAMA_MODELS": str(self.root / "ollama"),
            "HF_HOME": str(self.root / "hf"),
            "XDG_CACHE_HOME": str(self.root / "cache"),
        }

    @property
    def others(self) -> list[Path]:
        """Everything that is not ours."""
        return [
            path for path in sorted(self.root.rglob("*")) if self.home / "weightshare" not in path.parents
        ]

    def state(self) -> dict[str, tuple[int, ...]]:
        """What is there, and whether it was written to."""
        found: dict[str, tuple[int, ...]] = {}
        for path in self.others:
            if path != self.home / "weightshare" and path != self.home:
                status = path.lstat()
                found[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_nlink)
        return found

    def scan(self, *words: str, status: int = 0) -> dict[str, Any]:
        return run(self.home, "scan", *words, more=self.more, status=status)


def run(home: Path, *words: str, more: Mapping[str, str], status: int = 0) -> dict[str, Any]:
    done = weightshare(home, *words, "--json", more=more)
    assert done.returncode == status, done.stderr.decode() + done.stdout.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    return publish(home, place(home / "model", FILES), "--piece-length", "32K", "--out", str(home / "out"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def torrent(published: Published) -> str:
    return str(next((published.home / "out").glob("*.torrent")))


def of_release(found: Mapping[str, Any]) -> dict[str, list[str]]:
    """Where each file of the only release is."""
    [release] = found["releases"]
    return {file["path"]: file["places"] for file in release["files"]}


def test_files_of_three_programs_are_found_and_hashed_once(published: Published, machine: Machine) -> None:
    before = machine.state()
    words = ("--release", torrent(published), *published.trust)
    tried = machine.scan("--dry-run", *words)
    assert tried["hashed"] == {"files": 0, "bytes": 0}
    assert tried["to_hash"]["files"] == 5
    assert len(of_release(tried)["model-1.safetensors"]) == 2, "by its size it could be either"
    assert not (machine.home / "weightshare").exists()
    found = machine.scan(*words)
    assert of_release(found) == {
        "model-1.safetensors": [str(machine.root / OLLAMA)],
        "model-2.safetensors": [str(machine.root / STUDIO)],
        "config.json": [str(machine.root / BLOBS / "aa")],
        "empty.txt": [],
        "sub/notes.md": [str(machine.root / BLOBS / "bb")],
    }
    assert found["releases"][0]["here"] == len(FILES)
    assert found["candidates"] == found["hashed"]["files"] == 5
    assert {place["tool"] for place in found["places"]} == {"Hugging Face", "Ollama", "LM Studio"}
    assert machine.scan(*words)["hashed"] == {"files": 0, "bytes": 0}
    (machine.root / STUDIO).write_bytes(shard(100 * KIB, 8))
    third = machine.scan(*words)
    assert third["hashed"]["files"] == 1
    assert of_release(third)["model-2.safetensors"] == []
    assert {path for path, state in machine.state().items() if before.get(path) != state} == {
        str(machine.root / STUDIO)
    }


def test_a_fetch_takes_what_was_found_and_asks_nobody_for_it(published: Published, machine: Machine) -> None:
    machine.scan("--release", torrent(published), *published.trust)
    before = machine.state()
    with seeding(published.home) as seeder:
        said = fetch(machine.home, published, "--dry-run", "--peer", seeder.peer)
        took = fetch(machine.home, published, "--peer", seeder.peer)
    sources = {file["path"]: file["from"] for file in said["files"]}
    assert sources["model-1.safetensors"] == str(machine.root / OLLAMA)
    assert took["received"] == {"swarm": 0, "hub": 0, "reused": published.size}
    assert_whole(Path(took["path"]), published)
    assert machine.state() == before, "taken by reflink or copy, never by a hard link"


def test_a_fetch_may_look_first(published: Published, machine: Machine) -> None:
    with seeding(published.home) as seeder:
        words = (published.magnet, *published.trust, "--scan", "--peer", seeder.peer)
        took = run(machine.home, "fetch", *words, more=machine.more)
    assert took["received"] == {"swarm": 0, "hub": 0, "reused": published.size}
    assert_whole(Path(took["path"]), published)


def test_neither_what_changed_nor_a_forged_memory_is_believed(published: Published, machine: Machine) -> None:
    machine.scan("--release", torrent(published), *published.trust)
    spoilt, wrong = bytearray(BIG), bytearray(SMALL)
    spoilt[150 * KIB] ^= 1
    wrong[50 * KIB] ^= 1
    (machine.root / OLLAMA).write_bytes(spoilt)
    forged = machine.root / STUDIO
    forged.write_bytes(wrong)
    memory, status = machine.home / "weightshare/found.json", forged.stat()
    table = json.loads(memory.read_text())
    table[str(forged)] |= {"mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}
    memory.write_text(json.dumps(table))
    with seeding(published.home) as seeder:
        said = fetch(machine.home, published, "--dry-run", "--peer", seeder.peer)
        took = fetch(machine.home, published, "--peer", seeder.peer)
    sources = {file["path"]: file["from"] for file in said["files"]}
    assert sources["model-1.safetensors"] == "peers", "its status tells"
    assert sources["model-2.safetensors"] == str(forged), "its bytes will"
    bad = len(BIG) + len(SMALL)
    assert took["received"] == {"swarm": bad, "hub": 0, "reused": published.size - bad}
    assert_whole(Path(took["path"]), published)
    assert forged.read_bytes() == wrong


def test_a_release_found_whole_is_served_verified_and_forgotten_in_place(
    published: Published, machine: Machine, tmp_path: Path
) -> None:
    for kept in ("ollama/blobs", "hf/hub/models--acme--m7b/blobs"):
        (machine.root / kept).chmod(0o555)
    before = machine.state()
    added = machine.scan("--release", torrent(published), *published.trust, "--add")
    folder = Path(added["releases"][0]["added"])
    assert folder == machine.home / "weightshare/found/acme/m7b/1"
    assert contents(folder) == contents(published.folder), "to other libraries it looks like the release"
    assert machine.scan()["releases"][0]["store"] == str(folder)
    [listed] = result(machine.home, "ls")["releases"]
    assert (listed["complete"], listed["kind"], listed["path"]) == (True, "published", str(folder))
    verified = result(machine.home, "verify", "acme/m7b")
    assert verified["ok"]
    assert {file["path"] for file in verified["files"]} == set(FILES)
    with seeding(machine.home) as seeder:
        took = fetch(tmp_path / "friend", published, "--peer", seeder.peer)
    assert took["received"]["swarm"] == published.size
    assert_whole(Path(took["path"]), published)
    removed = result(machine.home, "rm", "acme/m7b")
    assert (removed["deleted"], removed["freed"]) == (0, 0)
    assert not folder.exists()
    assert machine.state() == before


def test_its_tensors_load_from_where_they_lie(published: Published, machine: Machine) -> None:
    pytest.importorskip("torch")
    import weightshare as library
    from weightshare.content.home import Home

    machine.scan("--release", torrent(published), *published.trust, "--add")
    release = library.open("acme/m7b", home=Home(machine.home / "weightshare"))
    tensors = release.state_dict(device="cpu")
    assert {name: bytes(tensor.numpy()) for name, tensor in tensors.items()} == {
        "weight": BIG[128:],
        "second": SMALL[128:],
    }


def test_another_program_s_change_ends_its_release_and_no_other(
    published: Published, machine: Machine, tmp_path: Path
) -> None:
    machine.scan("--release", torrent(published), *published.trust, "--add")
    own = place(tmp_path / "other" / "model", {"own.safetensors": shard(KIB)})
    other = publish(tmp_path / "other", own, name="zeta/own")
    with seeding(other.home) as seeder:
        fetch(machine.home, other, "--peer", seeder.peer)
    with seeding(machine.home) as seeder:
        assert set(seeder.listening["releases"]) == {"acme/m7b@1", "zeta/own@1"}
        os.utime(machine.root / OLLAMA)
        until(lambda: "model-1.safetensors was changed" in seeder.err(), "the change to be noticed")
        assert seeder.status is None
    (machine.root / OLLAMA).unlink()
    with seeding(machine.home) as seeder:
        assert seeder.listening["releases"] == ["zeta/own@1"]
    alone = weightshare(machine.home, "seed", "acme/m7b")
    assert alone.returncode == 4
    assert b"model-1.safetensors" in alone.stderr
    again = machine.scan("--add")
    here = {release["release"]: release["here"] for release in again["releases"]}
    assert here["acme/m7b@1"] == len(FILES) - 1
    place(machine.root, {"ollama/blobs/sha256-fresh": BIG})
    assert any(release["added"] for release in machine.scan("--add")["releases"])
    assert result(machine.home, "verify", "acme/m7b")["ok"]
