"""The store: records that answer to names, and locks that end with their process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from weightshare.content.home import Home
from weightshare.content.store import Record, Store
from weightshare.errors import AmbiguousReleaseError, ReleaseNotFoundError, StoreError, StoreLockedError

ONE, TWO = "11" * 32, "22" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Home(tmp_path / "home"))


def record(path: Path, *, info_hash: str = ONE, release: str = "acme/m@1", complete: bool = True) -> Record:
    return Record(
        info_hash_v2=info_hash,
        info_hash_v1=None,
        release=release,
        publisher="SHA256:x",
        kind="fetched",
        path=path,
        bytes=3,
        complete=complete,
        created="2026-01-01T00:00:00+00:00",
        trackers=("http://127.0.0.1/announce",),
    )


def test_a_record_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    kept = record(tmp_path / "a").selecting(("x", "y"))
    store.keep(kept, envelope=b"signed", torrent=b"torrent")
    assert store.records() == [kept]
    assert (store.envelope(kept), store.torrent(kept)) == (b"signed", b"torrent")


@pytest.mark.parametrize("query", ["acme/m@1", "acme/m", "m", ONE, ONE[:6], ONE[:6].upper()])
def test_a_release_answers_to_its_names(store: Store, tmp_path: Path, query: str) -> None:
    store.keep(record(tmp_path / "a"))
    store.keep(record(tmp_path / "b", info_hash=TWO, release="other/x@1"))
    assert store.find(query).info_hash_v2 == ONE


def test_a_release_answers_to_its_folder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.keep(record(tmp_path / "a"))
    monkeypatch.chdir(tmp_path)
    assert store.find("a").path == tmp_path / "a"
    assert store.at(Path("a")) == [record(tmp_path / "a")]


def test_a_short_prefix_is_no_name(store: Store, tmp_path: Path) -> None:
    store.keep(record(tmp_path / "a"))
    with pytest.raises(ReleaseNotFoundError) as caught:
        store.find(ONE[:5])
    assert "acme/m@1" in caught.value.hint


def test_two_versions_of_one_model_are_ambiguous(store: Store, tmp_path: Path) -> None:
    store.keep(record(tmp_path / "a"))
    store.keep(record(tmp_path / "b", info_hash=TWO, release="acme/m@2"))
    with pytest.raises(AmbiguousReleaseError) as caught:
        store.find("acme/m")
    assert "acme/m@1" in caught.value.message
    assert "acme/m@2" in caught.value.message
    assert store.find("acme/m@2").info_hash_v2 == TWO


def test_of_two_places_the_complete_one_answers(store: Store, tmp_path: Path) -> None:
    store.keep(record(tmp_path / "a"))
    store.keep(record(tmp_path / "b", complete=False))
    assert store.find("acme/m").path == tmp_path / "a"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version": 9}', b'{"version": 1, "path": 3}'])
def test_a_damaged_record_is_an_error_and_not_a_gap(store: Store, tmp_path: Path, damage: bytes) -> None:
    kept = record(tmp_path / "a")
    store.keep(kept)
    (store.folder(kept) / "record.json").write_bytes(damage)
    with pytest.raises(StoreError, match="is damaged"):
        store.records()


def test_the_lock_is_held_against_others_and_let_go(store: Store, tmp_path: Path) -> None:
    kept = record(tmp_path / "a")
    with store.lock(kept):
        with pytest.raises(StoreLockedError) as caught, store.lock(kept):
            raise AssertionError
        assert caught.value.facts["pid"]
    with store.lock(kept):
        pass


def test_a_killed_process_holds_no_lock(store: Store, tmp_path: Path) -> None:
    kept = record(tmp_path / "a")
    path = store.home.releases / f"{kept.id}.lock"
    code = (
        "import sys, pathlib; from weightshare.content.locks import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1]), 'x'): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(StoreLockedError) as caught, store.lock(kept):
            raise AssertionError
        assert caught.value.facts["pid"] == process.pid
        process.kill()
        process.wait(10)
        with store.lock(kept):
            pass


def test_scratch_is_gone_afterwards_even_after_an_error(store: Store) -> None:
    def fail() -> None:
        with store.home.scratch() as scratch:
            (scratch / "manifest").write_bytes(b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not (store.home.path / "gate").exists()
