"""Publish, seed, fetch: the same bytes at the other end, whatever the folder looks like and however it is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.builders_checkpoints import contents, digest, place, shard, tiny
from tests.cli.helpers import result, weightshare
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Seeder, seeding
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import KIB

FOLDERS = {
    "one-file": {"model.safetensors": shard(200 * KIB, 1)},
    "one-small-file": {"config.json": b"{}"},
    "an-empty-file": {"added_tokens.json": b"", "model.safetensors": shard(70 * KIB, 2), "zz/last.txt": b""},
    "names": {
        "le modèle à moi.safetensors": shard(100 * KIB, 3),
        "文 件/été 1/Ünïcode.txt": "Grüße".encode(),
        "a/b/c/d/e/deep.json": b"[]",
        "sub folder/model card.md": b"# card",
    },
    "many-sizes": {
        f"part-{size}.bin2": shard(size, size) for size in (128, 16384, 16385, 32768, 65537, 99999)
    },
}
WAYS: dict[str, tuple[str, ...]] = {
    "hybrid": ("--piece-length", "32K"),
    "v2-only": ("--piece-length", "32K", "--v2-only"),
}


@dataclass(frozen=True)
class Crowd:
    """Many releases of one maintainer, and a seeder that serves them all."""

    published: dict[tuple[str, str], Published]
    seeder: Seeder


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    home = tmp_path_factory.mktemp("maintainer")
    published = {
        (kind, way): publish(home, place(home / way / kind, files), *words, name=f"acme/{kind}-{way}")
        for kind, files in FOLDERS.items()
        for way, words in WAYS.items()
    }
    with seeding(home) as seeder:
        yield Crowd(published, seeder)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", FOLDERS)
def test_round_trip(crowd: Crowd, tmp_path: Path, kind: str, way: str) -> None:
    published = crowd.published[kind, way]
    fetched = fetch(tmp_path, published, "out", "--peer", crowd.seeder.peer)
    assert_whole(tmp_path / "out", published)
    assert set(fetched) >= {"release", "publisher", "path", "bytes", "seconds", "received"}
    assert fetched["release"] == published.facts["release"]
    assert fetched["publisher"] == published.facts["publisher"]
    assert fetched["publisher_name"] == "acme"
    assert fetched["path"] == str(tmp_path / "out")
    assert fetched["bytes"] == published.size == sum(map(len, FOLDERS[kind].values()))
    assert fetched["received"] == {"swarm": published.size, "hub": 0, "reused": 0}


@dataclass(frozen=True)
class Web:
    """A folder on the web, and what was asked of it."""

    folder: Path
    url: str
    asked: list[str]


@contextmanager
def web(folder: Path) -> Iterator[Web]:
    """Serve a folder over HTTP on loopback."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *words: object) -> None:
            asked.append(self.path)

    folder.mkdir(exist_ok=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Web(folder, f"http://127.0.0.1:{server.server_address[1]}", asked)
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Sourced:
    """One release and all there is to find it by."""

    published: Published
    seeder: Seeder
    web: Web


@pytest.fixture(scope="module")
def sourced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sourced]:
    home = tmp_path_factory.mktemp("sourced")
    with web(home / "web") as served:
        published = publish(
            home,
            place(home / "model", tiny()),
            *("--piece-length", "32K", "--v1-twin", "--license", "MIT"),
            *("--out", str(home / "web"), "--torrent-url", f"{served.url}/m7b.torrent"),
        )
        with seeding(home) as seeder:
            yield Sourced(published, seeder, served)


def test_what_publish_says(sourced: Sourced) -> None:
    facts = sourced.published.facts
    assert set(facts) >= {
        *("release", "publisher", "magnet", "torrent", "manifest"),
        *("info_hash_v2", "info_hash_v1", "files", "bytes", "seconds"),
    }
    assert facts["files"] == 3
    for part in ("xt=urn:btmh:1220", "xt=urn:btih:", "dn=", "x.wsk=", "xs=http"):
        assert part in sourced.published.magnet
    assert Path(facts["torrent"]).is_file()
    assert Path(facts["manifest"]).read_bytes() == (sourced.published.folder / MANIFEST_NAME).read_bytes()


@pytest.mark.parametrize(
    "kind", ["magnet", "magnet with x.pe", "info-hash", "torrent path", "torrent url", "manifest path"]
)
def test_by_every_kind_of_source(sourced: Sourced, tmp_path: Path, kind: str) -> None:
    published, peer, facts = sourced.published, sourced.seeder.peer, sourced.published.facts
    source = {
        "magnet": published.magnet.partition("&xs=")[0],
        "magnet with x.pe": f"{published.magnet}&x.pe={peer}",
        "info-hash": facts["info_hash_v2"],
        "torrent path": facts["torrent"],
        "torrent url": f"{sourced.web.url}/m7b.torrent",
        "manifest path": str(sourced.web.folder / f"m7b.{MANIFEST_NAME}"),
    }[kind]
    words = () if "x.pe" in kind else ("--peer", peer)
    fetched = fetch(tmp_path, published, "out", *words, source=source)
    assert fetched["received"]["swarm"] == published.size
    assert_whole(tmp_path / "out", published)


def test_by_stdin_and_without_a_folder(sourced: Sourced, tmp_path: Path) -> None:
    words = ("fetch", "-", *sourced.published.trust, "--peer", sourced.seeder.peer)
    done = weightshare(tmp_path, *words, typed=f"{sourced.published.magnet}\n".encode())
    assert done.returncode == 0, done.stderr.decode()
    path = Path(done.stdout.decode().removesuffix("\n"))
    assert path == tmp_path / "weightshare/models/acme/m7b/1"
    assert_whole(path, sourced.published)


def test_a_link_with_xs_works_before_any_peer_gives_metadata(sourced: Sourced, tmp_path: Path) -> None:
    """Nobody is dialled: with `xs=` the wait is for the manifest already, without it for the metadata."""
    magnet = sourced.published.magnet
    for link, waits_for in ((magnet, b"manifest "), (magnet.partition("&xs=")[0], b"metadata ")):
        before = len(sourced.web.asked)
        user = tmp_path / waits_for.decode().strip()
        user.mkdir()
        done = weightshare(user, "fetch", link, *sourced.published.trust, "--timeout", "2.3")
        assert done.returncode == 5, done.stderr.decode()
        assert b"\n" + waits_for in b"\n" + done.stderr, done.stderr.decode()
        # Beside it the manifest is looked for, once peers have had a second to send it.
        assert (sourced.web.asked[before:][:1] == ["/m7b.torrent"]) is ("&xs=" in link)


def test_xs_that_gives_another_torrent_is_not_believed(
    crowd: Crowd, sourced: Sourced, tmp_path: Path
) -> None:
    other = Path(crowd.published["names", "hybrid"].facts["torrent"])
    (sourced.web.folder / "other.torrent").write_bytes(other.read_bytes())
    magnet = sourced.published.magnet.replace("m7b.torrent", "other.torrent")
    fetched = fetch(tmp_path, sourced.published, "out", "--peer", sourced.seeder.peer, source=magnet)
    assert "/other.torrent" in sourced.web.asked
    assert any("another torrent" in warning for warning in fetched["warnings"])
    assert_whole(tmp_path / "out", sourced.published)


def test_fetched_again_nothing_is_received(sourced: Sourced, tmp_path: Path) -> None:
    words = ("out", "--peer", sourced.seeder.peer)
    fetch(tmp_path, sourced.published, *words)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = fetch(tmp_path, sourced.published, *words)
    assert again["received"] == {"swarm": 0, "hub": 0, "reused": sourced.published.size}
    assert again["bytes"] == sourced.published.size
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before

    (tmp_path / "out" / "model.safetensors").unlink()
    mended = fetch(tmp_path, sourced.published, *words)
    shard_size = len(tiny()["model.safetensors"])
    assert mended["received"] == {
        "swarm": shard_size,
        "hub": 0,
        "reused": sourced.published.size - shard_size,
    }
    assert_whole(tmp_path / "out", sourced.published)


def test_some_files_and_then_the_rest(sourced: Sourced, tmp_path: Path) -> None:
    source = contents(sourced.published.folder)
    size = sourced.published.size - len(tiny()["model.safetensors"])
    words = ("out", "--peer", sourced.seeder.peer)
    some = fetch(tmp_path, sourced.published, *words, "--include", "*.json", "--include", "*.md")
    assert some["bytes"] == some["received"]["swarm"] == size
    assert contents(tmp_path / "out") == {path: source[path] for path in ("README.md", "config.json")}
    assert result(tmp_path, "verify", "acme/m7b")["ok"] is True
    assert result(tmp_path, "seed", "acme/m7b", status=6)["message"]

    more = fetch(tmp_path, sourced.published, *words, "--exclude", "*.safetensors")
    assert more["received"] == {"swarm": 0, "hub": 0, "reused": size}

    rest = fetch(tmp_path, sourced.published, *words)
    assert rest["received"] == {"swarm": sourced.published.size - size, "hub": 0, "reused": size}
    assert rest["bytes"] == sourced.published.size
    assert_whole(tmp_path / "out", sourced.published)

    refused = fetch(tmp_path, sourced.published, *words, "--include", "*.gguf", status=2)
    assert refused["hint"]


def test_the_v1_twin_serves_old_clients(sourced: Sourced, tmp_path: Path) -> None:
    """A bare engine that knows only the plain v1 torrent gets the same files from the same seeder."""
    twin = sourced.published.facts["v1_twin"]
    client = [
        sys.executable,
        "-m",
        "tests.integration.plain_client",
        twin,
        str(tmp_path),
        sourced.seeder.peer,
    ]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(client, cwd=root, timeout=60, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    (folder,) = tmp_path.iterdir()
    assert_whole(folder, sourced.published)


def test_a_snapshot_in_a_hub_cache_is_published_where_it_lies(tmp_path: Path) -> None:
    """The Hub's client keeps files as links into `blobs/`; they are served through them, and nothing is moved."""
    maintainer, user = tmp_path / "maintainer", tmp_path / "user"
    repository = maintainer / "hub" / "models--acme--m7b"
    blobs = place(
        repository / "blobs",
        {f"{number:040x}": data for number, data in enumerate(tiny(7).values())},
    )
    snapshot = repository / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(tiny(7)):
        (snapshot / path).symlink_to(Path(f"../../blobs/{number:040x}"))
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns, digest(path)) for path in blobs.iterdir()}

    published = publish(maintainer, snapshot)
    with seeding(maintainer) as seeder:
        fetch(user, published, "out", "--peer", seeder.peer)
    assert contents(user / "out") == contents(snapshot)
    assert not any(path.is_symlink() for path in (user / "out").rglob("*"))
    assert {
        path: (path.stat().st_ino, path.stat().st_mtime_ns, digest(path)) for path in blobs.iterdir()
    } == before
    assert all(os.path.islink(snapshot / path) for path in tiny())


def test_what_was_fetched_is_seeded_on(tmp_path: Path) -> None:
    """From A to B to C, with A gone by then."""
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    published = publish(a, place(tmp_path / "model", tiny(8)), "--piece-length", "32K")
    with seeding(a) as seeder:
        fetch(b, published, "--peer", seeder.peer)
    with seeding(b) as seeder:
        assert seeder.listening["releases"] == ["acme/m7b@1"]
        fetch(c, published, "out", "--peer", seeder.peer)
    assert_whole(c / "out", published)


@pytest.mark.model
@pytest.mark.parametrize(("model", "shards"), [("minilm", 1), ("smollm2", 5)])
def test_a_real_model(request: pytest.FixtureRequest, tmp_path: Path, model: str, shards: int) -> None:
    folder = shutil.copytree(request.getfixturevalue(model), tmp_path / "model")
    published = publish(tmp_path / "maintainer", folder)
    assert len(list(folder.glob("*.safetensors"))) == shards
    with seeding(published.home) as seeder:
        fetched = fetch(tmp_path / "user", published, "out", "--peer", seeder.peer)
    assert fetched["received"]["swarm"] == published.size > 90_000_000
    assert_whole(tmp_path / "user" / "out", published)
    report = result(tmp_path / "user", "verify", "acme/m7b")
    assert report["ok"] is True
    assert {file["path"] for file in report["files"]} == set(contents(folder))
