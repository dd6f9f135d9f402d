"""A publisher takes a release back: whoever has the newer one does not take, serve, check or run the older."""

from __future__ import annotations

from pathlib import Path

from tests.builders_checkpoints import place, shard
from tests.cli.helpers import result, weightshare
from tests.integration.releases import fetch, publish
from tests.integration.running import seeding
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import KIB


def test_a_revoked_release_is_refused_by_whoever_has_the_newer_one(tmp_path: Path) -> None:
    home, user, other = (tmp_path / name for name in ("maintainer", "user", "other"))
    first = publish(home, place(home / "one", {"model.safetensors": shard(40 * KIB, 1)}), "--version", "1")
    folder = place(home / "two", {"model.safetensors": shard(40 * KIB, 2)})
    manifest = str(first.folder / MANIFEST_NAME)
    with seeding(home, "acme/m7b@1") as seeder:
        taken = fetch(other, first, "--peer", seeder.peer)
    second = publish(
        home,
        folder,
        "--version",
        "2",
        "--revokes",
        manifest,
        "the tokenizer is wrong",
        "--supersedes",
        manifest,
    )
    with seeding(home, "acme/m7b@2") as seeder, seeding(other, "acme/m7b@1") as older:
        fetch(user, second, "--peer", seeder.peer)
        refused = fetch(user, first, "--peer", older.peer, status=3)
        assert refused["error"] == "revoked"
        assert (
            "acme/m7b@1 was revoked by its publisher in acme/m7b@2: the tokenizer is wrong"
            in refused["message"]
        )
        assert "Fetch acme/m7b@2 instead" in refused["hint"]
        fetch(other, second, "--peer", seeder.peer)
    for verb in ("verify", "seed"):
        assert result(other, verb, "acme/m7b@1", status=3)["error"] == "revoked"
    assert result(other, "verify", "acme/m7b@2")["ok"]
    with seeding(other) as everything:
        fetch(tmp_path / "late", second, "--peer", everything.peer)
        assert "acme/m7b@1 was revoked by its publisher" in " ".join(everything.err().split())
        assert everything.listening["releases"] == ["acme/m7b@2"]
    assert Path(taken["path"]).is_dir(), "nothing is deleted on a publisher's word"


def test_nobody_revokes_another_publisher_s_release(tmp_path: Path) -> None:
    home, evil, user = (tmp_path / name for name in ("maintainer", "mallory", "user"))
    first = publish(home, place(home / "one", {"model.safetensors": shard(40 * KIB, 1)}))
    evil.mkdir()
    result(evil, "keys", "new", "mallory")
    folder = place(evil / "two", {"model.safetensors": shard(40 * KIB, 2)})
    said = ("--revokes", str(first.folder / MANIFEST_NAME), "spite")
    theirs = result(evil, "publish", str(folder), "--name", "mallory/m7b", *said)
    user.mkdir()
    with seeding(evil, "mallory/m7b") as seeder:
        result(user, "fetch", theirs["magnet"], "--trust", theirs["publisher"], "--peer", seeder.peer)
    with seeding(home, "acme/m7b") as seeder:
        assert fetch(user, first, "--peer", seeder.peer)["release"] == "acme/m7b@1"


def test_a_release_that_is_not_there_is_not_revoked(tmp_path: Path) -> None:
    home = tmp_path / "maintainer"
    home.mkdir()
    result(home, "keys", "new", "acme")
    folder = place(home / "one", {"model.safetensors": shard(40 * KIB, 1)})
    words = ("publish", str(folder), "--name", "acme/m7b", "--revokes", "nowhere.json", "why")
    refused = weightshare(home, *words)
    assert refused.returncode == 2
    assert b"nowhere.json cannot be read" in refused.stderr
    assert b"hashing" not in refused.stderr
