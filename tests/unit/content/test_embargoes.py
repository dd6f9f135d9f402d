"""Embargoes on the disk: they hold for a release wherever it lies, and damage never ends one."""

from __future__ import annotations

from pathlib import Path

from weightshare.content.embargoes import NAME, Embargo, change, embargo_of, impose, lift
from weightshare.content.home import Home
from weightshare.content.store import Record, Store

HASH = "ab" * 32


def record(place: str, known: str = HASH) -> Record:
    return Record(
        info_hash_v2=known,
        info_hash_v1=None,
        release="acme/m7b@1",
        publisher="SHA256:x",
        kind="published",
        path=Path(place),
        bytes=1,
        complete=True,
        created="2026-01-01T00:00:00+00:00",
    )


def kept(store: Store, *places: str) -> list[Record]:
    records = [record(place) for place in places]
    for one in records:
        store.keep(one, envelope=b"{}")
    return records


def test_it_holds_for_every_place_and_for_no_other_release(tmp_path: Path) -> None:
    store = Store(Home(tmp_path))
    first, _ = kept(store, "/a", "/b")
    store.keep(record("/c", "cd" * 32), envelope=b"{}")
    assert embargo_of(store, HASH, 0) is None
    impose(store, first, Embargo(("192.0.2.7",)))
    assert embargo_of(store, HASH, 0) == Embargo(("192.0.2.7",))
    assert embargo_of(store, "cd" * 32, 0) is None
    lift(store, HASH)
    assert embargo_of(store, HASH, 0) is None


def test_it_ends_by_itself_at_its_time(tmp_path: Path) -> None:
    store = Store(Home(tmp_path))
    first, second = kept(store, "/a", "/b")
    impose(store, first, Embargo((), 1000))
    assert embargo_of(store, HASH, 999) is not None
    assert embargo_of(store, HASH, 1000) is None
    impose(store, second, Embargo())
    assert embargo_of(store, HASH, 1000) == Embargo(), "one of two ends by hand"


def test_damage_leaves_nobody_on_the_list(tmp_path: Path) -> None:
    store = Store(Home(tmp_path))
    (first,) = kept(store, "/a")
    impose(store, first, Embargo(("192.0.2.7",), 5))
    for text in (b"", b"{}", b"[]", b'{"version": 2, "allow": ["0.0.0.0/0"], "opens": 1}', b"\xff"):
        (store.folder(first) / NAME).write_bytes(text)
        assert embargo_of(store, HASH, 10) == Embargo(), text


def test_its_list_grows_where_it_holds(tmp_path: Path) -> None:
    store = Store(Home(tmp_path))
    first, second = kept(store, "/a", "/b")
    impose(store, first, Embargo(("192.0.2.7",)))
    change(store, HASH, Embargo(("192.0.2.7", "192.0.2.8")))
    assert embargo_of(store, HASH, 0) == Embargo(("192.0.2.7", "192.0.2.8"))
    assert not (store.folder(second) / NAME).exists()
