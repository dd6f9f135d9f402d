"""A release lands in the cache of huggingface_hub: laid out as that program does, one copy, nothing of others lost."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.builders_checkpoints import place, shard
from tests.builders_hub_releases import ATTRIBUTES, COMMIT, REPO, on_disk, picture, publish_from_hub
from tests.cli.helpers import weightshare
from tests.integration.releases import Published
from tests.integration.running import Running, Seeder, seeding
from tests.integration.waiting import until
from weightshare.content.store import STAGING
from weightshare.hub.etags import git_blob_id
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import KIB

FILES = {
    ".gitattributes": ATTRIBUTES,
    "config.json": b'{"architectures": ["Nothing"]}',
    "model.safetensors": shard(300 * KIB, 1),
    "sub/same.safetensors": shard(300 * KIB, 1),
    "tokenizer.json": b'{"a": 1}' * 1000,
    "empty": b"",
}
OTHER = "f" * 40
LARGE = hashlib.sha256(FILES["model.safetensors"]).hexdigest()


@dataclass
class User:
    """A home with a Hub cache, and who serves the release."""

    home: Path
    published: Published
    peer: str

    @property
    def cache(self) -> Path:
        return self.home / "hub"

    @property
    def repository(self) -> Path:
        return self.cache / "models--acme--m7b"

    @property
    def snapshot(self) -> Path:
        return self.repository / "snapshots" / COMMIT

    @property
    def blob(self) -> Path:
        return self.repository / "blobs" / LARGE

    def run(self, *words: str, status: int = 0, **more: str) -> dict[str, Any]:
        more = {"HF_HUB_CACHE": str(self.cache), **more}
        done = weightshare(self.home, *words, "--json", more=more)
        assert done.returncode == status, done.stderr.decode() + done.stdout.decode()
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    def fetch(self, *words: str, status: int = 0, peer: bool = True, **more: str) -> dict[str, Any]:
        known = ("--peer", self.peer) if peer else ("--timeout", "2")
        return self.run(
            "fetch", self.published.magnet, *self.published.trust, *known, *words, status=status, **more
        )


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Published, Seeder]]:
    home = tmp_path_factory.mktemp("maintainer")
    published = publish_from_hub(home, place(home / "m7b", FILES))
    with seeding(home) as seeder:
        yield published, seeder


@pytest.fixture
def user(release: tuple[Published, Seeder], tmp_path: Path) -> User:
    home = tmp_path / "user"
    (home / "hub").mkdir(parents=True)
    return User(home, release[0], release[1].peer)


def others_revision(user: User) -> None:
    """What huggingface_hub has of another commit: the large file is the same, and its own `main`."""
    place(user.repository / "blobs", {"1" * 40: b"another card"})
    # As of 2.x a blob may be a link into a store that all repositories of the cache share.
    place(user.cache / "blobs" / "ab", {"ab" * 32: FILES["model.safetensors"]})
    user.blob.symlink_to("../../blobs/ab/" + "ab" * 32)
    snapshot = user.repository / "snapshots" / OTHER
    snapshot.mkdir(parents=True)
    (snapshot / "weights.safetensors").symlink_to(f"../../blobs/{LARGE}")
    (snapshot / "README.md").symlink_to("../../blobs/" + "1" * 40)
    place(user.repository / "refs", {"main": OTHER.encode()})


def test_it_lands_as_huggingface_hub_would_have_it(user: User) -> None:
    fetched = user.fetch()  # the cache is there, so that nobody need ask for it
    assert fetched["path"] == str(user.snapshot)
    assert fetched["hub_cache"] == {
        "cache": str(user.cache), "repo": REPO, "revision": COMMIT, "main": COMMIT
    }  # fmt: skip
    small = {
        path: git_blob_id(user.published.folder / path) for path in FILES if not path.endswith("safetensors")
    }
    names = {**small, "model.safetensors": LARGE, "sub/same.safetensors": LARGE}
    found = {
        p.relative_to(user.snapshot).as_posix(): os.readlink(p)
        for p in user.snapshot.rglob("*")
        if p.is_symlink()
    }
    up = {path: "../../" + "../" * path.count("/") for path in names}
    assert found == {path: f"{up[path]}blobs/{name}" for path, name in names.items()}
    assert {p.name for p in (user.repository / "blobs").iterdir()} == set(names.values())
    assert {path: (user.snapshot / path).read_bytes() for path in FILES} == FILES
    assert (user.repository / "refs" / "main").read_bytes() == COMMIT.encode()
    assert not list(user.cache.rglob(f"{MANIFEST_NAME}*")), (
        "it would be one file too many for `hf cache verify`"
    )
    assert not list(user.repository.glob(".weightshare*"))
    assert (user.cache / ".locks" / "models--acme--m7b" / f"{LARGE}.lock").exists()
    once = sum(-(-len(data) // 4096) * 4096 for data in {**FILES, "sub/same.safetensors": b""}.values())
    assert on_disk(user.cache) <= once + 4096
    assert on_disk(user.home / "weightshare") < 100 * KIB
    assert user.run("verify", REPO)["ok"]
    assert [one["path"] for one in user.run("ls")["releases"]] == [str(user.snapshot)]
    with seeding(user.home) as seeder:
        again = User(user.home.parent / "third", user.published, seeder.peer)
        again.home.mkdir()
        assert again.fetch("--no-hf-cache")["received"]["swarm"] > 0


def test_where_it_lands_can_be_said(user: User, tmp_path: Path) -> None:
    assert user.fetch("--no-hf-cache")["path"] == str(
        user.home / "weightshare" / "models" / "acme" / "m7b" / "1"
    )
    assert not list(user.cache.iterdir())
    assert user.fetch("--hf-cache", "--into", "x", status=2)["error"] == "usage"
    fetched = user.fetch("--hf-cache", peer=False)
    assert fetched["path"] == str(user.snapshot)
    assert fetched["received"]["swarm"] == 0
    shared = user.home / "weightshare" / "models" / "acme" / "m7b" / "1" / "model.safetensors"
    assert shared.samefile(user.blob), "one copy, in the store and in the cache"
    assert user.fetch("--no-hf-cache", peer=False)["path"].endswith("/m7b/1"), "its receipts still hold"
    missing = User(tmp_path / "other", user.published, user.peer)
    missing.home.mkdir()
    assert missing.fetch("--into", "here")["path"] == str(missing.home / "here")
    missing.run("rm", REPO)
    assert missing.fetch()["path"] == str(missing.home / "weightshare" / "models" / "acme" / "m7b" / "1")


def test_what_the_cache_has_is_proven_and_used(user: User) -> None:
    others_revision(user)
    before = picture(user.repository)
    planned = user.fetch("--dry-run")
    assert planned["path"] == str(user.snapshot)
    assert {one["from"] for one in planned["files"] if one["size"] > 100 * KIB} == {"in the Hub's cache"}
    assert picture(user.repository) == before
    fetched = user.fetch()
    assert fetched["received"]["swarm"] < 50 * KIB
    assert fetched["hub_cache"]["main"] == OTHER, "somebody asked the Hub where main was, and we have not"
    after = picture(user.repository)
    kept = {path: what for path, what in before.items() if what[0] != "folder"}
    assert {path: after[path] for path in kept} == kept
    assert user.run("verify", REPO)["ok"]
    assert user.fetch("--hf-cache", "--move-main", peer=False)["hub_cache"]["main"] == COMMIT
    removed = user.run("rm", REPO)
    assert removed["deleted"] == len(FILES)
    left = {path: what[:2] for path, what in picture(user.repository).items() if what[0] != "folder"}
    assert left == {path: what[:2] for path, what in kept.items()}, "and main is back"


def test_bytes_that_are_others_are_not_replaced_unless_asked(user: User) -> None:
    others_revision(user)
    bad = bytearray(FILES["model.safetensors"])
    bad[200 * KIB] ^= 1
    user.blob.write_bytes(bad)
    before = picture(user.cache)
    refused = user.fetch(status=6)
    assert refused["error"] == "file_in_the_way"
    assert "model.safetensors" in refused["message"]
    assert picture(user.cache) == before
    assert user.run("ls")["releases"] == []
    fetched = user.fetch("--force")
    assert fetched["path"] == str(user.snapshot)
    assert user.blob.read_bytes() == FILES["model.safetensors"]


def test_a_blob_that_changes_is_noticed_and_mended(user: User) -> None:
    user.fetch()
    user.blob.chmod(0o644)
    with user.blob.open("r+b") as file:
        file.write(b"\xff")
    assert not user.run("verify", REPO, status=4)["ok"]
    served = weightshare(user.home, "seed", REPO, "--json", limit=30)
    assert served.returncode == 4
    assert b"model.safetensors" in served.stdout
    mended = user.run("verify", REPO, "--repair", "--peer", user.peer)
    assert 0 < mended["repaired_bytes"] < 400 * KIB
    assert user.blob.read_bytes() == FILES["model.safetensors"]
    assert user.run("verify", REPO)["ok"]
    assert (user.snapshot / "model.safetensors").is_symlink()


def test_what_is_taken_out_is_ours_alone(user: User) -> None:
    user.fetch()
    # Another revision comes to lead to one of our blobs, and huggingface_hub notes a branch and a listing.
    other = user.repository / "snapshots" / OTHER
    other.mkdir()
    (other / "model.safetensors").symlink_to(f"../../blobs/{LARGE}")
    place(user.repository, {"refs/v1": COMMIT.encode(), f"trees/{COMMIT}.json": b"{}"})
    removed = user.run("rm", REPO)
    assert (removed["kept"], removed["deleted"]) == (2, len(FILES) - 2)
    assert (other / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert not user.snapshot.exists()
    assert not list((user.repository / "refs").glob("*") if (user.repository / "refs").exists() else [])
    (other / "model.safetensors").unlink()


def test_nothing_is_left_of_the_only_release(user: User) -> None:
    user.fetch()
    user.run("rm", REPO)
    assert not user.repository.exists()


def test_where_links_cannot_be_made_the_files_lie_in_the_snapshot(user: User) -> None:
    fetched = user.fetch(HF_HUB_DISABLE_SYMLINKS="1")
    assert fetched["path"] == str(user.snapshot)
    assert {path: (user.snapshot / path).read_bytes() for path in FILES} == FILES
    assert not any(path.is_symlink() for path in user.snapshot.rglob("*"))
    assert user.run("verify", REPO)["ok"]
    assert user.run("rm", REPO)["deleted"] == len(FILES)
    assert not user.repository.exists()


def test_a_fetch_that_is_cut_short_goes_on_and_shows_nothing(user: User, tmp_path: Path) -> None:
    words = (
        "fetch",
        user.published.magnet,
        *user.published.trust,
        "--peer",
        user.peer,
        "--max-down",
        "100K",
        "--json",
    )
    staged = user.repository / STAGING
    with Running(user.home, *words, more={"HF_HUB_CACHE": str(user.cache)}) as running:
        until(lambda: any(staged.rglob("model.safetensors")), "the first bytes", within=30)
        running.kill()
    assert not list((user.repository / "blobs").iterdir())
    assert not list(user.snapshot.rglob("*"))
    assert not (user.repository / "refs").exists()
    assert [one["complete"] for one in user.run("ls")["releases"]] == [False]
    assert user.fetch()["hub_cache"]["main"] == COMMIT
    assert not staged.exists()


def test_a_run_that_ended_among_the_names_is_finished(user: User) -> None:
    user.fetch()
    # As it is when the power goes between two blobs: no link for one, no blob for another, no branch.
    (user.snapshot / "model.safetensors").unlink()
    small = user.repository / "blobs" / os.readlink(user.snapshot / "config.json").rpartition("/")[2]
    small.unlink()
    (user.repository / "refs" / "main").unlink()
    fetched = user.fetch()
    assert fetched["received"]["swarm"] == len(FILES["config.json"])
    assert fetched["hub_cache"]["main"] == COMMIT
    assert user.run("verify", REPO)["ok"]


def test_a_part_is_no_snapshot_that_main_leads_to(user: User) -> None:
    fetched = user.fetch("--include", "*.json")
    assert fetched["hub_cache"]["main"] is None
    assert sorted(path.name for path in user.snapshot.iterdir()) == ["config.json", "tokenizer.json"]
    assert user.fetch()["hub_cache"]["main"] == COMMIT


def test_a_blob_that_another_program_is_making_is_waited_for(user: User) -> None:
    lock = user.cache / ".locks" / "models--acme--m7b" / f"{LARGE}.lock"
    lock.parent.mkdir(parents=True)
    words = ("fetch", user.published.magnet, *user.published.trust, "--peer", user.peer, "--json")
    held = FileLock(lock)
    with held, Running(user.home, *words, more={"HF_HUB_CACHE": str(user.cache)}) as running:
        until(
            lambda: any((user.repository / "blobs").glob("*")),
            "blobs before the one that is locked",
            within=30,
        )
        assert running.status is None
        # huggingface_hub ends its download: the blob is here now, whole.
        user.blob.write_bytes(FILES["model.safetensors"])
        inode = user.blob.stat().st_ino
        held.release()
        running.result()
    assert user.blob.stat().st_ino == inode, "what was there first stays"
    assert not (user.repository / STAGING).exists()
