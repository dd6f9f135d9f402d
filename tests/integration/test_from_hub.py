"""`publish --hub`: a snapshot that huggingface_hub downloaded becomes a release where it lies."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders_checkpoints import contents, place, shard, tiny
from tests.builders_teams import ALICE, CAROL, first, team, team_pin
from tests.cli.helpers import weightshare
from tests.hub_server import Habit, HubServer, serve
from tests.integration.hub_caches import Cache, can_mount, filled, read_only
from tests.integration.running import Running, seeding
from tests.integration.waiting import until
from tests.ports import free_port
from weightshare.api.hub_publishing import Wish, take
from weightshare.api.preparing import finish, prepare
from weightshare.content.home import Home
from weightshare.hub.cache import HubName
from weightshare.hub.settings import HubSettings
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.metainfo import parse_torrent
from weightshare.manifest.model import MANIFEST_NAME, Manifest, Source
from weightshare.progress import Progress
from weightshare.swarm.networks import Network
from weightshare.trust import publishers
from weightshare.trust.keys import create_key
from weightshare.trust.signing import add_signature
from weightshare.units import KIB

COMMIT = "c0ffee" + "0" * 34
FILES = {
    **tiny(3),
    ".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
    "README.md": b"---\nlicense: llama3.1\n---\n# m7b\n",
    "model-2.safetensors": shard(200 * KIB, 4),
    "sub/vocab.json": b'{"a": 1}',
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """The stand-in, with one repository."""
    with serve(place(tmp_path_factory.mktemp("repository"), FILES), "acme/m7b", commit=COMMIT) as server:
        yield server


@pytest.fixture(scope="module")
def template(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a maintainer with a key, and what huggingface_hub made of the repository."""
    cache = Cache(tmp_path_factory.mktemp("downloaded"), hub.url, hub.repo, hub.commit)
    cache.download()
    cache.run("keys", "new", "acme")
    return cache.home


@pytest.fixture
def cache(hub: HubServer, template: Path, tmp_path: Path) -> Cache:
    """A user who has the snapshot."""
    return filled(template, tmp_path / "maintainer", hub)


def manifest_of(made: dict[str, object]) -> Manifest:
    return Manifest.from_payload(Envelope.parse(Path(str(made["manifest"])).read_bytes()).payload)


def blob(cache: Cache, path: str) -> Path:
    return (cache.snapshot / path).resolve()


def test_it_is_published_where_it_lies_and_matches_the_hub(
    cache: Cache, hub: HubServer, tmp_path: Path
) -> None:
    before = cache.state()
    hub.asked.clear()
    made = cache.run("publish", "--hub", "acme/m7b", "--out", str(tmp_path / "out"))
    assert made["release"] == "acme/m7b@c0ffee000000"
    assert made["path"] == str(cache.snapshot)
    assert made["hub"] == {
        "repo": "acme/m7b",
        "revision": COMMIT,
        "checked": True,
        "why": None,
        "said": f"matches the Hub at commit {COMMIT}",
        "files": len(FILES),
        "of": len(FILES),
        "web_seed": f"{hub.url}/acme/m7b/resolve/",
    }
    assert made["warnings"] == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "m7b.magnet", "m7b.torrent", f"m7b.{MANIFEST_NAME}"
    ]  # fmt: skip
    assert not any("/resolve/" in asked.path for asked in hub.asked)
    manifest = manifest_of(made)
    assert manifest.source == Source("acme/m7b", COMMIT)
    assert manifest.torrent.name == COMMIT
    assert manifest.license is not None
    assert manifest.license.spdx == "LicenseRef-llama3.1"
    assert {entry.path for entry in manifest.files} == set(FILES)
    with seeding(cache.home) as seeder:
        user = tmp_path / "user"
        user.mkdir()
        words = ("--trust", str(made["publisher"]), "--peer", seeder.peer, "--json")
        done = weightshare(user, "fetch", str(made["magnet"]), str(user / "got"), *words)
        assert done.returncode == 0, done.stderr.decode()
    assert contents(user / "got") == contents(cache.snapshot)
    assert cache.run("verify", made["release"])["ok"] is True
    assert cache.state() == before


@pytest.mark.skipif(not can_mount(), reason="a mount of one's own wants root and Linux")
def test_it_is_published_and_served_from_a_cache_mounted_read_only(cache: Cache, tmp_path: Path) -> None:
    before, ro = cache.state(), read_only(cache.hub)
    words = ("publish", "--hub", "acme/m7b", "--json")
    with Running(cache.home, *words, before=ro, more=cache.variables) as publishing:
        made = publishing.result()
    assert made["hub"]["checked"] is True
    with seeding(cache.home, before=ro) as seeder:
        user = tmp_path / "user"
        user.mkdir()
        more = ("--trust", made["publisher"], "--peer", seeder.peer, "--json")
        done = weightshare(user, "fetch", made["magnet"], str(user / "got"), *more)
        assert done.returncode == 0, done.stderr.decode()
    assert contents(user / "got") == contents(cache.snapshot)
    assert cache.state() == before


def test_what_is_not_in_the_cache_is_downloaded(hub: HubServer, tmp_path: Path) -> None:
    cache = Cache(tmp_path, hub.url, hub.repo, hub.commit)
    cache.run("keys", "new", "acme")
    done = weightshare(tmp_path, "publish", "--hub", "acme/m7b", more=cache.variables)
    assert done.returncode == 0, done.stderr.decode()
    assert f"matches the Hub at commit {COMMIT}" in done.stdout.decode()
    assert (
        f"Downloading {len(FILES)} files of acme/m7b at c0ffee000000 from 127.0.0.1" in done.stderr.decode()
    )
    assert "\r" not in done.stderr.decode()  # no bars in a pipe
    assert contents(cache.snapshot) == contents(next(iter(hub.blobs.values())).file.parent)
    assert (cache.repository / "refs/main").read_text() == COMMIT


def test_offline_nothing_is_asked_and_it_says_so(cache: Cache, hub: HubServer) -> None:
    hub.asked.clear()
    made = cache.offline().publish()
    assert made["hub"]["checked"] is False
    assert made["hub"]["said"] == "not checked: offline (HF_HUB_OFFLINE)"
    outside = Cache(
        cache.home, "http://198.18.0.1", cache.repo, cache.commit
    )  # tests may not leave the machine
    made = outside.publish()
    assert made["hub"]["said"].startswith("not checked: offline (198.18.0.1 lies outside the network allowed")
    assert made["hub"]["web_seed"] is None
    proxied = {"http_proxy": "http://198.18.0.1:3128", "no_proxy": ""}
    made = cache.run("publish", "--hub", "acme/m7b", more=proxied)
    assert made["hub"]["said"].startswith("not checked: offline (a proxy is set")
    assert not hub.asked


def test_a_hub_that_cannot_be_reached_is_no_reason_to_stop(cache: Cache) -> None:
    gone = Cache(cache.home, f"http://127.0.0.1:{free_port()}", cache.repo, cache.commit)
    made = gone.publish()
    assert made["hub"]["said"] == "not checked: the Hub could not be reached"
    assert "could not be asked for acme/m7b@main" in made["warnings"][0]
    empty = Cache(cache.home / "elsewhere", gone.url, cache.repo, cache.commit)
    error = empty.publish(status=5)
    assert error["error"] == "hub_unreachable"


@pytest.mark.parametrize(
    ("path", "word"), [("model.safetensors", "SHA-256"), ("sub/vocab.json", "git blob id")]
)
def test_a_blob_that_was_written_over_is_not_published(cache: Cache, path: str, word: str) -> None:
    """Something wrote through the snapshot's link: right size, and still named by the old digest."""
    data = bytearray((cache.snapshot / path).read_bytes())
    data[-1] ^= 1
    (cache.snapshot / path).write_bytes(data)
    error = cache.publish(status=4)
    assert error["error"] == "hub_mismatch"
    assert error["paths"] == [path]
    assert word in error["message"]
    assert cache.run("ls")["releases"] == []


def test_a_blob_that_lost_its_end_is_refused_before_anything_is_hashed(cache: Cache) -> None:
    os.truncate(blob(cache, "sub/vocab.json"), 3)
    reports: list[Progress] = []
    error = cache.publish(status=4, observe=reports.append)
    assert "has 3 bytes, expected 8" in error["message"]
    assert error["paths"] == ["sub/vocab.json"]
    assert not reports


def test_a_file_that_the_hub_does_not_have_is_refused(cache: Cache) -> None:
    (cache.snapshot / "tokens.txt").write_text("mine")
    error = cache.publish(status=4)
    assert (error["error"], error["paths"]) == ("hub_mismatch", ["tokens.txt"])


@pytest.mark.parametrize("verb", ["verify", "seed"])
def test_a_blob_that_is_written_over_later_is_noticed(cache: Cache, verb: str) -> None:
    made = cache.publish()
    data = bytearray((cache.snapshot / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (cache.snapshot / "model.safetensors").write_bytes(data)
    said = cache.run(verb, str(made["release"]), status=4)
    if verb == "verify":
        assert [file["path"] for file in said["files"] if not file["ok"]] == ["model.safetensors"]
    else:
        assert said["error"] == "corrupt"
        assert said["path"] == "model.safetensors"


def test_a_blob_that_was_brought_anew_is_served_again(cache: Cache) -> None:
    """`hf download --force-download` puts another file with the same bytes in its place."""
    made = cache.publish()
    place, data = blob(cache, "model.safetensors"), (cache.snapshot / "model.safetensors").read_bytes()
    place.unlink()
    place.write_bytes(data)
    with seeding(cache.home) as seeder:
        assert seeder.listening["releases"] == [made["release"]]


def test_a_blob_in_the_store_that_repositories_share(cache: Cache) -> None:
    """huggingface_hub 2 keeps what Xet has proven there, with a link in place of the blob."""
    place, key = blob(cache, "model.safetensors"), f"ab{'c' * 62}"
    (cache.hub / "blobs/ab").mkdir(parents=True)
    (cache.hub / "blobs/.huggingface-shared-blobs").write_text("1\n")
    place.rename(cache.hub / "blobs/ab" / key)
    place.symlink_to(f"../../blobs/ab/{key}")
    before = cache.state()
    made = cache.publish()
    assert made["hub"]["checked"] is True
    assert cache.run("verify", str(made["release"]))["ok"] is True
    assert cache.state() == before


def test_a_part_of_a_snapshot_is_completed_or_refused_or_wanted(cache: Cache, hub: HubServer) -> None:
    lost = ("model-2.safetensors", "sub/vocab.json")
    for path in lost:
        blob(cache, path).unlink()
    (cache.snapshot / "sub/vocab.json").unlink()
    error = cache.offline().publish(status=4)
    assert error["error"] == "checkpoint"
    assert error["paths"] == list(lost)
    assert "hf download acme/m7b" in error["hint"]

    (cache.snapshot / "model-2.safetensors").unlink()
    made = cache.publish(partial=True)
    assert made["files"] == len(FILES) - 2
    assert (
        made["hub"]["said"]
        == f"matches the Hub at commit {COMMIT} ({len(FILES) - 2} of its {len(FILES)} files)"
    )
    assert "which is left out" in made["warnings"][0]
    assert all(path in made["warnings"][0] for path in lost)
    assert not (cache.snapshot / "sub/vocab.json").exists()

    hub.asked.clear()
    made = cache.publish()
    assert made["files"] == len(FILES)
    assert made["hub"]["files"] == len(FILES)
    assert "which were brought" in made["warnings"][0]
    assert contents(cache.snapshot).keys() == FILES.keys()
    fetched = {asked.path for asked in hub.asked if asked.method == "GET" and "/resolve/" in asked.path}
    assert {path.partition(f"{COMMIT}/")[2] for path in fetched} <= set(lost)


def test_a_download_that_was_cut_short_is_refused_offline(cache: Cache) -> None:
    """Without the kept listing, only the part of a blob tells."""
    (cache.repository / "trees" / f"{COMMIT}.json").unlink()
    (cache.repository / "blobs/abc.0123abcd.incomplete").write_bytes(b"x")
    error = cache.offline().publish(status=4)
    assert "cut short" in error["message"]
    assert cache.offline().publish(partial=True)["hub"]["checked"] is False


def test_pickle_files_are_not_even_downloaded(tmp_path: Path) -> None:
    files = {**tiny(5), "pytorch_model.bin": b"\x80\x04."}
    create_key(tmp_path / "home/weightshare/keys/acme", "acme")
    with serve(place(tmp_path / "repository", files), "acme/m7b", commit=COMMIT) as hub:
        cache = Cache(tmp_path / "home", hub.url, hub.repo, hub.commit)
        error = cache.publish(status=8)
        assert (error["error"], error["paths"]) == ("pickle", ["pytorch_model.bin"])
        assert not any("/resolve/" in asked.path for asked in hub.asked)
        assert cache.publish(allow_pickle=True)["files"] == len(files)


def test_a_private_repository_wants_a_token_and_gives_it_to_its_hub_alone(tmp_path: Path) -> None:
    create_key(tmp_path / "home/weightshare/keys/acme", "acme")
    with serve(place(tmp_path / "repository", tiny(6)), "acme/m7b", commit=COMMIT, token="hf_x") as hub:
        cache = Cache(tmp_path / "home", hub.url, hub.repo, hub.commit)
        error = cache.publish(status=5)
        assert "does not exist, or is private" in error["message"]
        assert "HF_TOKEN" in error["hint"]
        made = cache.publish(more={"HF_TOKEN": "hf_x"})
        assert made["hub"]["checked"] is True
        assert not any(asked.authorization for asked in hub.asked if asked.at == "store")


def test_a_revision_that_nobody_knows(cache: Cache) -> None:
    error = cache.run("publish", "--hub", "acme/m7b@v9", status=5)
    assert "no revision v9" in error["message"]
    error = cache.offline().run("publish", "--hub", "acme/m7b@v9", status=6)
    assert COMMIT in error["message"]
    assert "acme/m7b@COMMIT" in error["hint"]


def test_a_branch_that_moved_on_is_published_as_the_cache_has_it(cache: Cache, hub: HubServer) -> None:
    older = "0" + COMMIT[1:]
    cache.snapshot.rename(cache.repository / "snapshots" / older)
    (cache.repository / "refs/main").write_text(older)
    hub.older.add(older)
    try:
        made = cache.publish()
    finally:
        hub.older.clear()
    assert made["hub"]["said"] == f"matches the Hub at commit {older}"
    assert made["release"] == f"acme/m7b@{older[:12]}"
    assert f"is now at {COMMIT}" in made["warnings"][0]
    assert (cache.repository / "refs/main").read_text() == older


def test_what_the_publisher_says_counts(cache: Cache) -> None:
    words = (
        "--name",
        "bob/m7b",
        "--version",
        "2",
        "--license",
        "MIT",
        "--v1-twin",
        "--web-seed",
        "http://127.0.0.1:9/x/",
    )
    made = cache.run("publish", "--hub", "acme/m7b", *words)
    assert made["release"] == "bob/m7b@2"
    manifest = manifest_of(made)
    assert manifest.license is not None
    assert manifest.license.spdx == "MIT"
    assert manifest.source == Source("acme/m7b", COMMIT)
    assert Path(made["v1_twin"]).exists()
    assert "127.0.0.1%3A9%2Fx%2F&ws=" in made["magnet"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("publish", "--hub", "acme/m7b", "."), "give one of the two"),
        (("publish", "--hub", "acme/m7b", "--finish", "FILE"), "leave out --hub"),
        (("publish", "--hub", "acme/m7b", "--oms-key", "FILE"), "nothing is written into the Hub's cache"),
        (("publish", ".", "--name", "acme/m7b", "--partial"), "it needs --hub"),
        (("publish", "--hub", "acme/m7b@../x"), "names no repository"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "FILE").write_text("{}")
    done = weightshare(tmp_path, *words, "--json")
    assert done.returncode == 2, done.stderr.decode()
    assert said in json.loads(done.stdout)["message"]


def test_a_hub_in_trouble_leaves_it_unchecked(cache: Cache, hub: HubServer) -> None:
    hub.habits.append(Habit("500", at="api"))
    try:
        made = cache.publish()
    finally:
        hub.habits.clear()
    assert made["hub"]["said"] == "not checked: the Hub could not be reached"
    assert "answered 500" in made["warnings"][0]


def test_a_team_prepares_signs_and_finishes_it_without_a_word_in_the_cache(
    cache: Cache, tmp_path: Path
) -> None:
    home, settings = Home.default(cache.home / "weightshare"), HubSettings.from_environment(cache.variables)
    pin = team_pin(team(first()))
    publishers.update(home.known_publishers, lambda known: known.add(pin))
    before = cache.state()
    taken = take(Wish(HubName("acme/m7b"), network=Network.LOCAL), settings)
    prepared = prepare(
        taken.folder, "acme/m7b", home=home, out=tmp_path, origin=taken.origin, web_seeds=taken.web_seeds
    )
    assert prepared.hub is not None
    assert prepared.hub.checked
    envelope = Envelope.parse(prepared.manifest.read_bytes())
    publisher = Manifest.from_payload(envelope.payload).publisher
    for key in (ALICE, CAROL):
        envelope = add_signature(envelope, publisher, key)
    prepared.manifest.write_bytes(envelope.to_bytes())
    made = finish(prepared.manifest, home=home)
    assert parse_torrent(made.torrent.read_bytes()).info.name == COMMIT
    assert f"{cache.url}/acme/m7b/resolve/".encode() in made.torrent.read_bytes()
    assert cache.state() == before


def test_an_interruption_does_not_wait_for_the_shard(tmp_path: Path) -> None:
    """huggingface_hub's own threads would go on to the end of their files, here a byte every 50 ms."""
    create_key(tmp_path / "home/weightshare/keys/acme", "acme")
    slow = Habit("slow", value="0.05", at="store")
    with serve(place(tmp_path / "repository", tiny(8)), "acme/m7b", commit=COMMIT, habits=[slow]) as hub:
        cache = Cache(tmp_path / "home", hub.url, hub.repo, hub.commit)
        with Running(cache.home, "publish", "--hub", "acme/m7b", more=cache.variables) as publishing:
            until(lambda: hub.count("store"), "the download")
            publishing.send(signal.SIGINT)
            assert publishing.end(within=20) == 130, publishing.err()
            assert "Traceback" not in publishing.err()
            until(lambda: not publishing.relatives(), "the end of all its processes", within=10)
