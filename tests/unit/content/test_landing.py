"""Proof from disk before a final name, whatever the engine said of the pieces."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders_metainfo import hashed_all
from weightshare.content.journal import Journal
from weightshare.content.landing import Landing, clear_staging
from weightshare.content.prover import Prover
from weightshare.errors import DiskError
from weightshare.manifest.metainfo import build_info, parse_info
from weightshare.manifest.pieces import PieceMap
from weightshare.units import BLOCK

FILES = {"a.data": bytes(range(256)) * 1000, "empty": b"", "sub/b.data": b"b" * 70_000, "short": b"s"}
PIECE = 2 * BLOCK
DEADLINE = 30


class Fetch:
    """A landing with all files staged, as the engine would have left them."""

    def __init__(self, folder: Path, prover: Prover) -> None:
        info = parse_info(build_info("m", PIECE, hashed_all(FILES, PIECE), hybrid=False))
        self.pieces = PieceMap(info)
        self.staging = folder / "staging" / "m"
        self.destination = folder / "out"
        self.destination.mkdir()
        for path, data in FILES.items():
            if data:
                (self.staging / path).parent.mkdir(parents=True, exist_ok=True)
                (self.staging / path).write_bytes(data)
        self.resume: list[bytes] = []
        self.journal = Journal(folder / "pieces")
        self.landing = self.land(prover)

    def land(self, prover: Prover) -> Landing:
        return Landing(self.pieces, self.pieces.spans, self.staging, prover, self.resume.append, self.journal)

    def prove(self) -> list[int]:
        """Everything was flushed; the pieces that must be fetched anew."""
        self.landing.readable(range(self.pieces.total))
        again: list[int] = []
        deadline = time.monotonic() + DEADLINE
        while self.landing.busy():
            again.extend(self.landing.refused())
            assert time.monotonic() < deadline
        return again

    def finals(self) -> list[str]:
        found = (path for path in self.destination.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.destination).as_posix() for path in found)


@pytest.fixture
def fetch(tmp_path: Path) -> Iterator[Fetch]:
    with Prover(PIECE, workers=1) as prover:
        made = Fetch(tmp_path, prover)
        with made.journal, made.landing:
            yield made


def test_whole_files_get_their_final_names(fetch: Fetch) -> None:
    assert not fetch.landing.settled()
    assert fetch.prove() == []
    assert fetch.landing.settled()
    assert fetch.landing.proven() == sum(map(len, FILES.values()))
    assert fetch.finals() == []
    receipts = fetch.landing.promote(fetch.destination)
    assert fetch.finals() == sorted(FILES)
    assert set(receipts) == set(FILES)
    for path, data in FILES.items():
        assert (fetch.destination / path).read_bytes() == data
        assert (fetch.destination / path).stat().st_mode & 0o777 == 0o444
        assert receipts[path].still_holds(fetch.destination / path)


def test_a_flipped_byte_sends_the_file_back_and_nothing_else(fetch: Fetch) -> None:
    place = fetch.staging / "a.data"
    place.write_bytes(FILES["a.data"][:-1] + b"?")
    span = next(span for span in fetch.pieces.spans if span.file.path == "a.data")
    assert fetch.prove() == list(span.pieces)
    assert not fetch.landing.settled()
    with pytest.raises(AssertionError):
        fetch.landing.promote(fetch.destination)
    assert fetch.finals() == []
    place.write_bytes(FILES["a.data"])
    assert fetch.prove() == []
    assert fetch.landing.settled()


def test_a_disk_that_never_gives_back_what_was_written(fetch: Fetch) -> None:
    (fetch.staging / "short").write_bytes(b"?")
    fetch.prove()
    fetch.prove()
    with pytest.raises(DiskError, match="short reads back differently"):
        fetch.prove()
    assert fetch.finals() == []


def test_a_file_that_vanished_is_an_error(fetch: Fetch) -> None:
    (fetch.staging / "sub/b.data").unlink()
    with pytest.raises(DiskError, match=r"sub/b\.data cannot be read back"):
        fetch.prove()


def test_the_piece_layer_is_what_the_torrent_carries(fetch: Fetch) -> None:
    fetch.prove()
    layers = {file.path: file.piece_layer for file in hashed_all(FILES, PIECE)}
    for span in fetch.pieces.spans:
        assert fetch.landing.layer(span.position) == layers[span.file.path]


def test_a_destination_that_cannot_be_written_keeps_everything(fetch: Fetch) -> None:
    fetch.prove()
    (fetch.destination / "sub").write_bytes(b"a file where a folder must be")
    with pytest.raises(DiskError, match="could not be put in place"):
        fetch.landing.promote(fetch.destination)
    assert (fetch.staging / "sub/b.data").exists()


def test_clearing_one_staging_leaves_another(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "staging" / name).mkdir(parents=True)
    clear_staging(tmp_path / "staging" / "one")
    assert [path.name for path in (tmp_path / "staging").iterdir()] == ["two"]
    clear_staging(tmp_path / "staging" / "two")
    assert not (tmp_path / "staging").exists()


def test_what_a_killed_run_had_read_back_is_recovered_if_the_disk_still_has_it(fetch: Fetch) -> None:
    fetch.prove()
    pieces = {span.file.path: list(span.pieces) for span in fetch.pieces.spans}
    flipped = pieces["a.data"][3]
    place = fetch.staging / "a.data"
    place.write_bytes(FILES["a.data"][: 3 * PIECE] + b"?" + FILES["a.data"][3 * PIECE + 1 :])
    (fetch.staging / "sub/b.data").unlink()

    seen: list[tuple[int, int]] = []
    with Prover(PIECE, workers=1) as prover, fetch.land(prover) as again:
        here = again.recover(lambda done, total: seen.append((done, total)))
        assert here == {*pieces["a.data"], *pieces["short"]} - {flipped}
        assert again.proven() == sum(fetch.pieces.byte_range(piece)[2] for piece in here)
        assert seen[-1] == (sum(map(len, FILES.values())),) * 2
        assert not again.settled()


def test_a_file_that_was_read_back_whole_is_done_with_after_a_kill(fetch: Fetch) -> None:
    fetch.prove()
    with Prover(PIECE, workers=1) as prover, fetch.land(prover) as again:
        assert again.recover(lambda done, total: None) == set(range(fetch.pieces.total))
        assert again.settled()
        again.promote(fetch.destination)
    assert fetch.finals() == sorted(FILES)


def test_a_journal_that_lies_makes_no_file_count(fetch: Fetch) -> None:
    """It says of wrong bytes that they were there: so they are, but the file's root is not the signed one."""
    (fetch.staging / "a.data").write_bytes(b"?" + FILES["a.data"][1:])
    fetch.prove()
    with Prover(PIECE, workers=1) as prover, fetch.land(prover) as again:
        spans = {span.file.path: set(span.pieces) for span in fetch.pieces.spans}
        assert again.recover(lambda done, total: None) == spans["sub/b.data"] | spans["short"]
        assert not again.settled()
