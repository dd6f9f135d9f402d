"""`fetch --seed-for`: who has the release helps the others for a while."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, tiny
from tests.cli.helpers import weightshare
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, seeding
from tests.ports import free_port


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return publish(tmp_path / "maintainer", place(tmp_path / "model", tiny()))


def helper(home: Path, published: Published, peer: str, port: int, *words: str) -> Running:
    home.mkdir(exist_ok=True)
    more = (*published.trust, "--peer", peer, "--port", str(port), "--json", *words)
    return Running(home, "fetch", published.magnet, str(home / "got"), *more)


def test_one_who_is_done_serves_the_next(tmp_path: Path, published: Published) -> None:
    port = free_port()
    with seeding(published.home) as seeder:
        first = helper(tmp_path / "first", published, seeder.peer, port, "--seed-for", "1h")
        done = first.event()
    with first:  # and the seeder is gone
        assert done["event"] == "complete"
        assert_whole(Path(done["path"]), published)
        second = fetch(tmp_path / "second", published, "--peer", f"127.0.0.1:{port}", "--timeout", "20")
        assert_whole(Path(second["path"]), published)
        first.send(signal.SIGINT)
        last = first.result(0)
    assert last["event"] == "stopped"
    assert last["path"] == done["path"]
    assert last["uploaded"] >= published.size


def test_it_ends_when_its_time_is_over(tmp_path: Path, published: Published) -> None:
    with (
        seeding(published.home) as seeder,
        helper(tmp_path / "user", published, seeder.peer, free_port(), "--seed-for", "1s") as user,
    ):
        assert user.result(0)["event"] == "stopped"


def test_one_who_has_it_already_helps_as_well(tmp_path: Path, published: Published) -> None:
    port = free_port()
    with seeding(published.home) as seeder:
        whole = fetch(tmp_path / "first", published, "--peer", seeder.peer)
    more = (published.magnet, "--port", str(port), "--json", "--seed-for", "1h")
    with Running(tmp_path / "first", "fetch", *more) as first:
        assert first.event()["path"] == whole["path"]
        fetch(tmp_path / "second", published, "--peer", f"127.0.0.1:{port}", "--timeout", "20")


def test_part_of_a_release_is_not_served(tmp_path: Path) -> None:
    words = ("magnet:?xt=urn:btmh:1220" + "ab" * 32, "--seed-for", "10m", "--include", "*.json")
    refused = weightshare(tmp_path, "fetch", *words)
    assert refused.returncode == 2
    assert b"Only a whole release can be served" in refused.stderr


def test_a_duration_that_is_none(tmp_path: Path) -> None:
    refused = weightshare(tmp_path, "fetch", "magnet:?xt=urn:btmh:1220", "--seed-for", "soon")
    assert refused.returncode == 2
    assert b"'soon' is not a duration" in refused.stderr
