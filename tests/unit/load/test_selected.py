"""Part of a release: equal to what safetensors reads, proven to the piece, and blind to what was not asked for."""

from __future__ import annotations

import json
from functools import partialmethod
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.builders_load import PIECE, Release, flip, release_of
from weightshare.content.safetensors_header import header_length, read_header
from weightshare.errors import CheckpointError, CorruptError, UsageError
from weightshare.load import part_sources, selected
from weightshare.load.loader import LoadedState, Mode, state_dict
from weightshare.load.selection import Selection, Split
from weightshare.progress import Progress

MODES: list[Mode] = ["mapped", "private"]
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    found: Mode = request.param
    return found


@pytest.fixture
def release(tmp_path: Path) -> Release:
    folder = tmp_path / "model"
    folder.mkdir()
    generator = torch.Generator().manual_seed(7)
    one = {f"layers.{i}.up.weight": torch.randn(300, 200, generator=generator) for i in range(6)}
    two = {
        "down.weight": torch.randn(300, 500, generator=generator).to(torch.bfloat16),
        "experts": torch.randn(3, 64, 90, generator=generator).to(torch.float16),
        "norm.weight": torch.randn(77, generator=generator),
        "odd": torch.randint(0, 255, (11, 7), dtype=torch.uint8, generator=generator),
        "scale": torch.tensor(2.5),
    }
    save_file(one, folder / ONE)
    save_file(two, folder / TWO)
    index = dict.fromkeys(one, ONE) | dict.fromkeys(two, TWO)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return release_of(folder, tmp_path / "keys")


def load(
    release: Release, select: Selection, mode: Mode, *, layered: bool = True, **more: object
) -> LoadedState:
    return state_dict(
        release.verified,
        release.folder,
        device="cpu",
        mode=mode,
        layers=release.layers if layered else {},
        select=select,
        **more,  # type: ignore[arg-type]
    )


def as_read(release: Release, shard: str, name: str, *where: slice) -> torch.Tensor:
    """The slice of a tensor that safetensors reads."""
    with safe_open(release.folder / shard, "pt") as file:
        found: torch.Tensor = file.get_slice(name)[where or ...]
        return found


def test_only_the_tensors_asked_for(release: Release, mode: Mode) -> None:
    with load(release, Selection(("layers.2.*", "norm.weight")), mode) as state:
        assert list(state.tensors) == ["layers.2.up.weight", "norm.weight"]
        assert state.tensors["layers.2.up.weight"].equal(as_read(release, ONE, "layers.2.up.weight"))
        assert state.tensors["norm.weight"].equal(as_read(release, TWO, "norm.weight"))
        assert state.tensor_bytes == 300 * 200 * 4 + 77 * 4
        # The tensor, the pieces on its two borders, and the piece with the header of each shard.
        assert 0 < state.bytes <= state.tensor_bytes + 5 * PIECE


@pytest.mark.parametrize(("of", "rank"), [(2, 0), (2, 1), (7, 0), (7, 6), (400, 399)])
def test_a_rank_gets_the_slice_that_safetensors_reads(
    release: Release, mode: Mode, of: int, rank: int
) -> None:
    dims = {"*.up.weight": 0, "down.weight": 1, "experts": 1, "odd": -1}
    with load(release, Selection(rank=rank, of=of, dims=dims), mode) as state:
        for name, tensor in state.tensors.items():
            shard = ONE if name.startswith("layers") else TWO
            whole = as_read(release, shard, name)
            dim = dims.get("*.up.weight" if shard == ONE else name)
            chunks = whole.chunk(of, dim) if dim is not None else [whole] * of
            expected = chunks[rank] if rank < len(chunks) else whole.narrow(dim or 0, 0, 0)
            assert tensor.dtype == whole.dtype
            assert tensor.shape == expected.shape
            assert tensor.equal(expected)
            assert tensor.is_contiguous()
        assert len(state.tensors) == 11


def test_two_ranks_split_along_the_first_dimension_read_each_piece_once_but_for_borders(
    release: Release, mode: Mode
) -> None:
    parts = [Selection(("layers.*",), rank=rank, of=2, dims={"layers.*": 0}) for rank in range(2)]
    states = [load(release, part, mode) for part in parts]
    whole = (release.folder / ONE).stat().st_size
    # Each of the six tensors has one border inside and shares two with its neighbours; the header is read by both.
    assert whole <= sum(state.bytes for state in states) <= whole + 14 * PIECE
    assert sum(state.tensor_bytes for state in states) == 6 * 300 * 200 * 4
    for name in states[0].tensors:
        both = torch.cat([state.tensors[name] for state in states])
        assert both.equal(as_read(release, ONE, name))


def test_packed_tensors_are_cut_in_each_part(release: Release, mode: Mode) -> None:
    selection = Selection(
        ("down.weight", "experts"), rank=1, of=2, dims={"*": Split(0), "experts": Split(1, 2)}
    )
    with load(release, selection, mode) as state:
        whole = as_read(release, TWO, "experts")
        expected = torch.cat([whole[:, 16:32], whole[:, 48:64]], dim=1)
        assert state.tensors["experts"].equal(expected)
        assert state.tensors["down.weight"].equal(as_read(release, TWO, "down.weight", slice(150, 300)))


def piece_of(release: Release, shard: str, name: str, row: int = 0) -> int:
    header = read_header(release.folder / shard, shard)
    info = next(info for info in header.tensors if info.name == name)
    return (info.start + row * (info.size // info.shape[0])) // PIECE


def test_what_is_flipped_outside_of_the_selection_does_not_matter_and_inside_it_is_refused(
    release: Release, mode: Mode
) -> None:
    selection = Selection(("layers.3.*",), rank=1, of=2, dims={"*": 0})
    expected = as_read(release, ONE, "layers.3.up.weight", slice(150, 300))
    inside = range(
        piece_of(release, ONE, "layers.3.up.weight", 150),
        piece_of(release, ONE, "layers.3.up.weight", 299) + 1,
    )
    pieces = -(-(release.folder / ONE).stat().st_size // PIECE)
    for piece in range(pieces):
        flip(release.folder / ONE, piece * PIECE + 11)
        if piece == 0 or piece in inside:
            with pytest.raises(CorruptError) as caught:
                load(release, selection, mode)
            assert (caught.value.facts["path"], caught.value.facts["pieces"]) == (ONE, [piece])
        else:
            assert load(release, selection, mode).tensors["layers.3.up.weight"].equal(expected)
        flip(release.folder / ONE, piece * PIECE + 11)


def test_a_shard_without_a_chosen_tensor_need_not_be_here(release: Release, mode: Mode) -> None:
    (release.folder / TWO).unlink()
    with load(release, Selection(("layers.0.*",)), mode) as state:
        assert list(state.tensors) == ["layers.0.up.weight"]
    with pytest.raises(CorruptError, match="missing"):
        load(release, Selection(("norm.weight",)), mode)


def test_without_a_layer_the_whole_file_is_proven_and_the_notes_say_so(release: Release, mode: Mode) -> None:
    selection = Selection(("layers.5.*",))
    with load(release, selection, mode, layered=False) as state:  # a lease would hold back the flip below
        assert state.tensors["layers.5.up.weight"].equal(as_read(release, ONE, "layers.5.up.weight"))
        assert state.bytes == (release.folder / ONE).stat().st_size
        assert any("piece hashes are not known here" in note for note in state.notes)
    assert not any("piece hashes" in note for note in load(release, selection, mode).notes)
    flip(release.folder / ONE, 3 * PIECE)  # nothing of layer 5
    with pytest.raises(CorruptError, match="not what was signed"):
        load(release, selection, mode, layered=False)


def test_what_changes_between_the_two_readings_of_a_file_without_a_layer_is_refused(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meddle(prefix: bytes, size: int, path: str) -> int:
        flip(release.folder / ONE, (release.folder / ONE).stat().st_size - 1)
        return header_length(prefix, size, path)

    monkeypatch.setattr(selected, "header_length", meddle)
    with pytest.raises(CorruptError) as caught:
        load(release, Selection(("layers.5.*",)), "private", layered=False)
    assert caught.value.facts["pieces"] == [21]


def test_without_an_index_the_headers_tell_which_tensors_there_are(tmp_path: Path, mode: Mode) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    tensors = {f"a.{i}": torch.full((100, 1000), float(i)) for i in range(4)}
    save_file(tensors, folder / "model.safetensors")
    release = release_of(folder, tmp_path / "keys")
    with load(release, Selection(("a.3", "a.1")), mode) as state:
        assert list(state.tensors) == ["a.1", "a.3"]
        assert state.tensors["a.3"].equal(tensors["a.3"])
    with pytest.raises(UsageError, match=r"has no tensor 'a\.9'") as caught:
        load(release, Selection(("a.9",)), mode)
    assert "a.1" in caught.value.hint


def test_a_header_of_several_pieces_is_proven_before_it_is_parsed(tmp_path: Path, mode: Mode) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    tensors = {f"{'x' * 300}.{i}": torch.full((10,), i) for i in range(900)}
    save_file(tensors, folder / "model.safetensors")
    release = release_of(folder, tmp_path / "keys")
    name = f"{'x' * 300}.42"
    assert read_header(folder / "model.safetensors", "").length > 4 * PIECE
    assert load(release, Selection((name,)), mode).tensors[name].equal(tensors[name])
    flip(folder / "model.safetensors", 3 * PIECE)
    with pytest.raises(CorruptError) as caught:
        load(release, Selection((name,)), mode)
    assert caught.value.facts["pieces"] == [3]


def test_an_unknown_name_in_an_indexed_release_is_refused_before_a_shard_is_opened(release: Release) -> None:
    (release.folder / ONE).unlink()
    with pytest.raises(UsageError, match=r"has no tensor 'layers\.0\.up\.wieght'") as caught:
        load(release, Selection(("layers.0.up.wieght",)), "mapped")
    assert "layers.0.up.weight" in caught.value.hint


def test_an_index_that_lies_about_a_shard_that_is_needed_is_refused(tmp_path: Path, mode: Mode) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.ones(3)}, folder / ONE)
    save_file({"b": torch.ones(3)}, folder / TWO)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": ONE, "b": TWO, "c": ONE}})
    )
    release = release_of(folder, tmp_path / "keys")
    with pytest.raises(CheckpointError, match="the tensor c is in"):
        load(release, Selection(("a",)), mode)
    assert list(load(release, Selection(("b",)), mode).tensors) == ["b"]


def test_a_split_that_splits_nothing_is_said(release: Release, mode: Mode) -> None:
    state = load(release, Selection(("norm.weight",), rank=0, of=2, dims={"nrom*": 0}), mode)
    assert any("None of the tensors asked for is split" in note for note in state.notes)
    strewn = load(release, Selection(("down.weight",), rank=0, of=2, dims={"down*": 1}), mode)
    assert any("cut along a later dimension (down.weight)" in note for note in strewn.notes)


def test_a_view_ends_where_its_proven_bytes_end(release: Release) -> None:
    with load(release, Selection(("layers.1.*",)), "mapped") as state:
        tensor = state.tensors["layers.1.up.weight"]
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_a_private_load_takes_memory_for_what_is_asked_for(release: Release) -> None:
    """The storage behind the tensors is that of their pieces; of those cut along a later dimension that of the part."""
    state = load(release, Selection(("layers.1.*", "layers.4.*")), "private")
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in state.tensors.values()}
    assert sum(held.values()) <= state.tensor_bytes + 4 * PIECE
    strewn = load(release, Selection(("down.weight",), rank=1, of=2, dims={"*": 1}), "private")
    assert strewn.tensors["down.weight"].untyped_storage().nbytes() == strewn.tensor_bytes


def test_progress_ends_at_what_was_proven(release: Release, mode: Mode) -> None:
    told: list[Progress] = []
    state = load(release, Selection(("layers.1.*",)), mode, observe=told.append)
    assert told[-1].done == told[-1].total
    assert told[-1].done is not None
    assert state.bytes <= told[-1].done <= state.bytes + PIECE * 2


def test_through_slots_as_for_a_device_the_tensors_are_the_same(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = partialmethod(part_sources.CopiedParts.__init__, staged=True)
    selection = Selection(rank=1, of=3, dims={"*.up.weight": 0, "down.weight": 1, "experts": 2})
    expected = load(release, selection, "private").tensors
    monkeypatch.setattr(part_sources.CopiedParts, "__init__", staged)
    found = load(release, selection, "private", workers=3).tensors
    assert all(found[name].equal(tensor) for name, tensor in expected.items())
    flip(release.folder / TWO, piece_of(release, TWO, "experts") * PIECE + 5)
    with pytest.raises(CorruptError):
        load(release, selection, "private")
