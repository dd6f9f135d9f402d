"""Proven tensors: equal to what safetensors reads, and none of them when a byte is wrong."""

from __future__ import annotations

import errno
import gc
import json
import os
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.builders_load import PIECE, Release, flip, release_of
from weightshare.errors import (
    CheckpointError,
    CorruptError,
    DeviceError,
    SafetensorsError,
    UnsupportedModelError,
    UsageError,
)
from weightshare.load import copied, loader, mapped, private, provers
from weightshare.load.loader import LoadedState, Mode, state_dict
from weightshare.load.opened import OpenFile
from weightshare.load.proof import Stretch
from weightshare.progress import Phase, Progress

MODES: list[Mode] = ["mapped", "private"]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    found: Mode = request.param
    return found


@pytest.fixture(params=["layers", "no layers"])
def layered(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "layers")


def load(release: Release, mode: Mode = "auto", *, layered: bool = True, **more: object) -> LoadedState:
    layers = release.layers if layered else {}
    return state_dict(
        release.verified,
        release.folder,
        device="cpu",
        mode=mode,
        layers=layers,
        **more,  # type: ignore[arg-type]
    )


def two_shards(folder: Path) -> Path:
    """A checkpoint of two shards, each of several pieces, and an index."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(1)
    a = {f"a.{i}": torch.randn(90, 100, generator=generator) for i in range(9)}
    b = {"b.weight": torch.randn(300, 200, generator=generator).to(torch.bfloat16), "b.bias": torch.zeros(3)}
    save_file(a, folder / "model-00001-of-00002.safetensors", metadata={"format": "pt"})
    save_file(b, folder / "model-00002-of-00002.safetensors")
    index = dict.fromkeys(a, "model-00001-of-00002.safetensors")
    index |= dict.fromkeys(b, "model-00002-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1.5}, "weight_map": index})
    )
    return folder


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return release_of(two_shards(tmp_path / "model"), tmp_path / "keys")


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert (
            found[name]
            .contiguous()
            .flatten()
            .view(torch.uint8)
            .equal(tensor.contiguous().flatten().view(torch.uint8))
        )


def test_tensors_equal_those_safetensors_reads(release: Release, mode: Mode, layered: bool) -> None:
    expected: dict[str, torch.Tensor] = {}
    for path in release.folder.glob("*.safetensors"):
        expected |= load_file(path)
    told: list[Progress] = []
    with load(release, mode, layered=layered, observe=told.append) as state:
        same(state.tensors, expected)
        assert (state.mode, state.device) == (mode, "cpu")
        assert state.bytes == sum(path.stat().st_size for path in release.folder.glob("*.safetensors"))
    assert all(progress.phase is Phase.LOADING for progress in told)
    assert told[0].done == 0
    assert told[-1].done == told[-1].total == state.bytes


def test_every_dtype_that_torch_knows(tmp_path: Path, mode: Mode) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    bits = torch.randint(0, 127, (4, 16), dtype=torch.uint8)
    dtypes = [
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32),
        *(
            torch.int64,
            torch.uint64,
            torch.float16,
            torch.bfloat16,
            torch.float32,
            torch.float64,
            torch.complex64,
        ),
        *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
        *(torch.float8_e8m0fnu, torch.float4_e2m1fn_x2),
    ]
    tensors = {
        str(dtype): (bits & 1 if dtype is torch.bool else bits).clone().view(dtype) for dtype in dtypes
    }
    tensors |= {"scalar": torch.tensor(3.5), "empty": torch.empty(0, 7), "last": torch.tensor([True])}
    save_file(tensors, folder / "model.safetensors")
    release = release_of(folder, tmp_path / "keys")
    same(load(release, mode).tensors, load_file(folder / "model.safetensors"))


def shard(tensors: dict[str, tuple[str, list[int], bytes]], header_end: bytes = b"") -> bytes:
    """A safetensors file by hand: the library will not write what these tests need."""
    table, data = {}, b""
    for name, (dtype, shape, value) in tensors.items():
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(value)]}
        data += value
    header = json.dumps(table).encode() + header_end
    return struct.pack("<Q", len(header)) + header + data


def test_misaligned_tensors_are_copied_and_right(tmp_path: Path, mode: Mode) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    values = struct.pack("<3f", 1.5, -2.0, 7.25)
    data = shard({"odd": ("U8", [1], b"\x07"), "values": ("F32", [3], values)})
    (folder / "model.safetensors").write_bytes(data)
    tensors = load(release_of(folder, tmp_path / "keys"), mode).tensors
    assert tensors["values"].tolist() == [1.5, -2.0, 7.25]
    assert tensors["values"].data_ptr() % 4 == 0


@pytest.mark.parametrize("dtype", ["F6_E2M3", "F4"])
def test_a_dtype_torch_lacks_is_named(tmp_path: Path, dtype: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(
        shard({"t": (dtype, [8, 1], bytes(8 * (6 if "6" in dtype else 4) // 8))})
    )
    with pytest.raises(UnsupportedModelError, match=dtype):
        load(release_of(folder, tmp_path / "keys"))


@pytest.mark.parametrize("where", ["length", "header", "data", "tail"])
def test_a_changed_byte_is_refused_and_its_piece_named(
    release: Release, mode: Mode, layered: bool, where: str
) -> None:
    path = release.folder / "model-00001-of-00002.safetensors"
    size = path.stat().st_size
    offset = {"length": 2, "header": 40, "data": 3 * PIECE + 17, "tail": size - 1}[where]
    flip(path, offset)
    with pytest.raises(CorruptError, match=r"model-00001-of-00002\.safetensors") as caught:
        load(release, mode, layered=layered)
    assert caught.value.exit_code == 4
    assert caught.value.facts["path"] == path.name
    assert caught.value.facts["pieces"] == ([offset // PIECE] if layered else [])


def test_all_wrong_pieces_of_all_files_are_named(release: Release, mode: Mode) -> None:
    for name, offset in (("00001", 2 * PIECE), ("00001", 4 * PIECE), ("00002", PIECE + 1)):
        flip(release.folder / f"model-{name}-of-00002.safetensors", offset)
    with pytest.raises(CorruptError, match="pieces 2, 4 of 5") as caught:
        load(release, mode)
    assert caught.value.facts["files"] == {
        "model-00001-of-00002.safetensors": [2, 4],
        "model-00002-of-00002.safetensors": [1],
    }


def test_a_false_layer_cannot_vouch_for_a_false_file(release: Release, mode: Mode) -> None:
    path = release.folder / "model-00001-of-00002.safetensors"
    root = release.entry(path.name).pieces_root
    flip(path, 8)  # the header's first brace: a layer that vouched for it would have it parsed
    forged = release_of(release.folder, release.folder.parent / "keys")
    false_root = forged.entry(path.name).pieces_root
    assert root is not None
    assert false_root is not None
    layers = {**release.layers, root: forged.layers[false_root]}
    with pytest.raises(CorruptError):
        state_dict(release.verified, release.folder, device="cpu", mode=mode, layers=layers)


@pytest.mark.parametrize("change", ["cut", "grown", "missing", "link", "pipe", "folder"])
def test_what_is_not_the_signed_file_is_refused(release: Release, mode: Mode, change: str) -> None:
    path = release.folder / "model-00002-of-00002.safetensors"
    if change == "cut":
        os.truncate(path, path.stat().st_size - PIECE)
    elif change == "grown":
        with path.open("ab") as file:
            file.write(b"\0")
    else:
        kept = path.rename(release.folder / "kept")
        if change == "link":
            path.symlink_to(kept)
        elif change == "pipe":
            os.mkfifo(path)
        elif change == "folder":
            path.mkdir()
    with pytest.raises(CorruptError) as caught:
        load(release, mode)
    assert caught.value.facts["path"] == path.name


def test_a_recorded_location_is_followed(release: Release, tmp_path: Path, mode: Mode) -> None:
    path = release.folder / "model-00002-of-00002.safetensors"
    elsewhere = path.rename(tmp_path / "blob")
    path.symlink_to(elsewhere)
    state = load(release, mode, locations={path.name: elsewhere})
    assert "b.weight" in state.tensors


def test_a_file_cut_short_while_it_is_read_is_an_error_not_a_crash(
    release: Release, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "IN_PROCESS", 0)  # so that processes prove, as they do for real shards
    monkeypatch.setattr(private, "IN_PROCESS", 0)
    monkeypatch.setattr(mapped, "take_lease", lambda file: "the test wants to write to it")
    path = release.folder / "model-00001-of-00002.safetensors"

    def cut(progress: Progress) -> None:
        if progress.done == 0:
            os.truncate(path, 100)

    with pytest.raises(CorruptError, match="changed while") as caught:
        load(release, mode, observe=cut, workers=2)
    assert caught.value.facts["path"] == path.name


def test_processes_prove_what_threads_prove(
    release: Release, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "IN_PROCESS", 0)
    monkeypatch.setattr(private, "IN_PROCESS", 0)
    started: list[int] = []
    run = provers.Provers.run

    def counted(
        self: provers.Provers, stretches: Sequence[Stretch], copy: provers.Copy | None = None
    ) -> Iterator[provers.Result]:
        started.extend(self.pids)
        return run(self, stretches, copy)

    monkeypatch.setattr(provers.Provers, "run", counted)
    monkeypatch.setattr("weightshare.load.proof.STRETCH", PIECE)
    state = load(release, mode, workers=2)
    assert set(started)
    same(
        state.tensors,
        {k: v for path in release.folder.glob("*.safetensors") for k, v in load_file(path).items()},
    )
    del state  # with its read leases, which would hold the next writer back
    gc.collect()
    for pid in set(started):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    flip(release.folder / "model-00002-of-00002.safetensors", PIECE)
    with pytest.raises(CorruptError) as caught:
        load(release, mode, workers=2)
    assert caught.value.facts["pieces"] == [1]


def test_a_proving_process_imports_nothing_from_the_working_folder(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hashlib", "mmap", "struct", "signal", "weightshare", "re", "os"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mapped, "IN_PROCESS", 0)
    assert load(release, "mapped", workers=2).tensors
    assert not (tmp_path / "ran").exists()


def test_mapped_tensors_are_views_of_the_mapping_and_writes_stay_here(release: Release) -> None:
    path = release.folder / "model-00001-of-00002.safetensors"
    before = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = load(release, "mapped")
    maps = Path("/proc/self/maps")
    if maps.exists():
        spans = [
            [int(end, 16) for end in line.split()[0].split("-")]
            for line in maps.read_text().splitlines()
            if line.endswith(str(path))
        ]
        pointer = state.tensors["a.3"].data_ptr()
        assert any(start <= pointer < end for start, end in spans)
    state.tensors["a.3"].zero_()
    assert path.read_bytes() == before


def test_tensors_outlive_the_state(release: Release, mode: Mode) -> None:
    state = load(release, mode)
    tensor = state.tensors["b.weight"]
    total = tensor.float().sum().item()
    state.close()
    del state
    gc.collect()
    assert tensor.float().sum().item() == total


def test_descriptors_are_given_back(release: Release, mode: Mode) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    load(release, mode)
    gc.collect()
    before = len(list(folder.iterdir()))
    for _ in range(3):
        load(release, mode)
    gc.collect()
    flip(release.folder / "model-00001-of-00002.safetensors", 9)
    with pytest.raises(CorruptError):
        load(release, mode)
    gc.collect()
    assert len(list(folder.iterdir())) == before


def test_slots_bring_what_reading_in_place_brings(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a device gets goes through slots of host memory; here the device is the CPU."""
    plain = load(release, "private").tensors

    def staged(files: Sequence[OpenFile], piece_length: int, workers: int, *_: str) -> copied.Copied:
        return copied.Copied(files, piece_length, workers, copied.FlatDevice("cpu", staged=True))

    monkeypatch.setattr(loader, "_holder", staged)
    monkeypatch.setattr("weightshare.load.proof.STRETCH", PIECE)
    same(load(release, "private", workers=3).tensors, plain)
    flip(release.folder / "model-00002-of-00002.safetensors", PIECE + 9)
    with pytest.raises(CorruptError) as caught:
        load(release, "private", workers=3)
    assert caught.value.facts["pieces"] == [1]


def test_a_private_copy_does_not_follow_the_file(release: Release) -> None:
    state = load(release, "private")
    kept = state.tensors["a.0"].clone()
    for path in release.folder.glob("*.safetensors"):
        path.write_bytes(bytes(path.stat().st_size))
    assert state.tensors["a.0"].equal(kept)
    state.check()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has read leases")
def test_a_lease_holds_writers_back_and_says_so(release: Release) -> None:
    state = load(release, "mapped")
    if state.notes:
        pytest.skip(f"no lease here: {state.notes[0]}")
    state.check()
    path = release.folder / "model-00001-of-00002.safetensors"
    with pytest.raises(OSError, match=os.strerror(errno.EAGAIN)) as caught:
        os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    assert caught.value.errno == errno.EAGAIN
    with pytest.raises(CheckpointError, match="opened it for writing"):
        state.check()
    state.close()
    del state
    gc.collect()
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # the lease went with the mapping


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has read leases")
def test_a_file_open_for_writing_is_loaded_with_a_note_and_watched(release: Release) -> None:
    path = release.folder / "model-00001-of-00002.safetensors"
    with path.open("r+b") as file:
        state = load(release, "mapped")
        assert "open for writing" in state.notes[0]
        assert path.name in state.notes[0]
        state.check()
        file.seek(5000)
        file.write(b"evil")
        file.flush()
        with pytest.raises(CheckpointError, match="written to"):
            state.check()


def test_a_signed_file_that_is_no_safetensors_is_refused_as_such(tmp_path: Path, mode: Mode) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for content in (b"", b"short", b"\xff" * 100, shard({"t": ("U8", [4], b"1234")})[:-1]):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(SafetensorsError):
            load(release_of(folder, tmp_path / "keys"), mode)


def test_a_header_longer_than_a_piece(tmp_path: Path, mode: Mode) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    tensors = {f"layer.{i}.weight": ("U8", [50], bytes([i % 256]) * 50) for i in range(3000)}
    (folder / "model.safetensors").write_bytes(shard(tensors))
    release = release_of(folder, tmp_path / "keys")
    assert load(release, mode).tensors["layer.2999.weight"][49] == 2999 % 256
    flip(folder / "model.safetensors", PIECE + 3)  # still inside the header
    with pytest.raises(CorruptError) as caught:
        load(release, mode)
    assert caught.value.facts["pieces"] == [1]


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 16384, 16385, 2 * PIECE])
def test_sizes_around_the_edges_of_pieces_and_blocks(tmp_path: Path, mode: Mode, size: int) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    value = os.urandom(size)
    for length in range(size - 100, size - 60):
        data = shard({"t": ("U8", [length], value[:length])})
        if len(data) == size:
            break
    assert len(data) == size
    (folder / "model.safetensors").write_bytes(data)
    for layered in (True, False):
        tensors = load(release_of(folder, tmp_path / "keys"), mode, layered=layered).tensors
        assert bytes(tensors["t"].numpy()) == data[size - len(tensors["t"]) :]


def test_index_and_shards_must_agree(tmp_path: Path) -> None:
    folder = two_shards(tmp_path / "model")
    index = folder / "model.safetensors.index.json"
    good = json.loads(index.read_text())
    cases = {
        "which is not in the release": {**good["weight_map"], "c": "model-00003-of-00002.safetensors"},
        "does not have it": {**good["weight_map"], "c": "model-00001-of-00002.safetensors"},
        "no `weight_map`": {"a": "../model.safetensors"},
    }
    for message, table in cases.items():
        index.write_text(json.dumps({"weight_map": table}))
        with pytest.raises(CheckpointError, match=message):
            load(release_of(folder, tmp_path / "keys"))
    index.unlink()
    save_file({"a.0": torch.zeros(1)}, folder / "extra.safetensors")
    with pytest.raises(CheckpointError, match=r"a\.0 is both in"):
        load(release_of(folder, tmp_path / "keys"))


def test_the_index_itself_is_proven(release: Release) -> None:
    flip(release.folder / "model.safetensors.index.json", 30)
    with pytest.raises(CorruptError, match=r"index\.json"):
        load(release)


def test_a_second_layout_of_the_same_weights_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"t": torch.ones(2)}, folder / "model.safetensors")
    save_file({"t": torch.zeros(2)}, folder / "consolidated.safetensors")
    assert load(release_of(folder, tmp_path / "keys")).tensors["t"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "what"), [("w.gguf", "GGUF"), ("pytorch_model.bin", "pickles"), ("a.txt", "no weights")]
)
def test_weights_of_another_kind_are_named(tmp_path: Path, name: str, what: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / name).write_bytes(b"x")
    with pytest.raises(UnsupportedModelError, match=what) as caught:
        load(release_of(folder, tmp_path / "keys"))
    assert caught.value.exit_code == 7


def test_devices_and_modes_that_do_not_go_together() -> None:
    with pytest.raises(UsageError):
        loader.choose("cpu", "cuda")
    with pytest.raises(UsageError):
        loader.choose("meta", "mapped")
    with pytest.raises(UsageError):
        loader.choose("cpu", "fast")
    with pytest.raises(DeviceError):
        loader.choose("gpu", "auto")
    if not torch.cuda.is_available():
        assert loader.choose("auto", "auto") == ("cpu", "mapped")
        with pytest.raises(DeviceError):
            loader.choose("cuda", "auto")


def test_the_library_does_not_import_torch_by_itself() -> None:
    code = (
        "import sys, weightshare, weightshare.load, weightshare.run, weightshare.load.loader, weightshare.load.plan;"
        "sys.exit(bool({'torch', 'transformers', 'safetensors', 'libtorrent'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
