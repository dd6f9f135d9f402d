"""What is looked for, whom a scan believes, and what it records."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.builders_checkpoints import place
from tests.builders_metainfo import hashed_all
from tests.builders_releases import FILES, PIECE, Release, pin, release, signer
from weightshare.api.found_in_place import add
from weightshare.api.known_releases import Known
from weightshare.api.library import rm
from weightshare.api.offering import locate, offer
from weightshare.api.reusing import sources_of
from weightshare.api.scanning import scan
from weightshare.api.trusting import Trustee
from weightshare.content.home import Home
from weightshare.content.receipts import Receipt, save_receipts
from weightshare.content.store import Record, Store
from weightshare.errors import (
    CorruptError,
    DiskError,
    ReleaseNotFoundError,
    TreeMismatchError,
    UnknownPublisherError,
    UnsignedError,
    UsageError,
)
from weightshare.manifest.metainfo import build_torrent, parse_info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.pieces import PieceMap
from weightshare.progress import ignore
from weightshare.trust import gate, publishers

TRACKER = "http://tracker.example/announce"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.path.mkdir()
    publishers.update(made.known_publishers, lambda known: known.add(pin(signer())))
    return made


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Another program's folder."""
    return place(tmp_path / "models", {f"blob-{n}": data for n, data in enumerate(FILES.values())})


def torrent_of(made: Release) -> bytes:
    files = hashed_all({**made.files, MANIFEST_NAME: made.envelope}, PIECE)
    return build_torrent(made.raw_info(), files, trackers=[TRACKER])


def posted(folder: Path, made: Release, *, torrent: bool = True) -> Path:
    """The manifest as it is posted, perhaps with the torrent beside it."""
    files = {"m7b.weightshare.json": made.envelope}
    place(folder, files | ({"m7b.torrent": torrent_of(made)} if torrent else {}))
    return folder / "m7b.weightshare.json"


def info_hash(made: Release) -> str:
    return hashlib.sha256(made.raw_info()).hexdigest()


def begun(home: Home, made: Release, models: Path) -> Record:
    """A fetch that got the metadata and no more."""
    record = Record(
        info_hash_v2=info_hash(made),
        info_hash_v1=None,
        release="acme/m7b@1.0",
        publisher=made.key.public_key.fingerprint,
        kind="fetched",
        path=models.parent / "wanted",
        bytes=made.manifest.size,
        complete=False,
        created="2026-11-22T10:00:00+00:00",
        trackers=(TRACKER,),
    )
    store = Store(home)
    store.keep(record, envelope=made.envelope)
    (store.folder(record) / "info").write_bytes(made.raw_info())
    return record


@pytest.mark.parametrize("name", ["m7b.torrent", "m7b.weightshare.json"])
def test_a_release_may_be_named_by_either_of_its_files(
    name: str, home: Home, models: Path, tmp_path: Path
) -> None:
    made = release()
    source = posted(tmp_path / "post", made).with_name(name)
    [found] = scan([models], home=home, releases=[str(source)]).releases
    assert (found.release, found.info_hash_v2, found.whole) == ("acme/m7b@1.0", info_hash(made), True)
    assert found.publisher_name == "acme"


def test_a_dry_run_counts_what_is_not_known_yet(home: Home, models: Path, tmp_path: Path) -> None:
    source = str(posted(tmp_path / "post", release()))
    sizes = [len(data) for data in FILES.values() if data]
    tried = scan([models], home=home, releases=[source], dry_run=True)
    assert (tried.to_hash, tried.to_hash_bytes, tried.hashed) == (len(sizes), sum(sizes), 0)
    scan([models], home=home, releases=[source])
    model = models / f"blob-{list(FILES).index('model.safetensors')}"
    model.write_bytes(bytes(model.stat().st_size))
    again = scan([models], home=home, releases=[source], dry_run=True)
    assert (again.to_hash, again.to_hash_bytes) == (1, model.stat().st_size)
    assert again.releases[0].whole, "by its size it could still be"
    assert not scan([models], home=home, releases=[source]).releases[0].whole


def test_a_manifest_alone_is_enough_and_gives_the_same_torrent(
    home: Home, models: Path, tmp_path: Path
) -> None:
    made = release()
    source = posted(tmp_path / "post", made, torrent=False)
    [found] = scan([models], home=home, releases=[str(source)], add=True).releases
    assert found.info_hash_v2 is None
    assert found.added == home.found / "acme" / "m7b" / "1.0"
    [record] = Store(home).records()
    assert record.info_hash_v2 == info_hash(made)


def test_a_fetch_that_was_begun_is_known_and_may_be_finished_here(home: Home, models: Path) -> None:
    made = release()
    begun(home, made, models)
    [found] = scan([models], home=home, add=True).releases
    assert found.whole
    store = Store(home)
    record = store.find("acme/m7b")
    assert (record.complete, record.path, record.trackers) == (True, found.added, (TRACKER,))
    assert record.info_hash_v2 == info_hash(made)
    served = offer(store, locate(store, Trustee(home), "acme/m7b"), ignore)[1]
    assert [one.trackers for one in served] == [(TRACKER,)]
    again = scan([models], home=home, add=True).releases
    assert [(one.store, one.added) for one in again] == [(record.path, None)]
    rm("acme/m7b", home=home)
    assert not record.path.exists()
    assert len(Store(home).records()) == 1, "the one that was begun"


def test_what_was_recorded_is_reused_by_another_release_from_where_it_lies(home: Home, models: Path) -> None:
    begun(home, release(), models)
    scan([models], home=home, add=True)
    home.findings.unlink()  # the links alone must do
    other = release(
        files={"renamed.safetensors": FILES["model.safetensors"], "new.txt": b"new"}, model="acme/next"
    )
    record = begun(home, other, models)
    spans = [span for span in PieceMap(parse_info(other.raw_info())).spans if span.file.path != MANIFEST_NAME]
    found = sources_of(spans, record, Store(home), {})
    blob = models / f"blob-{list(FILES).index('model.safetensors')}"
    assert {path: (one.place, one.holds()) for path, one in found.items()} == {
        "renamed.safetensors": (blob, True)
    }
    os.utime(blob)
    assert not any(one.holds() for one in sources_of(spans, record, Store(home), {}).values())


def test_what_others_lack_may_come_from_an_earlier_scan_or_a_fetch_in_part(
    home: Home, models: Path, tmp_path: Path
) -> None:
    made = release()
    store, record = Store(home), begun(home, made, models)
    notes, config = (models / f"blob-{list(FILES).index(path)}" for path in ("sub/notes.md", "config.json"))
    fetched = place(record.path, {"sub/notes.md": FILES["sub/notes.md"]})
    roots = {entry.path: entry.pieces_root for entry in made.manifest.files}
    receipt = Receipt.of(fetched / "sub/notes.md", roots["sub/notes.md"])
    save_receipts(store.folder(record) / "receipts.json", {"sub/notes.md": receipt})
    notes.unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    config.rename(elsewhere / "config")
    assert scan([elsewhere], home=home, add=True).releases[0].added is None
    [found] = scan([models], home=home, add=True).releases
    assert {file.path: file.places for file in found.files if file.size} == {
        "config.json": (elsewhere / "config",),
        "model.safetensors": (models / f"blob-{list(FILES).index('model.safetensors')}",),
        "sub/notes.md": (fetched / "sub/notes.md",),
    }
    assert found.added is not None
    assert store.find("acme/m7b").path == found.added


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("magnet:?xt=urn:btmh:1220" + "00" * 32, UsageError),
        ("https://example.org/m7b.torrent", UsageError),
        ("post/none.torrent", ReleaseNotFoundError),
        ("alone/m7b.torrent", UnsignedError),
    ],
)
def test_what_names_no_release_is_refused(
    source: str, error: type[Exception], home: Home, models: Path, tmp_path: Path
) -> None:
    place(tmp_path / "alone", {"m7b.torrent": torrent_of(release()), "other.json": b"{}"})
    named = source if ":" in source else str(tmp_path / source)
    with pytest.raises(error):
        scan([models], home=home, releases=[named])


def test_a_torrent_that_is_not_the_manifest_s_is_refused(home: Home, models: Path, tmp_path: Path) -> None:
    made = release()
    other = {**made.files, "model.safetensors": b"something else", MANIFEST_NAME: made.envelope}
    info = made.raw_info({"model.safetensors": b"something else"})
    source = posted(tmp_path / "post", made).with_name("m7b.torrent")
    source.write_bytes(build_torrent(info, hashed_all(other, PIECE)))
    for name in ("m7b.torrent", "m7b.weightshare.json"):
        with pytest.raises(TreeMismatchError):
            scan([models], home=home, releases=[str(source.with_name(name))])


def test_our_own_folders_are_not_looked_in(home: Home, models: Path, tmp_path: Path) -> None:
    source = str(posted(tmp_path / "post", release()))
    models.rename(home.path / "models")
    found = scan([tmp_path], home=home, releases=[source])
    assert found.candidates == 0


def test_without_a_known_release_there_is_nothing_to_do(home: Home, models: Path) -> None:
    with pytest.raises(ReleaseNotFoundError, match="No release is known"):
        scan([models], home=home)


def test_a_folder_that_is_not_there_is_an_error_where_it_is_named(home: Home, tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="no folder"):
        scan([tmp_path / "gone"], home=home)


def test_a_stranger_s_release_wants_trust_and_a_dry_run_remembers_none(
    home: Home, models: Path, tmp_path: Path
) -> None:
    stranger = signer(7)
    made = release(stranger, publisher="zeta", model="zeta/own")
    source = str(posted(tmp_path / "post", made))
    before = home.known_publishers.read_bytes()
    with pytest.raises(UnknownPublisherError):
        scan([models], home=home, releases=[source])
    trust = [stranger.public_key.fingerprint]
    scan([models], home=home, releases=[source], trust=trust, dry_run=True)
    assert home.known_publishers.read_bytes() == before
    assert not home.findings.exists()
    scan([models], home=home, releases=[source], trust=trust)
    assert home.known_publishers.read_bytes() != before


def test_a_release_that_cannot_be_believed_is_left_out_with_a_word(home: Home, models: Path) -> None:
    begun(home, release(), models)
    bad = release(signer(9), model="acme/forged")
    begun(home, bad, models)
    found = scan([models], home=home)
    assert [one.release for one in found.releases] == ["acme/m7b@1.0"]
    assert len(found.warnings) == 1


def test_two_releases_under_one_version_have_a_folder_each(home: Home, models: Path, tmp_path: Path) -> None:
    first, second = release(), release(sequence=6)
    sources = [str(posted(tmp_path / name, made)) for name, made in (("1", first), ("2", second))]
    found = scan([models], home=home, releases=sources, add=True).releases
    assert len({one.added for one in found}) == 2
    assert all(one.added is not None and (one.added / "model.safetensors").is_file() for one in found)


def test_a_file_that_changed_between_the_look_and_the_record_is_not_recorded(
    home: Home, models: Path
) -> None:
    made = release()
    verified = gate.verify(made.envelope, Trustee(home).known)
    known = Known(verified, parse_info(made.raw_info()), torrent_of(made))
    places = {path: models / f"blob-{number}" for number, path in enumerate(FILES) if FILES[path]}
    roots = {entry.path: entry.pieces_root for entry in made.manifest.files}
    receipts = {spot: Receipt.of(spot, roots[path]) for path, spot in places.items()}
    places["model.safetensors"].write_bytes(b"!")
    with pytest.raises(CorruptError, match="changed since it was found"):
        add(Store(home), known, places, receipts, ignore)
    assert Store(home).records() == []
