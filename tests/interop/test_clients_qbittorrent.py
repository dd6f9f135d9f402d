"""qBittorrent takes our torrents and gives them back, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.releases import assert_whole, fetch
from tests.integration.running import seeding
from tests.interop.announcing import tracking
from tests.interop.programs import needs
from tests.interop.qbittorrent import DEMANDS, REFUSES, qbittorrent
from tests.interop.swarms import TWICE, Release, assert_same, publish

pytestmark = needs("qbittorrent-nox")

KINDS: dict[str, tuple[str, ...]] = {"hybrid": (), "v2-only": ("--v2-only",)}
HANDSHAKES = {"demands": DEMANDS, "refuses": REFUSES}  # the others test what it prefers by itself


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Release]:
    return {kind: publish(tmp_path_factory.mktemp(kind), *words) for kind, words in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_it_leeches_by_torrent(releases: dict[str, Release], tmp_path: Path, kind: str) -> None:
    release = releases[kind]
    with seeding(release.published.home) as seeder, qbittorrent(tmp_path, release.torrent) as client:
        client.add_peer(seeder.peer)
        client.until_whole()
        assert_same(client.folder / release.name, release)


@pytest.mark.parametrize("kind", KINDS)
def test_it_leeches_by_link_and_its_peer(releases: dict[str, Release], tmp_path: Path, kind: str) -> None:
    release = releases[kind]
    with (
        seeding(release.published.home) as seeder,
        qbittorrent(tmp_path, f"{release.magnet}&x.pe={seeder.peer}") as client,
    ):
        client.until_whole()
        assert_same(client.folder / release.name, release)


def test_it_leeches_by_link_and_tracker(tmp_path: Path) -> None:
    with tracking() as tracker:
        release = publish(tmp_path, "--tracker", tracker.url)
        assert release.v1_hash is not None
        with seeding(release.published.home) as seeder:
            tracker.await_seeder(release.v1_hash, seeder.port)
            tracker.await_seeder(release.v2_hash, seeder.port)
            with qbittorrent(tmp_path / "client", release.magnet) as client:
                client.until_whole()
                assert_same(client.folder / release.name, release)
        assert tracker.hashes() == {release.v1_hash, release.v2_hash[:40]}


@pytest.mark.parametrize("handshakes", HANDSHAKES)
def test_it_leeches_whatever_it_thinks_of_encryption(
    releases: dict[str, Release], tmp_path: Path, handshakes: str
) -> None:
    release = releases["hybrid"]
    with (
        seeding(release.published.home) as seeder,
        qbittorrent(tmp_path, release.torrent, encryption=HANDSHAKES[handshakes]) as client,
    ):
        client.add_peer(seeder.peer)
        client.until_whole()
        assert_same(client.folder / release.name, release)


@pytest.mark.parametrize("kind", KINDS)
def test_it_seeds_to_us(releases: dict[str, Release], tmp_path: Path, kind: str) -> None:
    release = releases[kind]
    release.copied_to(tmp_path / "client" / "files")
    with qbittorrent(tmp_path / "client", release.torrent) as client:
        client.until_whole()
        got = fetch(tmp_path / "user", release.published, "out", "--peer", client.peer)
    assert got["received"] == {"swarm": release.published.size - TWICE, "hub": 0, "reused": TWICE}
    assert_whole(tmp_path / "user" / "out", release.published)


def test_one_that_demands_encryption_gives_us_nothing_on_a_lan(
    releases: dict[str, Release], tmp_path: Path
) -> None:
    """We dial in plain text there; the wait ends, and says that nobody was reached."""
    release = releases["hybrid"]
    release.copied_to(tmp_path / "client" / "files")
    with qbittorrent(tmp_path / "client", release.torrent, encryption=DEMANDS) as client:
        client.until_whole()
        words = ("out", "--peer", client.peer, "--timeout", "4")
        said = fetch(tmp_path / "user", release.published, *words, status=5)
    assert said["hint"]


def test_a_crowd_of_it_and_us(releases: dict[str, Release], tmp_path: Path) -> None:
    """Both give, as neither may give all of it in time."""
    release = releases["hybrid"]
    half = str(release.published.size // 4)
    release.copied_to(tmp_path / "client" / "files")
    with (
        seeding(release.published.home, "--max-up", half) as seeder,
        qbittorrent(tmp_path / "client", release.torrent) as client,
    ):
        client.until_whole()
        client.ask("transfer/setUploadLimit", limit=half)
        got = fetch(tmp_path / "user", release.published, "out", "--peer", seeder.peer, "--peer", client.peer)
        assert client.uploaded() > 0
        assert seeder.stop()["uploaded"] > 0
    assert got["received"]["swarm"] >= release.published.size - TWICE  # a last block may come twice
    assert_whole(tmp_path / "user" / "out", release.published)
