"""Receipts in place of a hash: only where asked for, only for the very file, and never counted as proven."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.builders_load import PIECE, Release, flip, release_of
from weightshare.content.receipts import Receipt
from weightshare.errors import CorruptError, SafetensorsError
from weightshare.load import mapped, private
from weightshare.load.loader import LoadedState, Mode, state_dict
from weightshare.progress import Progress

MODES: list[Mode] = ["mapped", "private"]
NAMES = ["model-1.safetensors", "model-2.safetensors"]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    found: Mode = request.param
    return found


@pytest.fixture
def release(tmp_path: Path) -> Release:
    folder = tmp_path / "model"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        save_file({f"t{number}": torch.arange(50_000.0) + number}, folder / name)
    return release_of(folder, tmp_path / "keys")


def receipts_of(release: Release) -> dict[str, Receipt]:
    return {name: Receipt.of(release.folder / name, release.entry(name).pieces_root) for name in NAMES}


def load(release: Release, mode: Mode, **more: object) -> LoadedState:
    arguments: dict[str, object] = {"device": "cpu", "mode": mode, "layers": release.layers, **more}
    return state_dict(release.verified, release.folder, **arguments)  # type: ignore[arg-type]


def forge(release: Release, name: str, offset: int) -> dict[str, Receipt]:
    """Change a byte, and a receipt that has it so: what a failing disk or a set clock amounts to."""
    flip(release.folder / name, offset)
    return receipts_of(release)


def test_a_receipt_that_matches_stands_for_the_hash(release: Release, mode: Mode) -> None:
    receipts = forge(release, NAMES[1], 2 * PIECE)  # shows that nothing was hashed
    state = load(release, mode, receipts=receipts)
    assert state.trusted_bytes == state.bytes
    assert state.proven_bytes == 0
    assert not state.verified
    assert "not hashed" in state.notes[-1]
    for name in NAMES:
        for tensor, value in load_file(release.folder / name).items():
            assert state.tensors[tensor].equal(value)


def test_without_receipts_nothing_is_trusted(release: Release, mode: Mode) -> None:
    state = load(release, mode)
    assert (state.trusted_bytes, state.proven_bytes, state.verified) == (0, state.bytes, True)
    assert not any("hashed" in note for note in state.notes)


def test_only_the_files_whose_receipts_match_are_trusted(release: Release, mode: Mode) -> None:
    receipts = receipts_of(release)
    receipts[NAMES[0]] = replace(receipts[NAMES[0]], mtime_ns=receipts[NAMES[0]].mtime_ns + 1)
    state = load(release, mode, receipts=receipts)
    assert state.trusted_bytes == release.entry(NAMES[1]).size
    del state
    gc.collect()
    flip(release.folder / NAMES[0], PIECE)
    with pytest.raises(CorruptError) as caught:
        load(release, mode, receipts=receipts)
    assert caught.value.facts["path"] == NAMES[0]
    assert caught.value.facts["tensors"] == ["t0"]


@pytest.mark.parametrize(
    "change", [{"root": "00" * 32}, {"root": None}, {"inode": 1}, {"dev": 1}, {"size": -1}, {"ctime_ns": 1}]
)
def test_a_receipt_of_something_else_is_worth_nothing(
    release: Release, mode: Mode, change: dict[str, object]
) -> None:
    receipts = forge(release, NAMES[1], PIECE)
    receipts[NAMES[1]] = replace(receipts[NAMES[1]], **change)  # type: ignore[arg-type]
    with pytest.raises(CorruptError) as caught:
        load(release, mode, receipts=receipts)
    assert caught.value.facts["pieces"] == [1]


def test_a_file_put_in_the_place_of_the_right_one_is_hashed(release: Release, mode: Mode) -> None:
    receipts = receipts_of(release)
    path = release.folder / NAMES[0]
    other = path.with_suffix(".other")
    other.write_bytes(path.read_bytes()[:-1] + b"\xff")
    os.utime(other, ns=(receipts[NAMES[0]].mtime_ns,) * 2)
    other.replace(path)
    with pytest.raises(CorruptError):
        load(release, mode, receipts=receipts)


def test_a_trusted_header_is_parsed_within_its_bounds(release: Release, mode: Mode) -> None:
    receipts = forge(release, NAMES[0], 6)  # the header's length, 2^48 more
    with pytest.raises(SafetensorsError, match=NAMES[0]):
        load(release, mode, receipts=receipts)


@pytest.mark.parametrize("processes", [False, True])
def test_a_trusted_file_that_changes_during_the_load_is_refused(
    release: Release, mode: Mode, processes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "IN_PROCESS", 0 if processes else 2**40)
    monkeypatch.setattr(private, "IN_PROCESS", 0 if processes else 2**40)
    receipts = receipts_of(release)
    with (release.folder / NAMES[1]).open("r+b", buffering=0) as file:

        def overwrite(progress: Progress) -> None:
            if progress.done == progress.total:
                file.seek(PIECE)
                file.write(b"evil")

        with pytest.raises(Exception, match="changed while") as caught:
            load(release, mode, receipts=receipts, observe=overwrite, workers=2)
    assert getattr(caught.value, "exit_code", 0) == 4
    assert NAMES[1] in str(caught.value)


def test_what_run_reports_claims_no_more_than_was_done() -> None:
    from weightshare.api.results import Ran

    facts = ("a/b@1", "SHA256:x", None, "text", "cpu", "mapped", 100, 1.0, 5, 5.0)
    whole, part = Ran(*facts).to_json()["load"], Ran(*facts, load_trusted=40).to_json()["load"]
    assert isinstance(whole, dict)
    assert isinstance(part, dict)
    assert (whole["verified"], whole["proven_bytes"], whole["trusted_bytes"]) == (True, 100, 0)
    assert (part["verified"], part["proven_bytes"], part["trusted_bytes"]) == (False, 60, 40)
