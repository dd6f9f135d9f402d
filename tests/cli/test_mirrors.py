"""Mirrors through the command line: two vouch for a release, and a user elsewhere demands both before a weight byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders_checkpoints import place, tiny
from tests.cli.helpers import ok, result, weightshare
from tests.cli.test_journey import damage
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import seeding
from weightshare.content.store import STAGING
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import MANIFEST_NAME, Manifest
from weightshare.trust.keys import FileSigner
from weightshare.trust.signing import sign

SIZE = 400_000
ATTESTATION = "--attestation"


class Field:
    """A maintainer, and two mirrors who fetched the release and vouch for it.

    Attributes:
        published: the release.
        homes: the mirrors' homes by name.
        keys: their fingerprints.
        files: their countersignatures, and what `verify --json` said when they were made.
    """

    def __init__(self, place_for: Path) -> None:
        folder = place(place_for / "model", tiny(size=SIZE))
        self.published = publish(place_for / "maintainer", folder, "--piece-length", "32K")
        self.other = publish(
            place_for / "maintainer", place(place_for / "model2", tiny(1, SIZE)), name="acme/other"
        )
        self.homes: dict[str, Path] = {}
        self.keys: dict[str, str] = {}
        self.files: dict[str, Path] = {}
        self.said: dict[str, dict[str, Any]] = {}
        with seeding(self.published.home) as seeder:
            for name in ("cdn", "uni"):
                home = place_for / name
                fetch(home, self.published, "--peer", seeder.peer)
                self.keys[name] = str(result(home, "keys", "new", name)["fingerprint"])
                self.homes[name] = home
                self._sign(name)

    def _sign(self, name: str) -> None:
        out = self.homes[name] / f"{name}.json"
        self.said[name] = result(self.homes[name], "verify", "acme/m7b", "--sign-as", name, "--out", str(out))
        self.files[name] = out

    def known(self, home: Path, *names: str) -> Path:
        """A user's home in which these mirrors are pinned."""
        home.mkdir(exist_ok=True)
        for name in names:
            ok(home, "trust", "add", name, self.keys[name], "--mirror")
        return home


def demanding(count: int, files: Sequence[Path]) -> list[str]:
    """The words that demand so many mirrors, and name these countersignatures."""
    return ["--require-mirrors", str(count), *(word for file in files for word in (ATTESTATION, str(file)))]


def assert_nothing_came(home: Path, published: Published) -> None:
    """No weight byte anywhere below a user's home, and nobody pinned but mirrors."""
    assert result(home, "ls") == {"releases": []}
    assert all(pin["roles"] == ["mirror"] for pin in result(home, "trust", "list")["publishers"])
    names = {path.name for path in published.folder.rglob("*")} - {"weightshare.json"}
    held = [path for path in home.rglob("*") if path.name in {*names, STAGING}]
    assert held == []


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Field:
    return Field(tmp_path_factory.mktemp("field"))


# ---- a mirror signs


def test_a_mirror_vouches_for_what_it_has(field: Field) -> None:
    said = field.said["cdn"]
    assert (said["ok"], said["attestation"], said["mirrors"]) == (True, str(field.files["cdn"]), [])
    document = json.loads(field.files["cdn"].read_bytes())
    assert [entry["keyid"] for entry in document["signatures"]] == [field.keys["cdn"]]
    assert sorted(path.name for path in field.homes["cdn"].glob("*.json")) == ["cdn.json"]


def test_the_file_is_named_after_the_torrent_and_never_replaced_unasked(field: Field) -> None:
    home = field.homes["uni"]
    done = weightshare(home, "verify", "acme/m7b", "--sign-as", "uni")
    assert done.returncode == 0, done.stderr.decode()
    made = home / "m7b.countersig.json"
    assert f"countersigned in {made}" in " ".join(done.stdout.decode().split())
    before = made.read_bytes()

    refused = result(home, "verify", "acme/m7b", "--sign-as", "uni", status=6)
    assert (refused["error"], refused["path"]) == ("file_in_the_way", str(made))
    assert made.read_bytes() == before

    made.write_bytes(b"mine")
    result(home, "verify", "acme/m7b", "--sign-as", "uni", "--force")
    assert json.loads(made.read_bytes())["payloadType"]


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (["--sign-as", "nobody"], 3, "key_file"),
        (["--sign-as", "cdn", "--out", "no/such/folder.json"], 6, "disk"),
        (["--sign-as", "cdn", "--out", "-"], 2, "usage"),
        (["--out", "x.json"], 2, "usage"),
        (["--force"], 2, "usage"),
        (["--oms", "model.sig", "--require-mirrors", "1"], 2, "usage"),
        (["--oms", "model.sig", "--sign-as", "cdn"], 2, "usage"),
        (["--attestation", "missing.json"], 2, "usage"),
        (["--require-mirrors", "-1"], 2, "usage"),
    ],
)
def test_what_cannot_be_done_is_said_before_a_byte_is_read(
    field: Field, words: list[str], status: int, error: str
) -> None:
    home = field.homes["cdn"]
    before = sorted(home.iterdir())
    assert result(home, "verify", "acme/m7b", *words, status=status)["error"] == error
    assert sorted(home.iterdir()) == before


def test_one_wrong_byte_and_nothing_is_signed(field: Field, tmp_path: Path) -> None:
    home = tmp_path
    with seeding(field.published.home) as seeder:
        folder = Path(fetch(home, field.published, "--peer", seeder.peer)["path"])
    ok(home, "keys", "new", "cdn")
    words = ("verify", "acme/m7b", "--sign-as", "cdn", "--out", str(home / "out.json"))
    assert result(home, *words)["attestation"]
    (home / "out.json").unlink()

    extra = folder / "extra.txt"
    extra.write_text("nobody signed this")
    assert result(home, *words, status=4)["attestation"] is None
    extra.unlink()

    damage(folder / "model.safetensors", SIZE - 1)
    done = weightshare(home, *words)
    assert done.returncode == 4
    assert b"Nothing was signed" in done.stderr
    (folder / "model.safetensors").unlink()
    assert result(home, *words, status=4)["attestation"] is None
    assert not (home / "out.json").exists()


def test_a_part_of_a_release_is_not_vouched_for(field: Field, tmp_path: Path) -> None:
    with seeding(field.published.home) as seeder:
        fetch(tmp_path, field.published, "--peer", seeder.peer, "--include", "*.json")
    ok(tmp_path, "keys", "new", "cdn")
    refused = result(
        tmp_path, "verify", "acme/m7b", "--sign-as", "cdn", "--out", str(tmp_path / "out.json"), status=4
    )
    assert refused["error"] == "checkpoint"
    assert not (tmp_path / "out.json").exists()


def test_a_folder_the_store_does_not_know_is_refused_with_a_way_on(field: Field, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(field.published.folder, folder)
    ok(tmp_path, "keys", "new", "cdn")
    refused = result(tmp_path, "verify", str(folder), *field.published.trust, "--sign-as", "cdn", status=6)
    assert "name in the store" in refused["hint"]
    assert not list(tmp_path.glob("*.countersig.json"))


def test_a_manifest_that_is_not_the_torrents_is_not_vouched_for(field: Field, tmp_path: Path) -> None:
    with seeding(field.published.home) as seeder:
        folder = Path(fetch(tmp_path, field.published, "--peer", seeder.peer)["path"])
    ok(tmp_path, "keys", "new", "cdn")
    # The publisher signs the same files once more, with another summary: another manifest, not in this torrent.
    manifest = Manifest.from_payload(Envelope.parse((folder / MANIFEST_NAME).read_bytes()).payload)
    changed = replace(manifest, model=replace(manifest.model, summary="another"))
    key = FileSigner.load(field.published.home / "weightshare" / "keys" / "acme")
    (folder / MANIFEST_NAME).unlink()
    (folder / MANIFEST_NAME).write_bytes(sign(changed, key).to_bytes())
    assert result(tmp_path, "verify", str(folder))["ok"] is True
    refused = result(tmp_path, "verify", str(folder), "--sign-as", "cdn", status=6)
    assert "not the one in its torrent" in refused["message"]
    assert result(tmp_path, "verify", "acme/m7b", "--sign-as", "cdn")["attestation"]


def test_a_publisher_that_signs_as_its_own_mirror_is_told(field: Field, tmp_path: Path) -> None:
    home = field.published.home
    said = result(home, "verify", "acme/m7b", "--sign-as", "acme", "--out", str(tmp_path / "own.json"))
    assert any("publisher's own key" in warning for warning in said["warnings"])


# ---- a user demands


def test_two_mirrors_before_the_first_weight_byte(field: Field, tmp_path: Path) -> None:
    home = field.known(tmp_path / "user", "cdn", "uni")
    both = [field.files["cdn"], field.files["uni"]]
    with seeding(field.published.home) as seeder:
        words = ("--peer", seeder.peer)
        refused = fetch(home, field.published, *words, *demanding(2, both[:1]), status=3)
        assert refused["error"] == "too_few_mirrors"
        assert (refused["required"], refused["counted"]) == (2, [field.keys["cdn"]])
        assert_nothing_came(home, field.published)

        fetched = fetch(home, field.published, *words, *demanding(2, both))
    assert_whole(Path(fetched["path"]), field.published)
    assert [(entry["name"], entry["fingerprint"]) for entry in fetched["mirrors"]] == [
        (name, field.keys[name]) for name in ("cdn", "uni")
    ]
    assert all(entry["verified_at"].endswith("Z") for entry in fetched["mirrors"])
    # What is here already goes through the same gate.
    assert fetch(home, field.published, *demanding(3, both), status=3)["error"] == "too_few_mirrors"
    assert len(fetch(home, field.published, *demanding(2, both))["mirrors"]) == 2

    said = result(home, "verify", "acme/m7b", *demanding(2, both))
    assert [entry["name"] for entry in said["mirrors"]] == ["cdn", "uni"]
    text = ok(home, "verify", "acme/m7b", *demanding(1, both))
    assert "2 mirrors vouch for the bytes: cdn, uni" in text
    assert result(home, "verify", "acme/m7b", *demanding(3, both), status=3)["error"] == "too_few_mirrors"


def test_each_that_does_not_count_is_named_with_its_reason(field: Field, tmp_path: Path) -> None:
    home = field.known(tmp_path / "user", "cdn")
    maintainer = field.published.home
    own, other = tmp_path / "own.json", tmp_path / "other.json"
    result(maintainer, "verify", "acme/m7b", "--sign-as", "acme", "--out", str(own))
    # The publisher signs as one more mirror would, but of another release.
    shutil.copy(field.homes["cdn"] / "weightshare" / "keys" / "cdn", tmp_path / "cdn-key")
    result(maintainer, "verify", "acme/other", "--sign-as", str(tmp_path / "cdn-key"), "--out", str(other))
    ok(home, "trust", "add", "acme", str(field.published.facts["publisher"]), "--mirror")
    again = tmp_path / "again.json"
    shutil.copy(field.files["cdn"], again)
    flipped = tmp_path / "flipped.json"
    document = json.loads(field.files["cdn"].read_bytes())
    document["signatures"][0]["sig"] = "A" * 86 + "=="
    flipped.write_text(json.dumps(document))
    manifest = tmp_path / "manifest.json"
    shutil.copy(str(field.published.facts["manifest"]), manifest)
    files = [field.files["cdn"], again, field.files["uni"], own, other, flipped, manifest]
    with seeding(maintainer) as seeder:
        words = ("--peer", seeder.peer)
        refused = fetch(home, field.published, *words, *demanding(2, files), status=3)
        assert_nothing_came(home, field.published)
        reasons = {Path(entry["attestation"]).name: entry["reason"] for entry in refused["refused"]}
        expected = {
            "again.json": "counted already",
            "uni.json": "do not know the mirror",
            "own.json": "own publisher",
            "other.json": "another release, which it calls 'acme/other@1'",
            "flipped.json": "No signature",
            "manifest.json": "a release's manifest",
        }
        assert reasons.keys() == expected.keys()
        for name, reason in expected.items():
            assert reason in reasons[name]
            assert str(tmp_path / name) in refused["message"] or name == "uni.json"

        # Nobody demanded: they are checked and reported all the same.
        fetched = fetch(home, field.published, *words, *demanding(0, files))
    assert [entry["name"] for entry in fetched["mirrors"]] == ["cdn"]
    ignored = [warning for warning in fetched["warnings"] if "does not count" in warning]
    assert len(ignored) == len(expected)


def test_mirrors_never_stand_in_for_the_publisher(field: Field, tmp_path: Path) -> None:
    home = field.known(tmp_path / "user", "cdn", "uni")
    both = list(field.files.values())
    with seeding(field.published.home) as seeder:
        words = ("fetch", field.published.magnet, "--peer", seeder.peer, *demanding(2, both))
        assert result(home, *words, status=3)["error"] == "unknown_publisher"
        # Not even when the publisher's own key is known, as a mirror.
        ok(home, "trust", "add", "acme", str(field.published.facts["publisher"]), "--mirror")
        refused = result(home, *words, status=3)
    assert refused["error"] == "unknown_publisher"
    assert "as the mirror acme" in refused["message"]
    assert_nothing_came(home, field.published)


def test_a_countersignature_is_no_manifest_to_fetch_by(field: Field, tmp_path: Path) -> None:
    home = field.known(tmp_path / "user", "cdn")
    folder = place(tmp_path / "folder", {"weightshare.json": field.files["cdn"].read_bytes()})
    for words in (("verify", str(folder)), ("inspect", str(folder / "weightshare.json"))):
        refused = result(home, *words, status=4)
        assert refused["error"] == "unsupported"
        assert "predicateType" in refused["message"]


# ---- whom a user knows


def test_trust_add_and_list_say_the_role(field: Field, tmp_path: Path) -> None:
    key = field.keys["cdn"]
    assert result(tmp_path, "trust", "add", "cdn", key, "--mirror")["roles"] == ["mirror"]
    assert "mirror" in ok(tmp_path, "trust", "list")
    assert result(tmp_path, "trust", "add", "cdn", key)["roles"] == ["publisher", "mirror"]
    assert "publisher and mirror" in ok(tmp_path, "trust", "list")
    assert result(tmp_path, "trust", "remove", "cdn", "--mirror")["removed"] is True
    (left,) = result(tmp_path, "trust", "list")["publishers"]
    assert left["roles"] == ["publisher"]
    root = tmp_path / "acme.1.root.json"
    root.write_text("{}")
    for words in ((key, "--models", "cdn/*"), (key, "--post-quantum", key), (str(root),)):
        refused = result(tmp_path, "trust", "add", "cdn", *words, "--mirror", status=2)
        assert "one Ed25519 key" in refused["message"]
