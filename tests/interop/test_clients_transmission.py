"""Transmission 3.00 cannot read a hybrid; it takes the v1 twin from our seeder, which dials it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.running import seeding
from tests.interop.programs import needs, version_of
from tests.interop.swarms import Release, assert_same, publish
from tests.interop.transmission import RefusedError, transmission

pytestmark = needs("transmission-daemon")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return publish(tmp_path_factory.mktemp("release"), "--v1-twin")


def test_it_leeches_the_twin(release: Release, tmp_path: Path) -> None:
    with transmission(tmp_path) as client:
        client.load(release.twin)
        # It drops loopback addresses that a tracker names, so the seeder dials it: for the hybrid, which it does not
        # have, and for the twin.
        with seeding(release.published.home, "--peer", client.peer) as seeder:
            client.program.until(client.is_whole, "all of it")
            assert seeder.stop()["uploaded"] >= release.published.size
        assert_same(client.folder / release.name, release, empty_files=False)


@pytest.mark.skipif(
    not version_of("transmission-daemon", "--version").startswith("3."),
    reason="another version reads hybrids",
)
def test_it_refuses_a_hybrid(release: Release, tmp_path: Path) -> None:
    with transmission(tmp_path) as client, pytest.raises(RefusedError, match="invalid or corrupt"):
        client.load(release.torrent)
