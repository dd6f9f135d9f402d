"""`.pth` files: tensors are views of the proven bytes, and nothing a pickle says is believed or run."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders_load import PIECE, Release, flip, release_of
from weightshare.errors import CheckpointError, CorruptError, PickleError, UnsupportedModelError
from weightshare.load.loader import LoadedState, Mode, state_dict
from weightshare.load.pickles import read_pickled

NAME = "consolidated.00.pth"


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    found = {
        "a": torch.randn(300, 100, generator=generator).bfloat16(),
        "b": torch.randn(200, 100, generator=generator).half(),
        "c": torch.randn(50, 100, generator=generator),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
    }
    found["part of c"] = found["c"][7:11]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "model"
    target.mkdir()
    (target / "params.json").write_text("{}")
    torch.save(tensors(), target / NAME)
    return target


def load(release: Release, mode: Mode = "auto", *, allow_pickle: bool = True) -> LoadedState:
    return state_dict(
        release.verified,
        release.folder,
        device="cpu",
        mode=mode,
        layers=release.layers,
        allow_pickle=allow_pickle,
    )


def bytes_of(value: object) -> torch.Tensor:
    stream = io.BytesIO()
    torch.save(value, stream)
    return torch.frombuffer(bytearray(stream.getvalue()), dtype=torch.uint8)


@pytest.mark.parametrize("mode", ["mapped", "private"])
def test_tensors_are_those_that_were_saved_and_share_the_proven_bytes(
    folder: Path, tmp_path: Path, mode: Mode
) -> None:
    state = load(release_of(folder, tmp_path / "keys"), mode)
    expected = torch.load(folder / NAME, mmap=True, weights_only=True)
    assert state.tensors.keys() == expected.keys() == tensors().keys()
    for name, tensor in expected.items():
        assert state.tensors[name].dtype == tensor.dtype
        assert state.tensors[name].equal(tensor)
    storages = {state.tensors[name].untyped_storage().data_ptr() for name in ("a", "b", "c", "part of c")}
    assert len(storages) == 1  # one buffer, or one mapping, a file
    assert state.bytes == (folder / NAME).stat().st_size


def test_parts_are_joined_and_a_tensor_in_two_of_them_is_refused(folder: Path, tmp_path: Path) -> None:
    torch.save({"d": torch.ones(3)}, folder / "consolidated.01.pth")
    assert load(release_of(folder, tmp_path / "keys")).tensors.keys() == {*tensors(), "d"}
    torch.save({"a": torch.ones(3)}, folder / "consolidated.01.pth")
    with pytest.raises(CheckpointError, match=r"a is both in consolidated\.00\.pth and in"):
        load(release_of(folder, tmp_path / "keys"))


def test_pickles_are_loaded_only_on_request(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PickleError, match=NAME) as caught:
        load(release_of(folder, tmp_path / "keys"), allow_pickle=False)
    assert caught.value.exit_code == 8
    assert "--allow-pickle" in caught.value.hint


@pytest.mark.parametrize("mode", ["mapped", "private"])
@pytest.mark.parametrize("offset", [0, 100, PIECE + 7, -5])
def test_a_changed_byte_is_refused_before_the_pickle_is_read(
    folder: Path, tmp_path: Path, mode: Mode, offset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = release_of(folder, tmp_path / "keys")
    size = (folder / NAME).stat().st_size
    flip(folder / NAME, offset % size)

    def read(*_: object, **__: object) -> None:
        raise AssertionError("the pickle is read")

    monkeypatch.setattr(torch, "load", read)
    with pytest.raises(CorruptError) as caught:
        load(release, mode)
    assert caught.value.facts["pieces"] == [offset % size // PIECE]


class Evil:
    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._target),)


def test_what_a_pickle_would_run_is_not_run(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    torch.save({"a": torch.ones(2), "b": Evil(ran)}, folder / NAME)
    with pytest.raises(UnsupportedModelError, match="more than tensors"):
        load(release_of(folder, tmp_path / "keys"))
    torch.save({"b": Evil(ran)}, folder / NAME, _use_new_zipfile_serialization=False)
    with pytest.raises(UnsupportedModelError, match="zip"):
        load(release_of(folder, tmp_path / "keys"))
    (folder / NAME).write_bytes(pickle.dumps({"b": Evil(ran)}))
    with pytest.raises(UnsupportedModelError, match="zip"):
        load(release_of(folder, tmp_path / "keys"))
    assert not ran.exists()


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ([torch.ones(2)], "no table"),
        ({}, "no table"),
        ({"a": {"b": torch.ones(2)}}, "no tensor"),
        ({"a": 3}, "no tensor"),
        ({7: torch.ones(2)}, "no tensor"),
        ({"a": torch.ones(3, 4).T}, "not plain"),
        ({"a": torch.ones(3, 4).to_sparse()}, "not plain"),
        ({"a": torch.nn.Parameter(torch.ones(2))}, "no tensor"),
    ],
)
def test_only_tables_of_plain_tensors_are_read(value: object, what: str) -> None:
    with pytest.raises(UnsupportedModelError, match=what):
        read_pickled(bytes_of(value), "x.pth")


def rewritten(flat: torch.Tensor, change: Any) -> torch.Tensor:
    """The same zip, its records changed by `change(name, data) -> (data, how)`."""
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(flat.numpy().tobytes())) as old,
        zipfile.ZipFile(target, "w") as new,
    ):
        for name in old.namelist():
            data, how = change(name, old.read(name))
            new.writestr(name, data, how)
    return torch.frombuffer(bytearray(target.getvalue()), dtype=torch.uint8)


def test_a_zip_that_is_not_what_its_pickle_says_is_refused() -> None:
    flat = bytes_of({"a": torch.arange(1000)})
    stored = zipfile.ZIP_STORED
    with pytest.raises(UnsupportedModelError, match="compressed"):
        read_pickled(rewritten(flat, lambda name, data: (data, zipfile.ZIP_DEFLATED)), "x.pth")
    with pytest.raises(UnsupportedModelError, match="big-endian"):
        read_pickled(
            rewritten(flat, lambda n, data: (b"big" if n.endswith("byteorder") else data, stored)), "x.pth"
        )
    short = rewritten(flat, lambda n, data: (data[:100] if n.endswith("data/0") else data, stored))
    with pytest.raises((CheckpointError, UnsupportedModelError), match=r"x\.pth"):
        read_pickled(short, "x.pth")
    with pytest.raises(UnsupportedModelError):
        read_pickled(flat[:-30], "x.pth")
    with pytest.raises(UnsupportedModelError):
        read_pickled(flat[:0], "x.pth")


def test_no_bit_of_a_signed_file_makes_a_tensor_of_other_bytes() -> None:
    """Whatever a publisher signs: an error of ours, or tensors that lie in records of the file."""
    flat = bytes_of({"a": torch.arange(64)})
    for offset in range(0, flat.numel(), 3):
        changed = flat.clone()
        changed[offset] ^= 0x41
        try:
            header = read_pickled(changed, "x.pth")
        except (UnsupportedModelError, CheckpointError):
            continue
        for info in header.tensors:
            assert 0 <= info.start <= info.end <= flat.numel()


def test_the_index_of_a_native_checkpoint_decides(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = tmp_path / "model"
    folder.mkdir()
    for i in (1, 2):
        save_file({f"t{i}": torch.ones(3)}, folder / f"consolidated-0000{i}-of-00002.safetensors")
    index = {f"t{i}": f"consolidated-0000{i}-of-00002.safetensors" for i in (1, 2)}
    (folder / "consolidated.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (folder / "params.json").write_text("{}")
    assert load(release_of(folder, tmp_path / "keys")).tensors.keys() == {"t1", "t2"}
    index["t3"] = index["t1"]
    (folder / "consolidated.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    with pytest.raises(CheckpointError, match="t3"):
        load(release_of(folder, tmp_path / "keys"))
