"""Plain clients and a release from the Hub: the Hub is its web seed, and lacks the manifest that the torrent lists.

Each client takes every model file from the Hub alone. The manifest comes from the swarm; a client without a peer waits
for it and has the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import libtorrent as lt
import pytest

from tests.builders_checkpoints import contents, place, shard
from tests.hub_server import HubServer, serve
from tests.integration.hub_caches import Cache
from tests.integration.running import seeding
from tests.integration.waiting import until
from tests.interop.announcing import tracking
from tests.interop.programs import needs, running
from tests.interop.qbittorrent import QBittorrent, qbittorrent
from tests.interop.test_clients_aria2 import words as aria2_words
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import KIB

COMMIT = "c0ffee" + "0" * 34
# Of names that the stand-in serves itself: what a client does with its redirects depends on waits of a minute.
FILES = {
    "config.json": b"{}",
    "README.md": b"---\nlicense: mit\n---\n",
    "sub/weights.dat": shard(300 * KIB, 1),
    "weights.dat": shard(200 * KIB, 2),
}


@dataclass
class Release:
    """A release whose web seed is the Hub."""

    hub: HubServer
    cache: Cache
    files: Path
    made: dict[str, Any]

    def asked(self) -> set[str]:
        """The files that were asked of the Hub."""
        return {a.path.partition(f"{COMMIT}/")[2] for a in self.hub.asked if f"/resolve/{COMMIT}/" in a.path}

    def assert_all_asked(self) -> None:
        assert self.asked() == {*FILES, MANIFEST_NAME}


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    """Published from a cache that holds it, with a v1 twin and a tracker that nobody else knows."""
    files = place(tmp_path / "repository", FILES)
    with serve(files, "acme/m7b", commit=COMMIT) as hub, tracking() as tracker:
        cache = Cache(tmp_path / "maintainer", hub.url, hub.repo, hub.commit)
        cache.home.mkdir()
        cache.run("keys", "new", "acme")
        made = cache.publish(piece_length=64 * KIB, v1_twin=True, trackers=[tracker.url])
        hub.asked.clear()
        yield Release(hub, cache, files, made)


def test_libtorrent_takes_all_but_the_manifest_from_the_hub(release: Release, tmp_path: Path) -> None:
    settings = {"listen_interfaces": "127.0.0.1:0", "enable_dht": False, "enable_lsd": False}
    session = lt.session(cast("Any", settings | {"enable_upnp": False, "enable_natpmp": False}))
    params = lt.load_torrent_file(release.made["torrent"])
    params.save_path = str(tmp_path / "got")
    handle = session.add_torrent(params)
    assert params.ti is not None
    layout = params.ti.layout()
    last = [layout.file_path(index) for index in range(layout.num_files())].index(f"{COMMIT}/{MANIFEST_NAME}")

    def lacking() -> list[int]:
        return [index for index, done in enumerate(handle.file_progress()) if done < layout.file_size(index)]

    until(lambda: lacking() == [last], "every file but the manifest", within=40)
    release.assert_all_asked()
    with seeding(release.cache.home) as seeder:
        handle.connect_peer(("127.0.0.1", seeder.port))
        until(lambda: handle.status().is_seeding, "the manifest from a peer", within=40)
    session.remove_torrent(handle)


@needs("qbittorrent-nox")
def test_qbittorrent_takes_all_but_the_manifest_from_the_hub(release: Release, tmp_path: Path) -> None:
    def lacking(client: QBittorrent) -> set[str]:
        (torrent,) = client.torrents()
        found = json.loads(client.ask(f"torrents/files?hash={torrent['hash']}"))
        return {str(file["name"]) for file in found if file["progress"] < 1}

    with qbittorrent(tmp_path / "qb", release.made["torrent"]) as client:
        client.program.until(lambda: lacking(client) == {f"{COMMIT}/{MANIFEST_NAME}"}, "all but the manifest")
        release.assert_all_asked()
        with seeding(release.cache.home) as seeder:
            client.add_peer(seeder.peer)
            client.until_whole()
        assert contents(client.folder / COMMIT) == contents(release.files)
        assert (client.folder / COMMIT / MANIFEST_NAME).read_bytes() == Path(
            release.made["manifest"]
        ).read_bytes()


@needs("aria2c")
def test_aria2_takes_the_twin_from_the_hub_and_the_manifest_from_a_peer(
    release: Release, tmp_path: Path
) -> None:
    with seeding(release.cache.home) as seeder:
        assert seeder.listening["releases"]
        words = aria2_words(release.made["v1_twin"], tmp_path / "got")
        with running(words, tmp_path / "home") as program:
            assert program.end() == 0, program.said()
    assert contents(tmp_path / "got" / COMMIT) == contents(release.files)
    assert release.asked() & FILES.keys()
