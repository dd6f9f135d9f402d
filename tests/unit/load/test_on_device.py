"""The mode that proves on the device, run with a stand-in whose copies are as late as the rules allow."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tests.builders_load import PIECE, Release, flip, release_of, without_layers
from tests.late_device import LateDevice
from weightshare.errors import CorruptError, DeviceError, MissingExtraError
from weightshare.load import cuda, loader, proof, staged
from weightshare.load.loader import LoadedState, state_dict
from weightshare.load.proof import Stretch
from weightshare.load.ring import Ring
from weightshare.units import BLOCK

Load = Callable[..., LoadedState]
SHARD = "model-00002-of-00003.safetensors"


@pytest.fixture(params=["cuda", "private"])
def load(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load by way of a device: one that hashes, and one for which the processor does."""
    mode: str = request.param

    def run(release: Release, device: LateDevice | None = None, **more: Any) -> LoadedState:
        late = device or LateDevice()
        monkeypatch.setattr(loader, "choose", lambda *_: ("late", mode))
        monkeypatch.setattr("weightshare.load.device.open_device", lambda _: late)
        monkeypatch.setattr("weightshare.load.device.open_hashing_device", lambda _: late)
        arguments = {"layers": release.layers, "workers": 3, **more}
        return state_dict(release.verified, release.folder, device="late", **arguments)

    # Many reads and many spans of a small checkpoint, and slots that do not end where pieces do.
    monkeypatch.setattr(cuda, "SLOT", PIECE - 999)
    monkeypatch.setattr(cuda, "SPAN", 3 * PIECE)
    monkeypatch.setattr(proof, "STRETCH", PIECE)
    monkeypatch.setattr(staged, "STRETCH", PIECE)
    return run


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return three_shards(tmp_path_factory.mktemp("release"))


def three_shards(base: Path) -> Release:
    """Shards of many pieces, of a few, and of less than one; the last with a tensor on an odd byte."""
    folder = base / "model"
    folder.mkdir()
    generator = torch.Generator().manual_seed(7)
    shards = [
        {f"a.{i}": torch.randn(90, 100, generator=generator).to(torch.bfloat16) for i in range(60)},
        {"b.weight": torch.randn(150, 333, generator=generator), "b.scale": torch.ones(7)},
        {"c.odd": torch.ones(3, dtype=torch.uint8), "c.bias": torch.arange(50, dtype=torch.float16)},
    ]
    index: dict[str, str] = {}
    for number, tensors in enumerate(shards, 1):
        name = f"model-{number:05}-of-00003.safetensors"
        save_file(tensors, folder / name)
        index |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return release_of(folder, base / "keys")


def same_as_files(state: LoadedState, folder: Path) -> None:
    expected: dict[str, torch.Tensor] = {}
    for path in folder.glob("*.safetensors"):
        expected |= load_file(path)
    assert state.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert state.tensors[name].dtype == tensor.dtype
        assert torch.equal(state.tensors[name], tensor), name


@pytest.mark.parametrize("workers", [1, 3, 8])
@pytest.mark.parametrize("layered", [True, False])
def test_tensors_equal_those_safetensors_reads(
    release: Release, load: Load, workers: int, layered: bool
) -> None:
    device = LateDevice()
    state = load(release if layered else without_layers(release), device, workers=workers)
    same_as_files(state, release.folder)
    assert state.bytes == sum(path.stat().st_size for path in release.folder.glob("*.safetensors"))
    assert device.closed
    assert device.slots < device.begun  # slots were used again


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_checkpoints(
    load: Load, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    base = tmp_path_factory.mktemp("random")
    (folder := base / "model").mkdir()
    random = Random(data.draw(st.integers(0, 2**32)))
    dtypes = [torch.uint8, torch.int8, torch.bfloat16, torch.float16, torch.float32, torch.int64]
    dtypes += [torch.float8_e4m3fn, torch.float8_e5m2]
    tensors: dict[str, torch.Tensor] = {}
    for number in range(random.randrange(1, 12)):
        dtype = random.choice(dtypes)
        shape = [random.choice([0, 1, 3, 17, 64, 300]) for _ in range(random.randrange(3))]
        count = dtype.itemsize
        for length in shape:
            count *= length
        raw = torch.frombuffer(bytearray(random.randbytes(count) or b"\0"), dtype=torch.uint8)[:count]
        tensors[f"t.{number}"] = raw.view(dtype).view(shape) if count else torch.empty(shape, dtype=dtype)
    save_file(tensors, folder / "model.safetensors", metadata={"pad": "x" * random.randrange(300)})
    piece_length = BLOCK << data.draw(st.integers(0, 5))
    release = release_of(folder, base / "keys", piece_length=piece_length)
    state = load(release, workers=data.draw(st.integers(1, 4)))
    for name, tensor in tensors.items():
        found = state.tensors[name]
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        assert found.flatten().view(torch.uint8).equal(tensor.flatten().view(torch.uint8))


def test_a_flipped_byte_anywhere_is_named(tmp_path: Path, load: Load) -> None:
    release = three_shards(tmp_path)
    random = Random(3)
    for path in sorted(release.folder.glob("*.safetensors")):
        size = path.stat().st_size
        for place in (0, 8, size - 1, *random.sample(range(size), 12)):
            flip(path, place)
            with pytest.raises(CorruptError) as caught:
                load(release)
            assert caught.value.facts["path"] == path.name
            assert caught.value.facts["pieces"] == [place // PIECE]
            flip(path, place)
    same_as_files(load(release), release.folder)


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path, load: Load, after: int) -> None:
    release = three_shards(tmp_path)

    def cut(count: int) -> None:
        if count == after:
            os.truncate(release.folder / "model-00001-of-00003.safetensors", 3 * BLOCK)

    device = LateDevice(before_copy=cut)
    with pytest.raises(CorruptError) as caught:
        load(release, device)
    assert caught.value.facts["path"] == "model-00001-of-00003.safetensors"
    assert device.closed


def test_what_is_written_to_the_file_after_it_was_read_does_not_matter(tmp_path: Path, load: Load) -> None:
    release = three_shards(tmp_path)
    expected = {name: tensor.clone() for name, tensor in load_file(release.folder / SHARD).items()}
    state = load(release)
    (release.folder / SHARD).write_bytes(b"other")
    state.check()
    for name, tensor in expected.items():
        assert state.tensors[name].equal(tensor)


def test_a_device_that_is_too_small_is_refused_before_anything_is_read(release: Release, load: Load) -> None:
    device = LateDevice(room=1000)
    with pytest.raises(DeviceError, match="no room") as caught:
        load(release, device)
    assert caught.value.exit_code == 7
    assert (device.slots, device.begun) == (0, 0)


def test_slots_are_given_back_when_the_load_is_over(release: Release, load: Load) -> None:
    device = LateDevice()
    state = load(release, device)
    gc.collect()
    assert [slot() for slot in device.made] == [None] * device.slots
    same_as_files(state, release.folder)


def test_data_is_aligned_as_tensors_of_their_own_would_be(release: Release, load: Load) -> None:
    state = load(release)
    if state.mode == "cuda":
        for name in ("a.0", "b.scale"):  # the first of their shards
            # The stand-in's buffers start on a multiple of 64, a GPU's of 512.
            assert state.tensors[name].data_ptr() % 64 == 0


def test_descriptors_are_given_back_whatever_happens(release: Release, load: Load) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    load(release)
    before = len(list(folder.iterdir()))
    load(release)
    with pytest.raises(DeviceError):
        load(release, LateDevice(room=1))
    assert len(list(folder.iterdir())) == before


def test_a_kernel_that_fails_ends_the_load(
    release: Release, load: Load, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["load"] == "private":
        pytest.skip("there the processor hashes")

    def fail() -> None:
        raise DeviceError("The GPU cannot hash: it is broken.", hint="Buy another.", device="late")

    device = LateDevice(hashing=fail)
    with pytest.raises(DeviceError, match="broken"):
        load(release, device)
    assert device.closed


def test_spans_are_whole_pieces_of_one_shard(release: Release, load: Load) -> None:
    device = LateDevice()
    if load(release, device).mode == "cuda":
        assert all(pieces <= 3 and length <= 3 * PIECE for pieces, length in device.hashed)
        assert max(pieces for pieces, _ in device.hashed) == 3
        assert sum(length for _, length in device.hashed) == sum(
            path.stat().st_size for path in release.folder.glob("*.safetensors")
        )


def test_a_gap_or_another_shard_begins_a_new_span() -> None:
    def stretch(shard: int, piece: int) -> Stretch:
        return Stretch(shard, piece, piece * PIECE, PIECE, PIECE // BLOCK)

    stretches = [stretch(0, 0), stretch(0, 1), stretch(0, 3), stretch(1, 4), stretch(1, 5)]
    spans = cuda.spans_of(stretches)
    assert [[(s.shard, s.first) for s in span.stretches] for span in spans] == [
        [(0, 0), (0, 1)],
        [(0, 3)],
        [(1, 4), (1, 5)],
    ]
    assert [(span.offset, span.length) for span in spans] == [
        (0, 2 * PIECE),
        (3 * PIECE, PIECE),
        (4 * PIECE, 2 * PIECE),
    ]


def test_a_slot_goes_out_again_only_after_its_copy() -> None:
    device = LateDevice()
    flat = device.allocate(5)
    ring = Ring(device, 1, 2)
    for number in range(5):
        slot = ring.take()
        slot.fill_(number)
        ring.give(slot, device.copy(flat, number, slot))
    assert device.slots == 2
    ring.drain()
    assert flat.tolist() == [0, 1, 2, 3, 4]


def test_a_slot_whose_copy_has_ended_is_taken_before_a_new_one_is_made() -> None:
    device = LateDevice()
    flat = device.allocate(5)
    ring = Ring(device, 1, 4)
    for number in range(5):
        slot = ring.take()
        ticket = device.copy(flat, number, slot)
        device.wait(ticket)
        ring.give(slot, ticket)
    assert device.slots == 1


def test_a_mode_asked_for_by_name_is_never_replaced() -> None:
    assert loader._mode_on_cuda("cuda:0", "auto", None) == "cuda"
    assert loader._mode_on_cuda("cuda:0", "cuda", None) == "cuda"
    assert loader._mode_on_cuda("cuda:0", "auto", "cuda-bindings") == "private"
    with pytest.raises(MissingExtraError) as caught:
        loader._mode_on_cuda("cuda:0", "cuda", "cuda-bindings")
    assert caught.value.facts["package"] == "cuda-bindings"
    assert "weightshare[cuda]" in str(caught.value.hint)
    with pytest.raises(DeviceError, match="ROCm"):
        loader._mode_on_cuda("cuda:0", "cuda", loader._ROCM)


def test_hashing_on_the_processor_is_noted_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_lack", lambda: "cuda-bindings")
    (note,) = loader._slower("cuda:0")
    assert "cuda-bindings is not installed" in note
    assert loader._slower("mps") == []
    monkeypatch.setattr(loader, "_lack", lambda: None)
    assert loader._slower("cuda:0") == []
