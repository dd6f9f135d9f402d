"""Proof from disk before a final name, whatever the engine said of the pieces."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders_metainfo import hashed_all
from weightshare.content import journal as journal_module
from weightshare.content.journal import Journal
from weightshare.content.landing import Landing
from weightshare.content.parts import Parts
from weightshare.content.prover import Prover
from weightshare.content.recall import data_ranges
from weightshare.content.staging import clear_staging
from weightshare.errors import DiskError
from weightshare.manifest.merkle import split_layer
from weightshare.manifest.metainfo import build_info, parse_info
from weightshare.manifest.pieces import PieceMap, Span
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
        self.journal_path = folder / "pieces"
        self.journal = Journal(self.journal_path)
        self.landing = self.land(prover)

    def land(self, prover: Prover, parts: Parts | None = None) -> Landing:
        return Landing(self.pieces, self.pieces.spans, self.staging, prover, self.journal, parts=parts)

    def in_part(self, prover: Prover, *paths: str) -> Landing:
        """A landing for which of these files only pieces are wanted, none at first."""
        spans = {span.position: span for span in self.pieces.spans if span.file.path in paths}
        layers = {f.pieces_root: f.piece_layer for f in hashed_all(FILES, PIECE) if f.pieces_root}
        self.landing = self.land(prover, Parts(spans, layers))
        return self.landing

    def again(self, prover: Prover) -> Landing:
        """The landing of another run, of which the journal is all that it knows."""
        with self.journal:
            self.journal = Journal(self.journal_path)
        self.landing = self.land(prover)
        return self.landing

    def digests(self) -> list[bytes]:
        """The hashes of all pieces."""
        found: list[bytes] = []
        for file in hashed_all(FILES, PIECE):
            if file.pieces_root is not None:
                found.extend(split_layer(file.piece_layer or file.pieces_root))
        return found

    def prove(self) -> list[int]:
        """Everything was flushed; the pieces that must be fetched anew."""
        self.landing.readable(range(self.pieces.total))
        return self.wait()

    def wait(self) -> list[int]:
        """Until nothing is being read; the pieces that must be fetched anew."""
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


@pytest.mark.parametrize("how", ["removed", "cut"])
def test_a_file_that_was_lost_is_fetched_again_and_in_the_end_an_error(fetch: Fetch, how: str) -> None:
    place = fetch.staging / "sub/b.data"
    span = next(span for span in fetch.pieces.spans if span.file.path == "sub/b.data")

    def lose() -> list[int]:
        if how == "removed":
            place.unlink(missing_ok=True)
        else:
            place.write_bytes(FILES["sub/b.data"][:-1])
        return fetch.prove()

    assert set(lose()) == set(span.pieces)
    assert not fetch.landing.on_disk(span.pieces[-1])
    lose()
    with pytest.raises(DiskError, match=r"sub/b\.data was cut or removed by another program, 3 times"):
        lose()


@pytest.mark.parametrize("harmless", [True, False])
def test_a_file_that_changes_after_its_proof_is_proven_again(fetch: Fetch, harmless: bool) -> None:
    assert fetch.prove() == []
    place = fetch.staging / "a.data"
    before = place.stat()
    if harmless:
        os.utime(place)
    else:
        place.write_bytes(b"?" + FILES["a.data"][1:])
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing had been
    assert not fetch.landing.settled()
    assert len(fetch.prove()) == (0 if harmless else -(-len(FILES["a.data"]) // PIECE))
    assert fetch.landing.settled() == harmless


def test_a_file_that_was_cut_and_grew_again_is_read_once_more(fetch: Fetch) -> None:
    """As when an engine goes on writing behind a hole that it knows nothing of."""
    span = next(span for span in fetch.pieces.spans if span.file.path == "a.data")
    first, rest = span.pieces[:-1], span.pieces[-1:]
    fetch.landing.readable(first)
    fetch.wait()
    place = fetch.staging / "a.data"
    os.truncate(place, 0)
    with place.open("r+b") as file:
        file.seek((span.count - 1) * PIECE)
        file.write(FILES["a.data"][(span.count - 1) * PIECE :])
    fetch.landing.readable(rest)
    assert set(fetch.wait()) == set(span.pieces)


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


def test_what_a_run_had_read_back_is_here_at_once_and_read_again(fetch: Fetch) -> None:
    fetch.prove()
    pieces = {span.file.path: list(span.pieces) for span in fetch.pieces.spans}
    flipped = pieces["a.data"][3]
    place = fetch.staging / "a.data"
    with place.open("r+b") as file:
        file.seek(3 * PIECE)
        file.write(b"?")
    (fetch.staging / "sub/b.data").unlink()
    with Prover(PIECE, workers=1) as prover, fetch.again(prover) as again:
        recalled = again.recall()
        assert recalled.here == {*pieces["a.data"], *pieces["short"]}
        assert not recalled.withheld
        assert again.proven() == 0
        assert fetch.wait() == [flipped]
        assert again.proven() == len(FILES["a.data"]) + len(FILES["short"]) - PIECE
        assert not again.settled()
    assert flipped not in fetch.journal.known
    assert not set(pieces["sub/b.data"]) & set(fetch.journal.known)


def test_a_file_that_was_read_back_whole_is_done_with_after_a_kill(fetch: Fetch) -> None:
    fetch.prove()
    with Prover(PIECE, workers=1) as prover, fetch.again(prover) as again:
        assert again.recall().here == set(range(fetch.pieces.total))
        assert not again.settled()
        assert fetch.wait() == []
        assert again.settled()
        again.promote(fetch.destination)
    assert fetch.finals() == sorted(FILES)


def test_a_journal_that_lies_makes_no_file_count(fetch: Fetch) -> None:
    """It says of wrong bytes that they were there: so they are, but the file's root is not the signed one."""
    (fetch.staging / "a.data").write_bytes(b"?" + FILES["a.data"][1:])
    fetch.prove()
    with Prover(PIECE, workers=1) as prover, fetch.again(prover) as again:
        spans = {span.file.path: set(span.pieces) for span in fetch.pieces.spans}
        again.recall()
        assert set(fetch.wait()) == spans["a.data"]
        assert not again.settled()


@pytest.mark.parametrize("how", ["touched after a stop", "another file", "another boot"])
def test_what_cannot_be_vouched_for_is_withheld_until_it_is_proven(
    fetch: Fetch, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch.prove()
    place = fetch.staging / "a.data"
    fetch.landing.seal()
    if how == "touched after a stop":
        os.utime(place)
    elif how == "another file":
        copy = place.with_name("copy")
        copy.write_bytes(place.read_bytes())
        copy.replace(place)
    else:
        monkeypatch.setattr(journal_module, "_boot", lambda: b"another")
    span = next(span for span in fetch.pieces.spans if span.file.path == "a.data")
    with Prover(PIECE, workers=1) as prover, fetch.again(prover) as again:
        recalled = again.recall()
        if how == "another boot":
            assert not recalled.here
        assert recalled.withheld >= set(span.pieces)
        assert again.doubted()
        assert fetch.wait() == []
        assert not again.doubted()
        assert again.settled()
    with Prover(PIECE, workers=1) as prover, fetch.again(prover) as third:
        assert third.recall().here == set(range(fetch.pieces.total)), "the journal vouches for it now"


def test_after_an_orderly_stop_only_blocks_that_were_noted_are_looked_for(fetch: Fetch) -> None:
    span = next(span for span in fetch.pieces.spans if span.file.path == "a.data")
    fetch.landing.readable(span.pieces[:2])
    fetch.wait()
    begun = {span.pieces[4]: [True, False]}
    fetch.landing.underway(span.pieces[:4], begun)
    with Prover(PIECE, workers=1) as prover, fetch.again(prover) as killed:
        found = killed.recall()
        assert found.here == set(span.pieces[:2])
        assert found.begun.keys() >= set(span.pieces[2:]), "all of it is data"
        killed.seal()
    with Prover(PIECE, workers=1) as prover, fetch.again(prover) as stopped:
        found = stopped.recall()
        assert found.here == set(span.pieces[:2])
        ours = {piece: bits for piece, bits in found.begun.items() if piece in span.pieces}
        assert ours == {**begun, span.pieces[2]: [True] * 2, span.pieces[3]: [True] * 2}


def test_holes_are_not_taken_for_data(fetch: Fetch) -> None:
    place = fetch.staging / "a.data"
    os.truncate(place, 0)
    os.truncate(place, len(FILES["a.data"]))
    span = next(span for span in fetch.pieces.spans if span.file.path == "a.data")
    if data_ranges(place, len(FILES["a.data"])):
        pytest.skip("this file system has no holes")
    with Prover(PIECE, workers=1) as prover, fetch.again(prover) as again:
        assert not set(again.recall().begun) & set(span.pieces)


def test_a_piece_that_was_brought_is_here_and_proven(fetch: Fetch) -> None:
    span = next(span for span in fetch.pieces.spans if span.file.path == "a.data")
    (fetch.staging / "a.data").unlink()
    fetch.landing.recall()
    first = span.pieces[0]
    (fetch.staging / "a.data").write_bytes(FILES["a.data"][:PIECE])
    fetch.landing.brought(first, fetch.digests()[first])
    assert first in fetch.landing.recalled.here
    assert fetch.landing.proven() == PIECE
    assert fetch.journal.known[first] == fetch.digests()[first]


def test_the_layers_of_files_that_were_read_back_whole_are_known(fetch: Fetch) -> None:
    fetch.prove()
    layers = {file.path: file for file in hashed_all(FILES, PIECE)}
    with Prover(PIECE, workers=1) as prover, fetch.again(prover) as again:
        files = (layers["a.data"], layers["sub/b.data"])
        assert again.known_layers() == {file.pieces_root: file.piece_layer for file in files}
        fetch.journal.note(0, b"?" * 32)
        fetch.journal.drop(fetch.pieces.spans[-1].first)
        assert layers["a.data"].pieces_root not in again.known_layers()


def span_of(fetch: Fetch, path: str) -> Span:
    return next(span for span in fetch.pieces.spans if span.file.path == path)


def test_of_a_file_only_the_pieces_that_are_wanted_are_proven_and_it_gets_no_name(fetch: Fetch) -> None:
    with Prover(PIECE, workers=1) as prover, fetch.in_part(prover, "a.data") as landing:
        first, *_, last = span_of(fetch, "a.data").pieces
        # Nothing else of it matters, not even that it is there.
        data = bytearray(FILES["a.data"])
        data[PIECE : 3 * PIECE] = bytes(2 * PIECE)
        (fetch.staging / "a.data").write_bytes(data)
        landing.want([first])
        assert fetch.prove() == []
        assert landing.settled()
        landing.want([last])
        assert not landing.settled()
        assert fetch.prove() == []
        assert landing.settled()
        assert landing.held() == {span_of(fetch, "a.data").position: (first, last)}
        assert set(landing.promote(fetch.destination)) == set(FILES) - {"a.data"}
        assert fetch.finals() == sorted(set(FILES) - {"a.data"})
        assert (fetch.staging / "a.data").exists()


def test_a_wrong_piece_of_a_part_is_sent_back_alone(fetch: Fetch) -> None:
    with Prover(PIECE, workers=1) as prover, fetch.in_part(prover, "a.data") as landing:
        pieces = span_of(fetch, "a.data").pieces
        (fetch.staging / "a.data").write_bytes(b"?" + FILES["a.data"][1:])
        landing.want(pieces[:3])
        assert fetch.prove() == [pieces[0]]
        assert not landing.settled()
        assert fetch.prove() == [pieces[0]]
        with pytest.raises(DiskError, match=r"a\.data reads back differently"):
            fetch.prove()


def test_a_part_of_which_all_pieces_are_wanted_is_a_whole_file(fetch: Fetch) -> None:
    with Prover(PIECE, workers=1) as prover, fetch.in_part(prover, "a.data", "short") as landing:
        landing.want([*span_of(fetch, "a.data").pieces, *span_of(fetch, "short").pieces])
        assert fetch.prove() == []
        assert landing.held() == {}
        assert set(landing.promote(fetch.destination)) == set(FILES)


def test_a_part_that_is_cut_while_it_is_proven_comes_anew_as_far_as_it_is_wanted(fetch: Fetch) -> None:
    with Prover(PIECE, workers=1) as prover, fetch.in_part(prover, "a.data") as landing:
        wanted = list(span_of(fetch, "a.data").pieces[2:4])
        landing.want(wanted)
        os.truncate(fetch.staging / "a.data", PIECE)
        assert set(fetch.prove()) == set(wanted)


def test_what_an_earlier_run_had_of_a_part_is_held_and_proven_again(fetch: Fetch) -> None:
    with Prover(PIECE, workers=1) as prover:
        pieces = span_of(fetch, "a.data").pieces
        with fetch.in_part(prover, "a.data") as landing:
            landing.want(pieces[:2])
            assert fetch.prove() == []
            landing.seal()
        with fetch.journal:
            fetch.journal = Journal(fetch.journal_path)
        with fetch.in_part(prover, "a.data") as landing:
            landing.recall()
            assert landing.held()[span_of(fetch, "a.data").position] == tuple(pieces[:2])
            assert not landing.settled()
            assert fetch.prove() == []
            assert landing.settled()
