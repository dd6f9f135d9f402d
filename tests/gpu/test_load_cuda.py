"""What needs a CUDA device: the same proof and the same model, with the weights on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.builders_load import PIECE, Release, flip, release_of
from weightshare.errors import CorruptError, DeviceError
from weightshare.load.copied import FlatDevice
from weightshare.load.loader import state_dict

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    folder = tmp_path / "model"
    folder.mkdir()
    tensors = {f"t.{i}": torch.randn(300, 101 + i).to(torch.bfloat16) for i in range(8)}
    save_file({**tensors, "odd": torch.ones(3, dtype=torch.uint8)}, folder / "model.safetensors")
    return release_of(folder, tmp_path / "keys")


def test_auto_is_the_device_and_its_tensors_are_right(release: Release) -> None:
    state = state_dict(release.verified, release.folder, layers=release.layers)
    assert (state.mode, state.device) == ("cuda", "cuda:0")
    expected = load_file(release.folder / "model.safetensors")
    assert state.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert state.tensors[name].is_cuda
        assert state.tensors[name].cpu().equal(tensor)
    storages = {tensor.untyped_storage().data_ptr() for tensor in state.tensors.values()}
    assert len(storages) == 1  # one flat buffer, tensors are views


def test_a_changed_byte_is_refused(release: Release) -> None:
    flip(release.folder / "model.safetensors", 2 * PIECE + 1)
    with pytest.raises(CorruptError) as caught:
        state_dict(release.verified, release.folder, device="cuda", layers=release.layers)
    assert caught.value.facts["pieces"] == [2]


def test_what_does_not_fit_is_refused_before_anything_is_read() -> None:
    with pytest.raises(DeviceError, match="no room"):
        FlatDevice("cuda:0").require(1 << 50)


@pytest.mark.model
def test_a_model_answers_on_the_device_from_our_buffers(smollm2: Path, tmp_path: Path) -> None:
    from weightshare.run import transformers_runner

    release = release_of(smollm2, tmp_path / "keys", piece_length=1 << 20)
    before = torch.cuda.memory_allocated()
    runner: Any = transformers_runner.load(release.verified, smollm2, device="cuda", layers=release.layers)
    used = torch.cuda.memory_allocated() - before
    assert used < 1.1 * runner.state.bytes  # the weights are there once
    assert all(tensor.is_cuda for tensor in (*runner.model.parameters(), *runner.model.buffers()))
    assert "Paris" in runner.generate("What is the capital of France?", max_new_tokens=16).text
