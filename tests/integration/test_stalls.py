"""Fetches that wait, with real peers: what they say, what ends the wait, and who is called again."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.builders_checkpoints import place, shard
from tests.integration.partial_peer import partial_peer
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, seeding
from tests.integration.staged import Disk
from tests.integration.trackers import own_tracker
from tests.integration.waiting import until
from tests.integration.wire import connections
from tests.ports import free_port
from weightshare.manifest.metainfo import parse_torrent
from weightshare.manifest.pieces import PieceMap
from weightshare.units import KIB, MIB

PIECE = 64 * KIB
FILES = {"a.safetensors": shard(4 * MIB, 1), "config.json": b"{}"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    return publish(home, place(home / "model", FILES), "--piece-length", str(PIECE))


@pytest.fixture
def user(tmp_path: Path) -> Path:
    home = tmp_path / "user"
    home.mkdir()
    return home


def spans(published: Published) -> dict[str, range]:
    """The pieces of each file."""
    torrent = parse_torrent(Path(str(published.facts["torrent"])).read_bytes())
    return {span.file.path: span.pieces for span in PieceMap(torrent.info).spans}


def fetching(user: Path, published: Published, *words: str) -> Running:
    return Running(user, "fetch", published.magnet, "out", *published.trust, "--json", *words)


def said(running: Running, words: str, *, within: float = 30) -> None:
    """Wait until it says so."""
    until(lambda: words in running.err() or running.status is not None, words, within=within)
    assert words in running.err(), (running.out(), running.err())


def test_nobody_has_a_piece(published: Published, user: Path) -> None:
    """All others come; then it says which, and how much of the release there is; and it ends when one has it."""
    shards = spans(published)["a.safetensors"]
    lacking = [shards[10], shards[40]]
    with ExitStack() as stack:
        peer = stack.enter_context(partial_peer(published, lacking=lacking))
        running = stack.enter_context(fetching(user, published, "--peer", peer, "--timeout", "5"))
        said(running, f"nobody has piece {lacking[0]} (availability 0.96)")
        failed = running.result(5)
        assert failed["error"] == "stalled"
        assert failed["reason"] == "piece_missing"
        assert f"nobody has piece {lacking[0]} (availability 0.96)" in failed["message"]

        port = free_port()
        more = ("--peer", peer, "--peer", f"127.0.0.1:{port}", "--timeout", "60")
        running = stack.enter_context(fetching(user, published, *more))
        said(running, f"nobody has piece {lacking[0]}")
        stack.enter_context(seeding(published.home, port=port))
        assert running.result()["received"]["swarm"] == 2 * PIECE
    assert_whole(user / "out", published)


def test_choked_by_all(published: Published, user: Path) -> None:
    """A peer that has everything and serves nobody, once an honest one brought the manifest."""
    with seeding(published.home) as seeder:
        fetch(user, published, "out", "--peer", seeder.peer, "--include", "*.json")
    with (
        partial_peer(published, slots=0) as peer,
        fetching(user, published, "--peer", peer, "--timeout", "6") as running,
    ):
        said(running, "choked by all peers")
        failed = running.result(5)
    assert failed["reason"] == "choked"
    assert "choked by all peers" in failed["message"]
    with seeding(published.home) as seeder:
        fetch(user, published, "out", "--peer", seeder.peer)
    assert_whole(user / "out", published)


def test_the_cap_is_what_limits(published: Published, user: Path) -> None:
    with (
        seeding(published.home) as seeder,
        fetching(user, published, "--peer", seeder.peer, "--max-down", str(MIB)) as running,
    ):
        said(running, "capped by you at 1.00 MiB/s")
        running.result()


def test_a_tracker_that_refuses_is_quoted(published: Published, user: Path) -> None:
    with own_tracker(refusal="torrent not registered with this tracker") as told:
        magnet = f"{published.magnet}&tr={quote(told.url, safe='')}"
        words = ("fetch", magnet, "out", *published.trust, "--json", "--timeout", "5")
        with Running(user, *words) as running:
            place = told.url.split("/")[2]
            said(running, f"no tracker answers (tracker {place}: torrent not registered with this tracker)")
            failed = running.result(5)
    assert failed["error"] == "no_peers"
    assert failed["reason"] == "no_tracker"
    assert "torrent not registered with this tracker" in failed["message"]


@pytest.mark.parametrize(("way", "away"), [("peer", 8.0), ("x.pe", 8.0), ("tracker", 20.0)])
def test_a_seeder_that_comes_back_is_called_within_seconds(
    published: Published, user: Path, way: str, away: float
) -> None:
    """It dies in the middle and stays away; on its port again, it is called soon, however it had been found."""
    disk = Disk(user / "out", FILES, PIECE)
    with ExitStack() as stack:
        seeder = stack.enter_context(seeding(published.home))
        told = stack.enter_context(own_tracker(named=(seeder.port,), interval=1800))
        magnet, words = published.magnet, ["--max-down", str(MIB), "--timeout", "120", "--json"]
        if way == "peer":
            words += ["--peer", seeder.peer]
        elif way == "x.pe":
            magnet += f"&x.pe={seeder.peer}"
        else:
            magnet += f"&tr={quote(told.url, safe='')}"
        running = stack.enter_context(Running(user, "fetch", magnet, "out", *published.trust, *words))

        def some() -> bool:
            disk.look()
            return disk.bytes() > MIB

        until(some, "a quarter", within=60)
        seeder.kill()
        told.named = ()  # as a tracker does that heard nothing for a while
        gone = time.monotonic()
        said(running, "no peers")
        until(lambda: time.monotonic() - gone >= away, "it to stay away a while", within=away + 5)
        stack.enter_context(seeding(published.home, port=seeder.port))
        until(lambda: connections(seeder.port), "a call", within=8)
        received = running.result()["received"]
    assert received["reused"] == 0
    assert_whole(user / "out", published)
