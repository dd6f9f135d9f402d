"""Random checkpoints of every dtype, aligned and not, with empty tensors and ones without dimensions."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests.builders_load import release_of
from weightshare.content.safetensors_header import DTYPE_BITS
from weightshare.load.loader import Mode, state_dict
from weightshare.load.views import DTYPES

MODES: list[Mode] = ["mapped", "private"]
DTYPES_SAVED = sorted(DTYPES.keys() & DTYPE_BITS.keys())

shapes: st.SearchStrategy[list[int]] = st.one_of(
    st.just([]),
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.tuples(st.sampled_from([1, 3, 4097, 20000])).map(list),
)
tensors = st.lists(st.tuples(st.sampled_from(DTYPES_SAVED), shapes), min_size=0, max_size=12)


def test_only_dtypes_that_torch_lacks_are_left_out() -> None:
    assert DTYPE_BITS.keys() - DTYPES.keys() == {"F6_E2M3", "F6_E3M2"}
    assert {"F8_E4M3", "F8_E5M2", "U8", "BOOL", "C64", "F4", "F8_E8M0", "BF16"} <= set(DTYPES_SAVED)


def write(path: Path, wanted: list[tuple[str, list[int]]], spaces: int, seed: int) -> None:
    """A file by hand: the reference's writer would order and align what these tests want otherwise."""
    generator = torch.Generator().manual_seed(seed)
    table: dict[str, object] = {}
    data = b""
    for number, (dtype, shape) in enumerate(wanted):
        if dtype == "F4":  # two items a byte, in pairs along the last dimension
            shape = [*shape[:-1], 2 * (shape[-1] if shape else 1)]
        items = 1
        for length in shape:
            items *= length
        count = items * DTYPE_BITS[dtype] // 8
        top = 2 if dtype == "BOOL" else 256
        value = bytes(torch.randint(0, top, (count,), generator=generator, dtype=torch.uint8).numpy())
        table[f"t{number}"] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [len(data), len(data) + count],
        }
        data += value
    header = json.dumps(table).encode() + b" " * spaces
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def raw(tensor: torch.Tensor) -> bytes:
    if not tensor.numel():
        return b""
    flat = tensor.contiguous().flatten() if tensor.dim() else tensor.reshape(1)
    return bytes(flat.view(torch.uint8).numpy())


@settings(max_examples=60, deadline=None)
@given(first=tensors, second=tensors, spaces=st.integers(0, 17), seed=st.integers(0, 99))
def test_every_tensor_is_what_safetensors_reads(
    first: list[tuple[str, list[int]]], second: list[tuple[str, list[int]]], spaces: int, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        folder.mkdir()
        path = folder / "model.safetensors"
        write(path, [*first, *second], spaces, seed)
        expected = load_file(path)
        release = release_of(folder, Path(name) / "keys")
        for mode in MODES:
            found = state_dict(
                release.verified, folder, device="cpu", mode=mode, layers=release.layers
            ).tensors
            assert found.keys() == expected.keys()
            for tensor, value in expected.items():
                assert (found[tensor].dtype, found[tensor].shape) == (value.dtype, value.shape)
                assert raw(found[tensor]) == raw(value)
                item = found[tensor].dtype.itemsize
                assert not found[tensor].numel() or found[tensor].data_ptr() % item == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES_SAVED)
def test_each_dtype_one_byte_off_its_place(tmp_path: Path, mode: Mode, dtype: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = folder / "model.safetensors"
    for spaces in range(8):
        write(path, [("U8", [3]), (dtype, [8]), ("U8", [1])], spaces, 1)
        release = release_of(folder, tmp_path / "keys")
        found = state_dict(release.verified, folder, device="cpu", mode=mode, layers=release.layers).tensors
        for name, value in load_file(path).items():
            assert raw(found[name]) == raw(value)
            assert found[name].dtype == value.dtype
        del found
