"""Which bytes a selection needs: held against torch's own slices, item by item."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightshare.content.safetensors_header import TensorInfo
from weightshare.errors import UsageError
from weightshare.load.selection import Selection, Split, chunks, merged, pieces_of


def info(shape: tuple[int, ...], dtype: str = "U8", start: int = 0, bits: int = 8) -> TensorInfo:
    size = torch.Size(shape).numel() * bits // 8
    return TensorInfo("t", dtype, shape, start, start + size)


def offsets(selection: Selection, tensor: TensorInfo) -> list[int]:
    """Every byte of a part, row by row, in the order that its items have."""
    part = selection.part_of(tensor)
    rows = part.runs[0].count if part.runs else 0
    return [
        run.start + row * run.stride + byte
        for row in range(rows)
        for run in part.runs
        for byte in range(run.length)
    ]


shapes = st.lists(st.integers(0, 7), min_size=1, max_size=4).map(tuple)


@given(shapes, st.integers(1, 5), st.data())
def test_the_bytes_of_a_part_are_those_of_the_chunk_that_torch_gives(
    shape: tuple[int, ...], of: int, data: st.DataObject
) -> None:
    dim = data.draw(st.integers(0, len(shape) - 1))
    tensor = info(shape, start=1000)
    numbered = torch.arange(tensor.size).view(shape)
    expected = list(numbered.chunk(of, dim)) if tensor.size else []
    for rank in range(of):
        selection = Selection(rank=rank, of=of, dims={"t": dim})
        mine = expected[rank] if rank < len(expected) else numbered.narrow(dim, 0, 0)
        assert offsets(selection, tensor) == [1000 + int(number) for number in mine.flatten()]
        if tensor.size:
            assert selection.part_of(tensor).shape == tuple(mine.shape)


@given(st.integers(0, 40), st.integers(1, 6), st.integers(1, 4))
def test_the_ranks_share_every_row_once(length: int, of: int, parts: int) -> None:
    rows = [
        row
        for rank in range(of)
        for begin, end in chunks(length, parts, rank, of)
        for row in range(begin, end)
    ]
    assert sorted(rows) == list(range(length))


def test_a_packed_tensor_is_cut_in_each_of_its_parts() -> None:
    tensor = info((8, 2))
    for rank, rows in ((0, [0, 1, 4, 5]), (1, [2, 3, 6, 7])):
        selection = Selection(rank=rank, of=2, dims={"t": Split(0, parts=2)})
        assert offsets(selection, tensor) == [2 * row + byte for row in rows for byte in range(2)]
        assert selection.part_of(tensor).shape == (4, 2)


@given(
    st.integers(1, 6), st.integers(1, 40), st.integers(0, 60), st.integers(1, 4), st.integers(0, 1),
    st.integers(1, 24),
)  # fmt: skip
def test_the_pieces_are_those_that_hold_one_of_the_bytes_and_no_others(
    rows: int, columns: int, start: int, of: int, dim: int, piece_length: int
) -> None:
    tensor = info((rows, columns), start=start)
    for rank in range(of):
        selection = Selection(rank=rank, of=of, dims={"t": dim})
        found = pieces_of([selection.part_of(tensor)], piece_length)
        pieces = [piece for run in found for piece in run]
        assert pieces == sorted({byte // piece_length for byte in offsets(selection, tensor)})
        assert all(a.stop < b.start for a, b in pairwise(found))


def test_items_of_half_a_byte_are_not_cut_apart() -> None:
    tensor = info((4, 6), "F4", bits=4)
    assert Selection(rank=0, of=2, dims={"t": 0}).part_of(tensor).size == 6
    with pytest.raises(UsageError, match=r"t .F4. cannot be split along dimension 1"):
        Selection(rank=0, of=2, dims={"t": 1}).part_of(tensor)


def test_dimensions_count_from_the_last_one_too() -> None:
    tensor = info((4, 6))
    behind = Selection(rank=1, of=2, dims={"t": -1}).part_of(tensor)
    assert behind == Selection(rank=1, of=2, dims={"t": 1}).part_of(tensor)
    for dim in (2, -3):
        with pytest.raises(UsageError, match="The tensor t has 2 dimensions"):
            Selection(rank=1, of=2, dims={"t": dim}).part_of(tensor)
    with pytest.raises(UsageError, match="has 0 dimensions"):
        Selection(rank=1, of=2, dims={"t": 0}).part_of(info(()))


def test_a_name_counts_before_a_glob_and_the_first_glob_before_others() -> None:
    tensor = info((4, 6))
    named = Selection(rank=0, of=2, dims={"*": 0, "t": 1})
    assert named.part_of(tensor).shape == (4, 3)
    first = Selection(rank=0, of=2, dims={"t*": 0, "*": 1})
    assert first.part_of(tensor).shape == (2, 6)
    assert Selection(rank=0, of=2, dims={"u": 0}).part_of(tensor).whole


NAMES = ["model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight", "lm_head.weight", "odd[0]"]


def chosen(selection: Selection) -> Iterator[str]:
    return (name for name in NAMES if selection.chooses(name))


def test_names_are_chosen_by_globs_that_match_dots_too_and_by_what_they_are() -> None:
    assert list(chosen(Selection())) == NAMES
    assert list(chosen(Selection(("model.layers.*",)))) == NAMES[:2]
    assert list(chosen(Selection(("model.*", "lm_head.weight"), ("*.1.*",)))) == [NAMES[0], NAMES[2]]
    assert list(chosen(Selection(("odd[0]",)))) == ["odd[0]"]


def test_a_name_that_is_not_there_is_refused_with_those_that_are_like_it() -> None:
    with pytest.raises(UsageError, match=r"acme/m@1 has no tensor 'lm_haed\.weight'") as caught:
        Selection(("lm_head.weight", "lm_haed.weight")).require(NAMES, "acme/m@1")
    assert caught.value.hint == "Did you mean lm_head.weight?"
    assert caught.value.facts["missing"] == ["lm_haed.weight"]
    with pytest.raises(UsageError, match=r"no tensor 'zzz.', nor one for 1 others") as caught:
        Selection(("zzz*", "yyy")).require(NAMES, "acme/m@1")
    assert caught.value.hint.startswith("Its tensors are lm_head.weight, model.layers.0")
    with pytest.raises(UsageError, match="No tensor of acme/m@1 is left"):
        Selection(("lm_head.weight",), ("lm*",)).require(NAMES, "acme/m@1")
    Selection(("odd[0]", "*.up_proj.*")).require(NAMES, "acme/m@1")


@pytest.mark.parametrize(("rank", "of"), [(2, 2), (-1, 2), (0, 0)])
def test_there_are_ranks_from_0_on(rank: int, of: int) -> None:
    with pytest.raises(UsageError, match=f"no rank {rank} of {of}"):
        Selection(rank=rank, of=of)


def test_ranges_that_touch_become_one() -> None:
    assert merged([range(4, 6), range(0, 2), range(2, 3), range(5, 9), range(9, 9)]) == [
        range(0, 3),
        range(4, 9),
    ]
