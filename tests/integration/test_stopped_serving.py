"""A seeder whose files change behind its back stops serving them, says so, and goes on with what is still true."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders_checkpoints import place, shard, tiny
from tests.builders_load import flip
from tests.cli.helpers import result
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, seeding
from tests.integration.waiting import until
from weightshare.units import MIB

SHARD = "model.safetensors"


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    """One bit, in place; same size."""
    flip(path, path.stat().st_size // 2)


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return publish(
        tmp_path / "maintainer", place(tmp_path / "model", {SHARD: shard(4 * MIB), "config.json": b"{}"})
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [(cut, "was cut to"), (overwrite, "was changed since it was proven"), (Path.unlink, "is gone")],
)
def test_the_last_release_ends_the_seeder(
    published: Published, change: Callable[[Path], None], said: str
) -> None:
    with seeding(published.home) as seeder:
        change(published.folder / SHARD)
        failed = seeder.result(4, within=30)
    assert failed["error"] == "corrupt"
    assert said in failed["message"]
    assert SHARD in failed["message"]
    assert "verify" in failed["hint"]
    # And it is not served again before it is what was signed.
    assert result(published.home, "seed", "--port", "0", status=4)["error"] == "corrupt"


def test_another_release_is_served_on(published: Published, tmp_path: Path) -> None:
    other = publish(published.home, place(tmp_path / "other", tiny()), name="acme/other")
    with seeding(published.home) as seeder:
        overwrite(published.folder / SHARD)
        until(lambda: "It is not served." in seeder.err(), "the seeder to notice")
        assert "acme/m7b" in seeder.err()
        fetch(tmp_path / "user", other, "out", "--peer", seeder.peer)
        failed = fetch(
            tmp_path / "user", published, "out2", "--peer", seeder.peer, "--timeout", "3", status=5
        )
        assert failed["exit_code"] == 5
        seeder.stop()
    assert_whole(tmp_path / "user" / "out", other)
    assert not (tmp_path / "user" / "out2" / SHARD).exists()


def test_nothing_wrong_arrives_from_a_file_that_changes_meanwhile(
    published: Published, tmp_path: Path
) -> None:
    """Cut in the middle of a transfer: the other side ends with an error, not with a wrong file."""
    user = tmp_path / "user"
    user.mkdir()
    with seeding(published.home, "--max-up", str(MIB // 2)) as seeder:
        words = (
            "fetch",
            published.magnet,
            "out",
            *published.trust,
            "--peer",
            seeder.peer,
            "--timeout",
            "4",
            "--json",
        )
        with Running(user, *words) as running:
            until(lambda: list(user.glob(f"out/.*/*/*/{SHARD}")), "the transfer to begin")
            cut(published.folder / SHARD)
            assert seeder.result(4, within=30)["error"] == "corrupt"
            failed = running.result(5, within=60)
    assert "resumes" in failed["hint"]
    assert not (user / "out" / SHARD).exists()
