"""Rehearsals of a launch: with all in order, with everything broken, and of a release that is being seeded."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.builders_checkpoints import place, tiny
from tests.cli.helpers import result, weightshare
from tests.integration.releases import publish
from tests.integration.running import seeding
from tests.integration.trackers import hashes_of, open_tracker
from tests.integration.waiting import until
from tests.ports import free_port
from tests.range_server import range_server
from weightshare.manifest.magnet import parse

pytestmark = pytest.mark.skipif(shutil.which("opentracker") is None, reason="opentracker is not installed")


def outcomes(found: dict[str, Any]) -> dict[str, list[str]]:
    """How each check ended, by its name."""
    ended: dict[str, list[str]] = {}
    for check in found["checks"]:
        ended.setdefault(check["name"], []).append(check["outcome"])
    return ended


def finding(found: dict[str, Any], name: str) -> str:
    return " | ".join(check["finding"] for check in found["checks"] if check["name"] == name)


def test_with_all_in_order(tmp_path: Path) -> None:
    """Two trackers' worth of answers, a web seed, a .torrent by URL, and a mirror that holds all of it."""
    port = free_port()
    web = tmp_path / "web"
    model = place(tmp_path / "model", tiny())
    with ExitStack() as stack:
        url = stack.enter_context(range_server(web))
        trackers = [f"{scheme}://127.0.0.1:{port}/announce" for scheme in ("http", "udp")]
        words = [word for tracker in trackers for word in ("--tracker", tracker)]
        words += ["--web-seed", url, "--torrent-url", f"{url}m7b.torrent", "--out", str(web)]
        published = publish(tmp_path / "maker", model, *words)
        shutil.copytree(model, web / "m7b")
        stack.enter_context(open_tracker(hashes_of(published), port=port))
        seeder = stack.enter_context(seeding(published.home))
        mirror = tmp_path / "mirror"
        mirror.mkdir()
        result(mirror, "fetch", published.magnet, *published.trust, "--peer", seeder.peer)
        stack.enter_context(seeding(mirror))
        picture = tmp_path / "qr.svg"
        drawn = ("--qr", str(picture)) if find_spec("segno") else ()
        found = result(published.home, "doctor", "acme/m7b", "--mirrors", "1", *drawn)
    ended = outcomes(found)
    assert found["ok"], found
    assert {name for name, all_of in ended.items() if set(all_of) != {"ok"}} == {"DHT", "port"}
    assert ended["tracker"] == ["ok", "ok"]
    assert "knows 2 with all of it" in finding(found, "tracker")
    assert str(seeder.port) in finding(found, "seeder")
    assert "by the .torrent's URL" in finding(found, "link")
    assert not drawn or picture.read_bytes().startswith(b"<?xml")
    assert parse(str(published.facts["info_hash_v2"])).v2_hash is not None
    assert str(published.facts["info_hash_v2"]) in found["texts"]["post"]


def test_with_everything_broken(tmp_path: Path) -> None:
    """A dead tracker, a web seed that ignores ranges, another .torrent at the URL, and no mirror."""
    web = tmp_path / "web"
    model = place(tmp_path / "model", tiny())
    with ExitStack() as stack:
        url = stack.enter_context(range_server(web, "ignores"))
        other = publish(tmp_path / "maker", place(tmp_path / "else", tiny(1)), name="acme/else")
        dead = f"http://127.0.0.1:{free_port()}/announce"
        words = ("--tracker", dead, "--web-seed", url, "--torrent-url", f"{url}m7b.torrent")
        web.mkdir()
        shutil.copytree(model, web / "m7b")
        shutil.copy(other.facts["torrent"], web / "m7b.torrent")
        done = weightshare(
            other.home,
            *("publish", str(model), "--name", "acme/m7b", "--rehearse", "--mirrors", "1", *words),
        )
    shown = done.stdout.decode()
    assert done.returncode == 5, shown + done.stderr.decode()
    lines = {line[6:18].strip(): line[:6].strip() for line in shown.splitlines() if line[:4].strip()}
    failed = {"link", "tracker", "web seed", ".torrent URL", "mirrors"}
    assert {name for name, how in lines.items() if how == "fail"} == failed, shown
    assert lines["first bytes"] == lines["torrent"] == "ok"
    words_shown = " ".join(shown.split())
    assert "told our address it came through" in words_shown
    assert "ignores ranges: 200 and the whole file" in words_shown
    assert "is another torrent" in words_shown
    assert "Connection refused" in words_shown
    assert "A post (" in shown
    assert "## Download by BitTorrent" in shown


def test_nothing_is_asked_of_anybody_under_embargo(tmp_path: Path) -> None:
    model = place(tmp_path / "model", tiny())
    dead = f"http://127.0.0.1:{free_port()}/announce"
    held = ("--embargo", "--allow", "192.0.2.7", "--tracker", dead)
    published = publish(tmp_path / "maker", model, *held)
    found = result(published.home, "doctor", "acme/m7b")
    assert outcomes(found)["embargo"] == ["skip"]
    assert not {"link", "tracker", "mirrors", "seeder"} & set(outcomes(found))
    # The texts are for the day.
    assert parse(published.magnet).embargo == 0
    assert "x.wse" not in found["texts"]["markdown"]
    with seeding(published.home, "acme/m7b", "--allow", "198.51.100.0/24") as seeder:
        assert seeder.listening["releases"] == ["acme/m7b@1"]
        until(lambda: "198.51.100.0/24" in seeder.err(), "the seeder to say who may have it")
