"""Seeders that have the right metadata and the wrong bytes: no file gets its name before its bytes are proven.

Whoever has only such seeders waits for the time allowed and then ends with exit 5, resumable; one honest seeder is
enough to get the right bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.attacks.arena import MANIFEST_ONLY, Arena, Seeder
from tests.attacks.forge import SHARD_1, Bait, Release, root_of

PATIENCE = 2.0


@pytest.fixture(scope="module")
def honest_seeder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeder]:
    with Seeder(tmp_path_factory.mktemp("honest-seeder")) as seeder:
        yield seeder


@pytest.fixture
def corrupting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeder]:
    with Seeder(tmp_path_factory.mktemp("corrupting-seeder")) as seeder:
        yield seeder


def _corrupted(honest: Release, *, every_piece: bool) -> Bait:
    """The honest torrent, served from files of which the first shard has bytes flipped."""
    bait = honest.bait()
    data = bytearray(honest.contents[SHARD_1])
    for offset in range(100, len(data), 16_384) if every_piece else (70_000,):
        data[offset] ^= 0xFF
    return replace(bait, contents={**bait.contents, root_of(honest.contents[SHARD_1]): bytes(data)})


def _landed(folder: Path) -> set[str]:
    """What has a final name; the staging folder is nobody's final name."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {path for path in found if not path.startswith(".weightshare-staging")}


def test_one_corrupting_seeder(arena: Arena, honest: Release, corrupting: Seeder) -> None:
    bait = _corrupted(honest, every_piece=False)
    assert corrupting.serve(bait)
    outcome = arena.victim.fetch(bait.magnet(), ports=[corrupting.port], timeout=PATIENCE)
    assert SHARD_1 in corrupting.sent(bait)
    assert outcome.code == 5, outcome
    assert outcome.value["error"] in {"stalled", "no_peers"}
    assert "the same command resumes" in outcome.value["hint"]
    assert PATIENCE <= outcome.seconds < 30
    landed = _landed(arena.victim.destination)
    assert SHARD_1 not in landed
    for path in landed:
        assert (arena.victim.destination / path).read_bytes() == honest.contents[path]


def test_an_honest_seeder_beside_the_corrupting_one(
    arena: Arena, honest: Release, honest_seeder: Seeder, corrupting: Seeder
) -> None:
    bait = _corrupted(honest, every_piece=True)
    assert corrupting.serve(bait)
    assert honest_seeder.serve(honest.bait())
    outcome = arena.victim.fetch(bait.magnet(), ports=[corrupting.port, honest_seeder.port])
    assert outcome.code == 0, outcome
    for path, data in honest.contents.items():
        assert (arena.victim.destination / path).read_bytes() == data


def test_what_a_corrupting_seeder_left_is_mended_by_the_next_fetch(
    arena: Arena, honest: Release, honest_seeder: Seeder, corrupting: Seeder
) -> None:
    """The same command, once an honest seeder is up: it resumes, and nothing bad survives."""
    bait = _corrupted(honest, every_piece=False)
    assert corrupting.serve(bait)
    assert arena.victim.fetch(bait.magnet(), ports=[corrupting.port], timeout=1.5).code == 5
    assert honest_seeder.serve(honest.bait())
    outcome = arena.victim.fetch(bait.magnet(), ports=[honest_seeder.port])
    assert outcome.code == 0, outcome
    for path, data in honest.contents.items():
        assert (arena.victim.destination / path).read_bytes() == data


def test_a_corrupted_manifest(arena: Arena, honest: Release, corrupting: Seeder) -> None:
    """The manifest is a file like any other: its bytes must have the root in the tree before anybody reads them."""
    before = arena.victim.holdings()
    bait = honest.bait()
    lie = honest.envelope.replace(b'"payload"', b'"PAYLOAD"')
    assert len(lie) == len(honest.envelope)
    assert corrupting.serve(replace(bait, contents={**bait.contents, root_of(honest.envelope): lie}))
    outcome = arena.victim.fetch(bait.magnet(), ports=[corrupting.port], timeout=PATIENCE)
    assert outcome.code == 5, outcome
    assert outcome.value["error"] in {"stalled", "no_peers"}
    arena.nothing_kept(before)
    assert corrupting.sent(bait) == MANIFEST_ONLY
