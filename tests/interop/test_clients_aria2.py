"""aria2 1.36 takes the v1 twin from our seeder; of a hybrid it makes an info-hash that no swarm has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.running import seeding
from tests.interop.announcing import tracking
from tests.interop.programs import needs, running, version_of
from tests.interop.swarms import assert_same, publish
from tests.ports import free_port

pytestmark = needs("aria2c")


def words(torrent: Path, folder: Path) -> list[str]:
    return [
        "aria2c",
        "--no-conf",
        "--seed-time=0",
        "--file-allocation=none",
        "--enable-dht=false",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        f"--listen-port={free_port()}",
        f"--dir={folder}",
        str(torrent),
    ]


def test_it_leeches_the_twin(tmp_path: Path) -> None:
    with tracking() as tracker:
        release = publish(tmp_path, "--v1-twin", "--tracker", tracker.url)
        with seeding(release.published.home) as seeder:
            tracker.await_seeder(release.twin_hash, seeder.port)
            with running(words(release.twin, tmp_path / "got"), tmp_path / "home") as program:
                assert program.end() == 0, program.said()
            assert seeder.stop()["uploaded"] >= release.published.size
    assert_same(tmp_path / "got" / release.name, release)


@pytest.mark.skipif(
    not version_of("aria2c", "--version").startswith("1.36"), reason="another version may differ"
)
def test_it_looks_for_a_hybrid_under_a_hash_that_nobody_has(tmp_path: Path) -> None:
    with tracking() as tracker:
        release = publish(tmp_path, "--tracker", tracker.url)
        with running(words(release.torrent, tmp_path / "got"), tmp_path / "home") as program:
            (asked,) = program.until(tracker.hashes, "its announce")
    assert asked not in (release.v1_hash, release.v2_hash[:40])
