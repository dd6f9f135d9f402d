"""Maintainers who share a publisher, and users who follow them: through the command line and the swarm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.builders_checkpoints import contents, place, shard
from tests.cli.helpers import ok, result, weightshare
from tests.integration.running import seeding
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.trust.keys import create_key
from weightshare.units import KIB

FILES = {"config.json": b"{}", "model.safetensors": shard(90 * KIB, 4)}
MEMBERS = ("alice", "bob", "carol", "dave")


@dataclass(frozen=True)
class Office:
    """A folder with everybody's keys and files; `home` is that of the maintainer who has the model."""

    home: Path

    @property
    def model(self) -> Path:
        return self.home / "m7b"

    def key(self, name: str) -> str:
        return str(self.home / name)

    def root(self, version: int) -> Path:
        return self.home / f"acme.{version}.root.json"

    def sign_root(self, version: int, *names: str) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for name in names:
            said = result(
                self.home, "trust", "team", "sign", str(self.root(version)), "--key", self.key(name)
            )
        return said

    def prepare(self, *words: str, version: str = "1") -> Path:
        manifest = self.home / f"m7b.{MANIFEST_NAME}"
        manifest.unlink(missing_ok=True)
        said = result(
            self.home,
            "publish",
            str(self.model),
            "--name",
            "acme/m7b",
            "--version",
            version,
            "--prepare",
            *words,
        )
        assert Path(said["manifest"]) == manifest
        return manifest

    def release(self, *names: str, version: str = "1") -> dict[str, Any]:
        manifest = self.prepare(version=version)
        for name in names:
            result(self.home, "sign", str(manifest), "--key", self.key(name))
        return result(self.home, "publish", "--finish", str(manifest))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Alice, Bob and Carol are a team of which two must sign; Dave is not in it yet."""
    home = tmp_path / "office"
    place(home / "m7b", FILES)
    for name in MEMBERS:
        create_key(home / name, name)
    members = [word for name in MEMBERS[:3] for word in ("--key", f"{home / name}.pub")]
    result(home, "trust", "team", "new", "acme", *members, "--threshold", "2")
    return Office(home)


@pytest.fixture
def team(office: Office) -> Office:
    """The same, with the first root signed and known."""
    said = office.sign_root(1, "alice", "bob")
    assert said["complete"]
    pinned = result(office.home, "trust", "add", "acme", str(office.root(1)))
    assert pinned["fingerprint"] == said["publisher"]
    return office


def _user(tmp_path: Path, name: str = "user") -> Path:
    home = tmp_path / name
    home.mkdir()
    return home


def test_a_team_s_release_from_the_first_hash_to_another_s_disk(team: Office, tmp_path: Path) -> None:
    manifest = team.prepare()
    shown = result(team.home, "sign", str(manifest), "--show")
    assert [file["path"] for file in shown["statement"]] == sorted(FILES)
    assert shown["signatures"] == {"signed": 0, "threshold": 2, "keys": 3, "missing": 2}
    signed = result(team.home, "sign", str(manifest), "--key", team.key("alice"))
    assert signed["signatures"]["missing"] == 1
    early = result(team.home, "publish", "--finish", str(manifest), status=3)
    assert "1 of the keys of acme signed it, and 2 must" in early["message"]
    result(team.home, "sign", str(manifest), "--key", team.key("carol"))
    made = result(team.home, "publish", "--finish", str(manifest))
    assert "x.wsk=" in made["magnet"]
    user = _user(tmp_path)
    with seeding(team.home, made["release"]) as seeder:
        refused = result(user, "fetch", made["magnet"], "--peer", seeder.peer, status=3)
        assert f"the team {made['publisher']}" in refused["message"]
        got = result(user, "fetch", made["magnet"], "--trust", made["publisher"], "--peer", seeder.peer)
    assert got["publisher"] == made["publisher"]
    assert got["publisher_name"] == "acme"
    assert contents(Path(got["path"])) == contents(team.model)
    assert (user / "weightshare/roots/acme/1.root.json").read_bytes() == team.root(1).read_bytes()
    assert result(user, "verify", made["release"])["ok"]


def test_copies_that_were_signed_at_the_same_time_are_merged(team: Office) -> None:
    manifest = team.prepare()
    copies = []
    for name in ("alice", "bob"):
        copy = Path(shutil.copy(manifest, team.home / f"from-{name}.json"))
        result(team.home, "sign", str(copy), "--key", team.key(name))
        copies.append(str(copy))
    merged = result(team.home, "sign", str(manifest), "--merge", copies[0], "--merge", copies[1])
    assert merged["signatures"]["missing"] == 0
    assert result(team.home, "publish", "--finish", str(manifest))["release"] == "acme/m7b@1"
    other = team.prepare(version="2")
    refused = result(team.home, "sign", str(other), "--merge", copies[0], status=2)
    assert "is another manifest" in refused["message"]


def test_what_is_wrong_with_a_file_is_said_with_its_name(team: Office) -> None:
    junk = team.home / "junk.json"
    junk.write_text("{}")
    for words, status in (
        (("sign", str(junk), "--key", team.key("alice")), 4),
        (("publish", "--finish", str(junk)), 4),
        (("trust", "team", "sign", str(junk), "--key", team.key("alice")), 3),
        (("trust", "add", "acme", str(junk)), 3),
        (("trust", "team", "new", "nova", "--key", str(junk), "--threshold", "1"), 3),
    ):
        assert result(team.home, *words, status=status)["message"].startswith(str(junk))
    alone = ("--key", f"{team.key('alice')}.pub", "--threshold", "2")
    said = result(team.home, "trust", "team", "new", "nova", *alone, status=2)
    assert said["message"] == "2 signatures are demanded of 1 in all."


def test_a_stranger_does_not_sign(team: Office) -> None:
    manifest = team.prepare()
    before = manifest.read_bytes()
    refused = result(team.home, "sign", str(manifest), "--key", team.key("dave"), status=3)
    assert "is not among the keys the manifest names" in refused["message"]
    assert manifest.read_bytes() == before


def test_signatures_that_were_gathered_are_never_written_over(team: Office) -> None:
    manifest = team.prepare()
    result(team.home, "sign", str(manifest), "--key", team.key("alice"))
    before = manifest.read_bytes()
    again = ("publish", str(team.model), "--name", "acme/m7b", "--prepare")
    refused = result(team.home, *again, status=6)
    assert (refused["error"], manifest.read_bytes()) == ("file_in_the_way", before)
    assert str(manifest) in refused["message"]
    members = ("--key", f"{team.key('alice')}.pub", "--threshold", "1")
    before = team.root(1).read_bytes()
    refused = result(team.home, "trust", "team", "new", "acme", *members, status=6)
    assert (refused["error"], team.root(1).read_bytes()) == ("file_in_the_way", before)


def test_a_team_does_not_publish_with_a_single_key(team: Office) -> None:
    refused = result(
        team.home, "publish", str(team.model), "--name", "acme/m7b", "--key", team.key("alice"), status=2
    )
    assert "acme is a team: 2 of 3 keys must sign" in refused["message"]


def test_files_that_changed_since_the_signatures_are_noticed(team: Office) -> None:
    manifest = team.prepare()
    for name in ("alice", "bob"):
        result(team.home, "sign", str(manifest), "--key", team.key(name))
    (team.model / "config.json").write_bytes(b"[]")
    refused = result(team.home, "publish", "--finish", str(manifest), status=4)
    assert "another pieces root than was signed" in refused["message"]
    assert result(team.home, "ls")["releases"] == []


def test_finishing_reads_nothing_again_that_was_not_touched(team: Office, tmp_path: Path) -> None:
    manifest = team.prepare()
    for name in ("alice", "bob"):
        result(team.home, "sign", str(manifest), "--key", team.key(name))
    # A copy of the folder has other inodes: there the bytes are read, and the release is the same.
    elsewhere = Path(shutil.copytree(team.model, tmp_path / "elsewhere"))
    copy = result(team.home, "publish", str(elsewhere), "--finish", str(manifest))
    assert not any((team.home / "weightshare" / "drafts").iterdir())
    manifest_again = result(team.home, "publish", str(team.model), "--finish", str(manifest))
    assert copy["info_hash_v2"] == manifest_again["info_hash_v2"]


def test_a_member_goes_and_the_users_follow(team: Office, tmp_path: Path) -> None:
    first = team.release("alice", "bob")
    user, late, mirror = (_user(tmp_path, name) for name in ("user", "late", "mirror"))
    with seeding(team.home, first["release"]) as seeder:
        trusting = ("--trust", first["publisher"], "--peer", seeder.peer)
        for home in (user, mirror):
            assert result(home, "fetch", first["magnet"], *trusting)["release"] == "acme/m7b@1"
    result(
        team.home,
        "trust",
        "team",
        "remove-key",
        str(team.root(1)),
        f"{team.key('bob')}.pub",
        "--add",
        f"{team.key('dave')}.pub",
    )
    half = team.sign_root(2, "alice", "dave")
    assert half["missing"] == {"own": 0, "previous": 1}
    refused = result(team.home, "trust", "add", "acme", str(team.root(2)), status=3)
    assert "is not signed by enough of the keys of root 1" in refused["message"]
    assert team.sign_root(2, "carol")["complete"]
    assert result(team.home, "trust", "add", "acme", str(team.root(2)))["team"]["root"] == 2
    manifest = team.prepare(version="2")
    refused = result(team.home, "sign", str(manifest), "--key", team.key("bob"), status=3)
    second = team.release("carol", "dave", version="2")
    assert second["publisher"] == first["publisher"]
    with seeding(team.home, second["release"]) as seeder, seeding(mirror, first["release"]) as older:
        got = result(user, "fetch", second["magnet"], "--peer", seeder.peer)
        assert "acme has new keys: root 2" in " ".join(got["warnings"])
        listed = result(user, "trust", "list")["publishers"][0]
        assert (listed["name"], listed["team"]["root"]) == ("acme", 2)
        # Whoever knows that Bob went does not take what only counts with his signature.
        assert result(late, "fetch", second["magnet"], "--trust", second["publisher"], "--peer", seeder.peer)
        old = result(late, "fetch", first["magnet"], "--peer", older.peer, status=3)
        assert old["error"] == "retired_key"
        assert result(user, "verify", first["release"], status=3)["error"] == "retired_key"
        keep = Path(result(mirror, "ls")["releases"][0]["path"]) / MANIFEST_NAME
        result(team.home, "trust", "team", "add-key", "acme", f"{team.key('bob')}.pub", "--keep", str(keep))
        team.sign_root(3, "alice", "carol", "bob")
        assert result(late, "trust", "add", "acme", str(team.root(3)))["team"]["root"] == 3
        result(team.home, "trust", "add", "acme", str(team.root(3)))
        result(team.home, "trust", "team", "remove-key", "acme", f"{team.key('bob')}.pub")
        team.sign_root(4, "alice", "carol", "dave")
        result(late, "trust", "add", "acme", str(team.root(4)))
        kept = result(late, "fetch", first["magnet"], "--peer", older.peer)
        assert "root 4 still stands by it" in " ".join(kept["warnings"])


def test_a_single_publisher_becomes_a_team(tmp_path: Path) -> None:
    home = _user(tmp_path, "acme")
    place(home / "m7b", FILES)
    for name in ("alice", "bob"):
        create_key(home / name, name)
    solo = result(home, "publish", str(home / "m7b"), "--name", "acme/m7b", "--key", str(home / "alice"))
    user = _user(tmp_path)
    pins = ("--trust", solo["publisher"])
    with seeding(home, solo["release"]) as seeder:
        assert result(user, "fetch", solo["magnet"], *pins, "--peer", seeder.peer)["path"]
    keys = ("--key", f"{home / 'alice'}.pub", "--key", f"{home / 'bob'}.pub")
    manifest = str(home / "m7b" / MANIFEST_NAME)
    kept = str(shutil.copy(manifest, home / "first.json"))
    result(home, "trust", "team", "new", "acme", *keys, "--threshold", "2", "--keep", kept)
    root = str(home / "acme.1.root.json")
    for name in ("alice", "bob"):
        result(home, "trust", "team", "sign", root, "--key", str(home / name))
    result(home, "trust", "add", "acme", root)
    office = Office(home)
    team = office.release("alice", "bob", version="2")
    with seeding(home, team["release"]) as seeder:
        got = result(user, "fetch", team["magnet"], "--peer", seeder.peer)
    assert "acme is a team from now on" in " ".join(got["warnings"])
    (pinned,) = result(user, "trust", "list")["publishers"]
    assert pinned["fingerprint"] == team["publisher"] != solo["publisher"]
    still = result(user, "verify", solo["release"])
    assert still["ok"]
    assert "root 1 still stands by it" in " ".join(still["warnings"])
    result(home, "publish", str(home / "m7b"), "--name", "acme/other", "--key", str(home / "alice"), status=2)


def test_a_team_that_the_known_key_never_signed_is_refused(office: Office, tmp_path: Path) -> None:
    user = _user(tmp_path)
    ok(user, "trust", "add", "acme", f"{office.key('dave')}.pub")
    office.sign_root(1, "alice", "bob")
    refused = result(user, "trust", "add", "acme", str(office.root(1)), status=3)
    assert "is pinned with another key" in refused["message"]
    assert result(user, "trust", "add", "acme", str(office.root(1)), "--replace")["team"]["root"] == 1


def test_python_tuf_reads_our_roots(team: Office) -> None:
    """Its own reader, with none of our code, agrees on who may sign and that enough did."""
    script = (
        "import sys; from tuf.api.metadata import Metadata, Root\n"
        "md = Metadata[Root].from_file(sys.argv[1]); md.verify_delegate('root', md)\n"
        "print(md.signed.version, md.signed.roles['targets'].threshold, len(md.signed.keys))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(team.root(1))], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["1", "2", "3"], done.stderr
    bent = team.home / "bent.json"
    bent.write_bytes(team.root(1).read_bytes().replace(b'"threshold":2', b'"threshold":1', 1))
    done = subprocess.run(
        [sys.executable, "-c", script, str(bent)], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "UnsignedMetadataError" in done.stderr


def test_without_python_tuf_a_team_is_not_taken_on_trust(team: Office, tmp_path: Path) -> None:
    made = team.release("alice", "bob")
    user = _user(tmp_path)
    blocked = tmp_path / "blocked"
    (blocked / "tuf").mkdir(parents=True)
    (blocked / "tuf" / "__init__.py").write_text("raise ImportError('not installed')\n")
    path = os.pathsep.join(filter(None, (str(blocked), os.environ.get("PYTHONPATH", ""))))
    with seeding(team.home, made["release"]) as seeder:
        words = ("fetch", made["magnet"], "--trust", made["publisher"], "--peer", seeder.peer, "--json")
        done = weightshare(user, *words, more={"PYTHONPATH": path})
    if b"No module named" in done.stderr:
        pytest.fail(done.stderr.decode())
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout)["error"] == "missing_extra"
    assert not list((user / "weightshare").rglob("*.safetensors"))
