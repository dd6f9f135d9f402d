"""What needs a CUDA device: the same proof and the same model, with the weights hashed and held on the device."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.builders_load import PIECE, Release, flip, release_of
from weightshare.errors import CorruptError, DeviceError
from weightshare.load import cuda
from weightshare.load.cuda_device import CudaDevice, CudaHashingDevice
from weightshare.load.loader import state_dict
from weightshare.load.piece_hashes import piece_hashes
from weightshare.load.ring import Ring
from weightshare.load.sha256_cuda import kernel_for, missing_package
from weightshare.units import BLOCK, MIB

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.skipif(missing_package() is not None, reason=f"needs the package {missing_package()}"),
]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    folder = tmp_path / "model"
    folder.mkdir()
    tensors = {f"t.{i}": torch.randn(300, 101 + i).to(torch.bfloat16) for i in range(8)}
    save_file({**tensors, "odd": torch.ones(3, dtype=torch.uint8)}, folder / "model.safetensors")
    return release_of(folder, tmp_path / "keys")


@pytest.mark.parametrize("offset", [0, 8])
def test_the_kernel_is_sha256(offset: int) -> None:
    launch = kernel_for(0).on(torch.cuda.current_stream().cuda_stream)
    for length in [*range(1, 150), *range(BLOCK - 70, BLOCK + 1)]:
        data = Random(length).randbytes(length)
        memory = torch.zeros(offset + length, dtype=torch.uint8, device="cuda")
        memory[offset:] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        out = torch.full((96,), 0xA5, dtype=torch.uint8, device="cuda")
        launch(memory.data_ptr() + offset, length, BLOCK, 2, out.data_ptr())
        found = out.cpu().numpy().tobytes()
        assert found == hashlib.sha256(data).digest() + bytes(32) + b"\xa5" * 32, length


@pytest.mark.parametrize("width", [1, 4, 64])
@pytest.mark.parametrize("length", [BLOCK, 70 * BLOCK - 3, 12 * MIB + 5])
def test_piece_hashes_are_those_of_the_proofs(length: int, width: int) -> None:
    data = bytearray(Random(1).randbytes(length))
    pieces = -(-length // (width * BLOCK))
    device = CudaHashingDevice("cuda:0")
    try:
        flat, slot = device.allocate(length), device.slot(length)
        slot[:] = torch.frombuffer(data, dtype=torch.uint8)
        device.copy(flat, 0, slot)
        found = device.piece_hashes(flat, 0, length, pieces, width)()
    finally:
        device.close()
    assert found == piece_hashes(memoryview(data), width * BLOCK, width)


def test_slots_are_pinned_and_come_back_only_after_their_copies() -> None:
    device = CudaDevice("cuda:0")
    size = 8 * MIB
    flat = device.allocate(64 * size)
    ring = Ring(device, size, 3)
    for number in range(64):
        slot = ring.take()
        assert slot.is_pinned()
        slot.fill_(number)
        ring.give(slot, device.copy(flat, number * size, slot))
    ring.drain()
    assert flat.view(64, size).amin(1).tolist() == flat.view(64, size).amax(1).tolist() == [*range(64)]
    device.close()


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
    assert min(tensor.data_ptr() for tensor in state.tensors.values()) % 256 == 0


def test_private_hashes_on_the_processor_and_brings_the_same(release: Release) -> None:
    state = state_dict(release.verified, release.folder, device="cuda", mode="private", layers=release.layers)
    assert (state.mode, state.notes) == ("private", ())
    for name, tensor in load_file(release.folder / "model.safetensors").items():
        assert state.tensors[name].cpu().equal(tensor)


@pytest.mark.parametrize("spans", [PIECE, 128 * MIB])
def test_a_changed_byte_is_refused(release: Release, spans: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "SPAN", spans)
    path = release.folder / "model.safetensors"
    for place in (0, 2 * PIECE + 1, path.stat().st_size - 1):
        flip(path, place)
        with pytest.raises(CorruptError) as caught:
            state_dict(release.verified, release.folder, device="cuda", layers=release.layers)
        assert caught.value.facts["pieces"] == [place // PIECE]
        flip(path, place)


def test_what_does_not_fit_is_refused_before_anything_is_read() -> None:
    with pytest.raises(DeviceError, match="no room"):
        CudaDevice("cuda:0").require(1 << 50)


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
