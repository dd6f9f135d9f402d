"""What is here, what is wrong with it, and what goes when it is taken out: `ls`, `verify`, `inspect`, `rm`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders_checkpoints import contents, digest, place, shard, tiny
from tests.builders_load import flip
from tests.cli.helpers import result
from tests.integration.releases import Published, assert_whole, fetch, publish
from tests.integration.running import Running, Seeder, seeding
from tests.integration.waiting import until
from weightshare.content.store import STAGING
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.units import KIB, MIB

PIECE = 32 * KIB


@dataclass(frozen=True)
class Source:
    """Two versions of a model that share a file, and a seeder of both."""

    one: Published
    two: Published
    seeder: Seeder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    home = tmp_path_factory.mktemp("maintainer")
    words = ("--piece-length", str(PIECE))
    one = publish(home, place(home / "one", {**tiny(1), "vocab.txt": b"a\nb\n" * 9000}), *words)
    two = publish(
        home, place(home / "two", {**tiny(2), "vocab.txt": b"a\nb\n" * 9000}), *words, "--version", "2"
    )
    with seeding(home) as seeder:
        yield Source(one, two, seeder)


def bring(user: Path, source: Source, published: Published, *words: str) -> Path:
    """Fetch a release and return the folder that holds it."""
    return Path(str(fetch(user, published, *words, "--peer", source.seeder.peer)["path"]))


class TestRm:
    def test_deletes_what_fetch_brought(self, source: Source, tmp_path: Path) -> None:
        folder = bring(tmp_path, source, source.one)
        removed = result(tmp_path, "rm", "acme/m7b")
        assert removed["deleted"] == 5
        assert removed["kept"] == 0
        assert removed["freed"] > source.one.size
        assert not folder.exists()
        assert not (tmp_path / "weightshare" / "models" / "acme").exists()
        assert result(tmp_path, "ls") == {"releases": []}

    def test_leaves_other_files_of_the_folder(self, source: Source, tmp_path: Path) -> None:
        folder = place(tmp_path / "out", {"notes.txt": b"mine", "a/b.txt": b"mine too"})
        mine = contents(folder)
        bring(tmp_path, source, source.one, "out")
        result(tmp_path, "rm", str(folder))
        assert contents(folder) == mine
        assert not (folder / MANIFEST_NAME).exists()

    def test_never_touches_a_published_folder(self, tmp_path: Path) -> None:
        published = publish(tmp_path / "home", place(tmp_path / "model", tiny(3)))
        before = contents(published.folder)
        removed = result(published.home, "rm", "acme/m7b")
        assert removed["deleted"] == 0
        assert removed["kept"] == 4
        assert contents(published.folder) == before
        assert result(published.home, "ls") == {"releases": []}

    def test_keeps_what_another_release_uses(self, source: Source, tmp_path: Path) -> None:
        """Both versions in one folder: what they share stays with the one that is left."""
        folder = bring(tmp_path, source, source.one, "out")
        bring(tmp_path, source, source.two, "out", "--force")
        assert len(result(tmp_path, "ls")["releases"]) == 2
        shared = digest(folder / "vocab.txt")
        removed = result(tmp_path, "rm", "acme/m7b@1")
        assert removed["kept"] >= 1
        assert digest(folder / "vocab.txt") == shared
        assert_whole(folder, source.two)
        assert result(tmp_path, "verify", "acme/m7b@2")["ok"] is True
        result(tmp_path, "rm", "acme/m7b@2")
        assert not folder.exists()

    def test_keeps_what_was_published_from_it(self, source: Source, tmp_path: Path) -> None:
        """A fetched folder that its user has published under their own name is theirs now."""
        folder = bring(tmp_path, source, source.one, "out")
        result(tmp_path, "keys", "new", "zoe")
        before = contents(folder)
        mine = result(tmp_path, "publish", str(folder), "--name", "zoe/m7b", "--key", "zoe")
        removed = result(tmp_path, "rm", "acme/m7b")
        assert removed["deleted"] == 0
        assert contents(folder) == before
        assert [one["release"] for one in result(tmp_path, "ls")["releases"]] == [mine["release"]]

    def test_of_an_unfinished_fetch(self, tmp_path: Path) -> None:
        home = tmp_path / "maintainer"
        published = publish(home, place(tmp_path / "model", {"model.safetensors": shard(16 * MIB)}))
        user = tmp_path / "user"
        user.mkdir()
        words = (*published.trust, "--json", "--max-down", str(4 * MIB))
        with (
            seeding(home) as seeder,
            Running(user, "fetch", published.magnet, "out", *words, "--peer", seeder.peer) as running,
        ):
            staging = user / "out" / STAGING
            until(lambda: list(staging.rglob("*.safetensors")), "a staged file", within=60)
            assert result(user, "rm", "acme/m7b", status=6)["error"] == "store_locked"
            running.kill()
        (listed,) = result(user, "ls")["releases"]
        assert listed["complete"] is False
        assert result(user, "seed", "--port", "0", status=6)["error"] == "release_not_found"
        result(user, "rm", "acme/m7b")
        assert not (user / "out").exists()
        assert result(user, "ls") == {"releases": []}

    def test_not_while_it_is_served(self, source: Source) -> None:
        refused = result(source.one.home, "rm", "acme/m7b@1", status=6)
        assert refused["error"] == "store_locked"
        assert str(source.seeder.pid) in refused["message"]


def test_ls(source: Source, tmp_path: Path) -> None:
    assert result(tmp_path, "ls") == {"releases": []}
    folder = bring(tmp_path, source, source.two)
    (listed,) = result(tmp_path, "ls")["releases"]
    assert (
        listed.items()
        >= {
            "release": "acme/m7b@2",
            "publisher": source.two.facts["publisher"],
            "publisher_name": "acme",
            "path": str(folder),
            "bytes": source.two.size,
            "complete": True,
            "seeding": False,
        }.items()
    )
    assert [one["seeding"] for one in result(source.two.home, "ls")["releases"]] == [True, True]


class TestVerify:
    def test_a_sound_release(self, source: Source, tmp_path: Path) -> None:
        folder = bring(tmp_path, source, source.one)
        for name in ("acme/m7b", source.one.facts["info_hash_v2"][:12], str(folder)):
            report = result(tmp_path, "verify", name)
            assert set(report) >= {"ok", "release", "publisher", "files", "seconds"}
            assert report["ok"] is True
            assert report["release"] == "acme/m7b@1"
            assert report["publisher"] == source.one.facts["publisher"]
            assert {file["path"] for file in report["files"]} == set(contents(source.one.folder))
            assert all(
                file.items() >= {"ok": True, "problem": None, "bad_pieces": []}.items()
                for file in report["files"]
            )

    def test_names_every_bad_missing_and_extra_file(self, source: Source, tmp_path: Path) -> None:
        folder = bring(tmp_path, source, source.one)
        for path in folder.iterdir():
            path.chmod(0o644)
        for at in (0, PIECE * 3 + 5, 300 * KIB - 1):
            flip(folder / "model.safetensors", at)
        with (folder / "vocab.txt").open("ab") as file:
            file.write(b"c\n")
        (folder / "config.json").unlink()
        place(folder, {"sub/extra file.py": b"print()"})

        report = result(tmp_path, "verify", "acme/m7b", status=4)
        assert report["ok"] is False
        found = {
            file["path"]: (file["problem"], file["bad_pieces"]) for file in report["files"] if not file["ok"]
        }
        assert found.pop("vocab.txt")[0] == "wrong size"
        assert found == {
            "model.safetensors": ("corrupt", [0, 3, 9]),
            "config.json": ("missing", []),
            "sub/extra file.py": ("extra", []),
        }

        # Fetched again, only what is bad comes, and what belongs to nobody stays.
        (folder / "sub" / "extra file.py").unlink()
        mended = fetch(tmp_path, source.one, "--peer", source.seeder.peer, "--force")
        assert mended["received"]["reused"] > 0
        assert_whole(folder, source.one)
        assert result(tmp_path, "verify", "acme/m7b")["ok"] is True

    def test_a_published_folder(self, tmp_path: Path) -> None:
        published = publish(
            tmp_path / "home", place(tmp_path / "model", tiny(4)), "--piece-length", str(PIECE)
        )
        assert result(published.home, "verify", "acme/m7b")["ok"] is True
        flip(published.folder / "model.safetensors", PIECE)
        report = result(published.home, "verify", "acme/m7b", status=4)
        assert [(file["path"], file["bad_pieces"]) for file in report["files"] if not file["ok"]] == [
            ("model.safetensors", [1])
        ]


class TestInspect:
    def test_brings_the_manifest_alone(self, tmp_path: Path) -> None:
        """What the seeder gave is no more than the signed manifest."""
        published = publish(tmp_path / "home", place(tmp_path / "model", tiny(5)))
        user = tmp_path / "user"
        user.mkdir()
        with seeding(published.home) as seeder:
            seen = result(user, "inspect", published.magnet, "--peer", seeder.peer)
            given = seeder.stop()["uploaded"]
        manifest = (published.folder / MANIFEST_NAME).stat().st_size
        assert manifest <= given <= manifest + 16 * KIB
        assert set(seen) >= {"release", "publisher", "trusted", "files"}
        assert seen["release"] == "acme/m7b@1"
        assert seen["publisher"] == published.facts["publisher"]
        assert seen["trusted"] is False
        assert {file["path"]: file["sha256"] for file in seen["files"]} == contents(published.folder)
        assert all(set(file) >= {"path", "size", "sha256", "pieces_root"} for file in seen["files"])
        # Nothing of it stays: no record, no pin, no file.
        assert result(user, "ls") == {"releases": []}
        assert result(user, "trust", "list")["publishers"] == []
        assert not [path for path in (user / "weightshare").rglob("*") if path.is_file()]

    def test_what_is_here(self, source: Source, tmp_path: Path) -> None:
        folder = bring(tmp_path, source, source.one)
        seen = result(tmp_path, "inspect", str(folder))
        assert seen["trusted"] is True
        assert [(one["name"], one["dtype"]) for one in seen["tensors"]] == [("weight", "U8")]
        again = result(tmp_path, "inspect", "acme/m7b")
        assert again["files"] == seen["files"]
