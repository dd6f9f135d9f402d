"""rtorrent, which knows version 1 only, takes our hybrids by `.torrent` and tracker and gives them back."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.helpers import ROOT, environment, result
from tests.integration.releases import assert_whole, fetch
from tests.integration.running import seeding
from tests.interop.announcing import Tracker, tracking
from tests.interop.programs import needs
from tests.interop.rtorrent import rtorrent
from tests.interop.swarms import TWICE, Release, assert_same, publish

pytestmark = needs("rtorrent")


@pytest.fixture(scope="module")
def tracker() -> Iterator[Tracker]:
    with tracking() as running:
        yield running


@pytest.fixture(autouse=True)
def _(tracker: Tracker) -> None:
    """Nobody of an earlier test is known any more."""
    tracker.forget()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, tracker: Tracker) -> Release:
    """A hybrid in which several pads are of one size."""
    made = publish(tmp_path_factory.mktemp("release"), "--tracker", tracker.url, "--v1-twin")
    pads = made.pads()
    assert len(set(pads.values())) < len(pads)
    return made


@pytest.mark.parametrize("kind", ["hybrid", "twin"])
def test_it_leeches(release: Release, tracker: Tracker, tmp_path: Path, kind: str) -> None:
    assert release.v1_hash is not None
    with seeding(release.published.home) as seeder, rtorrent(tmp_path / "client") as client:
        tracker.await_seeder(release.v1_hash if kind == "hybrid" else release.twin_hash, seeder.port)
        client.load(release.torrent if kind == "hybrid" else release.twin)
        client.until_whole()
        folder = client.folder / release.name
        assert_same(folder, release)
    assert {path.name for path in folder.glob(".pad/*")} == (
        {Path(pad).name for pad in release.pads()} if kind == "hybrid" else set()
    )
    # The pads that it leaves are nobody's concern: the folder is sound, and may be served on.
    (tmp_path / "user").mkdir()
    report = result(tmp_path / "user", "verify", str(folder), *release.published.trust)
    assert report["ok"] is True
    with seeding(tmp_path / "user", str(folder)) as seeder:
        fetch(tmp_path / "other", release.published, "out", "--peer", seeder.peer)
    assert_whole(tmp_path / "other" / "out", release.published)


@pytest.mark.parametrize("source", ["torrent", "link"])
def test_it_seeds_to_us_once_it_has_the_pads(release: Release, tmp_path: Path, source: str) -> None:
    folder = release.copied_to(tmp_path / "client" / "files")
    make_pads(release, folder, tmp_path)
    with rtorrent(tmp_path / "client") as client:
        client.load(release.torrent)
        client.until_whole()
        words = ("out", "--peer", client.peer)
        named = str(release.torrent) if source == "torrent" else release.magnet
        got = fetch(tmp_path / "user", release.published, *words, source=named)
    assert got["received"] == {"swarm": release.published.size - TWICE, "hub": 0, "reused": TWICE}
    assert_whole(tmp_path / "user" / "out", release.published)


def test_it_seeds_to_us_by_the_tracker(release: Release, tracker: Tracker, tmp_path: Path) -> None:
    folder = release.copied_to(tmp_path / "client" / "files")
    make_pads(release, folder, tmp_path)
    assert release.v1_hash is not None
    with rtorrent(tmp_path / "client") as client:
        client.load(release.torrent)
        client.until_whole()
        key = release.v1_hash
        client.program.until(lambda: client.port in tracker.announced(key, whole=True), "its announce")
        fetch(tmp_path / "user", release.published, "out")
    assert_whole(tmp_path / "user" / "out", release.published)


def test_it_gets_the_pads_from_another_seeder(release: Release, tmp_path: Path) -> None:
    """A folder without pads lacks a few pieces for it, and our seeder has them."""
    folder = release.copied_to(tmp_path / "client" / "files")
    with rtorrent(tmp_path / "client") as client:
        client.load(release.torrent)
        client.program.until(client.is_checked, "its own check")
        have, of = client.pieces()
        assert of - len(release.pads()) <= have < of
        with seeding(release.published.home, "--peer", client.peer) as seeder:
            client.until_whole()
            assert 0 < seeder.stop()["uploaded"] < release.published.size / 2
        assert_same(folder, release)


def make_pads(release: Release, folder: Path, work: Path) -> None:
    """What the documentation tells a user of rtorrent to do."""
    text = (ROOT / "docs" / "other-clients.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (work / "pads.py").write_text(code, "utf-8")
    words = [sys.executable, str(work / "pads.py"), str(release.torrent), str(folder)]
    subprocess.run(words, env=environment(work), check=True, timeout=60)
