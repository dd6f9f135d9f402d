"""One hostile seeder for each file of attacks, one metadata peer for all; a fresh victim for each attack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.arena import Arena, Seeder, Victim
from tests.attacks.forge import Release, release
from tests.attacks.metadata_peer import MetadataPeer


@pytest.fixture(scope="session")
def honest() -> Release:
    """The release that all attacks start from."""
    return release()


@pytest.fixture(scope="session")
def hybrid() -> Release:
    """The same as a hybrid torrent."""
    return release(hybrid=True)


# Not for the whole session: it ends by itself after a while, and test files of other folders may come in between.
@pytest.fixture(scope="module")
def seeder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeder]:
    with Seeder(tmp_path_factory.mktemp("seeder")) as seeder:
        yield seeder


@pytest.fixture(scope="session")
def peer() -> Iterator[MetadataPeer]:
    with MetadataPeer() as peer:
        yield peer


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    return Victim(tmp_path)


@pytest.fixture
def arena(victim: Victim, seeder: Seeder, peer: MetadataPeer) -> Arena:
    return Arena(victim, seeder, peer)
