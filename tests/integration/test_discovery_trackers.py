"""A magnet, a tracker, and nothing else: real announces over HTTP, UDP and HTTPS, on loopback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, tiny
from tests.https_server import certificate
from tests.integration.releases import Published, assert_whole, publish
from tests.integration.running import Running
from tests.integration.trackers import hashes_of, open_tracker, own_tracker
from tests.integration.waiting import until
from tests.ports import free_port

needs_opentracker = pytest.mark.skipif(
    shutil.which("opentracker") is None, reason="opentracker is not installed"
)


def _published(folder: Path, *trackers: str, name: str = "acme/m7b") -> Published:
    model = folder / "model"
    if not model.exists():
        place(model, tiny())
    words = [word for url in trackers for word in ("--tracker", url)]
    made = publish(folder / "maintainer", model, *words, name=name)
    for url in trackers:
        assert f"tr={url.replace(':', '%3A').replace('/', '%2F')}" in made.magnet
    return made


def _seeder(published: Published, *, believes: Path | None = None) -> Running:
    more = {"SSL_CERT_FILE": str(believes)} if believes else None
    return Running(published.home, "seed", "--json", "--port", "0", more=more)


def _fetch(
    folder: Path, published: Published, *, believes: Path | None = None, timeout: str = "20"
) -> Running:
    """A fetch by the magnet alone."""
    user = folder / "user"
    user.mkdir(exist_ok=True)
    more = {"SSL_CERT_FILE": str(believes)} if believes else None
    assert "x.pe" not in published.magnet
    words = ("fetch", published.magnet, "out", *published.trust, "--json", "--timeout", timeout)
    return Running(user, *words, more=more)


@needs_opentracker
@pytest.mark.parametrize("scheme", ["http", "udp"])
@pytest.mark.parametrize("kind", [(), ("--v2-only",)], ids=["hybrid", "v2-only"])
def test_by_opentracker(tmp_path: Path, scheme: str, kind: tuple[str, ...]) -> None:
    port = free_port()
    url = f"{scheme}://127.0.0.1:{port}/announce"
    home = tmp_path / "maintainer"
    published = publish(home, place(tmp_path / "model", tiny()), "--tracker", url, *kind)
    with (
        open_tracker(hashes_of(published), port=port),
        _seeder(published) as seeder,
    ):
        seeder.event()
        with _fetch(tmp_path, published) as user:
            assert user.result()["received"]["swarm"] > 0
    assert_whole(tmp_path / "user" / "out", published)


def test_by_https(tmp_path: Path) -> None:
    """The certificate is checked against `SSL_CERT_FILE`, as every other program's is."""
    pem = tmp_path / "tracker.pem"
    pem.write_bytes(certificate())
    with own_tracker(pem) as tracker:
        published = _published(tmp_path, f"https://localhost:{tracker.port}/announce")
        with _seeder(published, believes=pem) as seeder:
            port = seeder.event()["port"]
            until(lambda: tracker.asked, "an announce over TLS")
            assert tracker.asked[0]["port"] == str(port)
            assert tracker.asked[0]["event"] == "started"
            with _fetch(tmp_path, published, believes=pem) as user:
                assert user.result()["received"]["swarm"] > 0
    assert_whole(tmp_path / "user" / "out", published)
    assert tracker.asked[-1].get("event") in {"stopped", "completed"}


@pytest.mark.parametrize("wrong", ["self-signed", "expired", "another-host"])
def test_a_tracker_that_cannot_prove_its_name_hears_nothing(tmp_path: Path, wrong: str) -> None:
    """Nobody on the way who forges the tracker learns what is fetched, and the reason is said."""
    pem, other = tmp_path / "tracker.pem", tmp_path / "other.pem"
    host = "elsewhere.example" if wrong == "another-host" else "localhost"
    pem.write_bytes(certificate(host, hours=-1 if wrong == "expired" else 1))
    other.write_bytes(certificate())
    believes = other if wrong == "self-signed" else pem
    with own_tracker(pem) as tracker:
        published = _published(tmp_path, f"https://localhost:{tracker.port}/announce")
        with _fetch(tmp_path, published, believes=believes, timeout="5") as user:
            failed = user.result(5)
    assert tracker.asked == []
    assert failed["error"] == "no_peers"
    assert f"localhost:{tracker.port}" in failed["message"]
    assert "certificate" in failed["message"]


def test_what_a_tracker_says_reaches_the_user(tmp_path: Path) -> None:
    with own_tracker(refusal="unregistered torrent, ask acme") as tracker:
        published = _published(tmp_path, f"http://127.0.0.1:{tracker.port}/announce")
        with _fetch(tmp_path, published, timeout="3") as user:
            failed = user.result(5)
    assert f"127.0.0.1:{tracker.port}" in failed["message"]
    assert "unregistered torrent, ask acme" in failed["message"]


@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_a_dead_tracker_is_named(tmp_path: Path, scheme: str) -> None:
    port = free_port()
    published = _published(tmp_path, f"{scheme}://127.0.0.1:{port}/announce")
    with _fetch(tmp_path, published, timeout="14") as user:
        failed = user.result(5)
    assert f"tracker 127.0.0.1:{port}: " in failed["message"]
    assert "refused" in failed["message"] or "timed out" in failed["message"]


def test_a_seeder_says_which_tracker_does_not_answer(tmp_path: Path) -> None:
    port = free_port()
    published = _published(tmp_path, f"http://127.0.0.1:{port}/announce")
    with Running(published.home, "seed", "--port", "0") as seeder:
        until(lambda: f"tracker 127.0.0.1:{port}: " in seeder.err(), "a word of the tracker", within=20)


def test_two_who_were_sent_to_different_trackers_meet(tmp_path: Path) -> None:
    """Every tracker is announced to, not the first that answers: it may know nobody."""
    with own_tracker(silent=True) as first, own_tracker() as second:
        urls = [f"http://127.0.0.1:{tracker.port}/announce" for tracker in (first, second)]
        published = _published(tmp_path, *urls)
        with _seeder(published) as seeder:
            seeder.event()
            until(lambda: first.asked and second.asked, "an announce to both")
            with _fetch(tmp_path, published) as user:
                user.result()
    assert_whole(tmp_path / "user" / "out", published)
