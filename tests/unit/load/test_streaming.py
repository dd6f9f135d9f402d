"""Weights loaded while their pieces arrive: the same tensors, in any order, and nothing that is not what was signed."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.builders_load import PIECE, Release, flip, release_of, without_layers
from weightshare.content.safetensors_header import LENGTH_SIZE
from weightshare.errors import CorruptError
from weightshare.load.arrivals import Aborted, Arrivals
from weightshare.load.loader import LoadedState
from weightshare.load.plan import INDEX
from weightshare.load.streaming import StreamingLoad


@pytest.fixture(autouse=True)
def every_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightshare.load.meter._EVERY", 0.0)


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Three shards of several pieces each, and an index."""
    folder = tmp_path / "model"
    folder.mkdir()
    generator = torch.Generator().manual_seed(1)
    index: dict[str, str] = {}
    for shard in range(3):
        path = f"model-{shard + 1:05}-of-00003.safetensors"
        tensors = {
            f"layers.{shard}.{name}": torch.rand(61, 1000, generator=generator).to(dtype)
            for name, dtype in (("a", torch.float32), ("b", torch.bfloat16), ("c", torch.float16))
        }
        save_file(tensors, folder / path)
        index |= dict.fromkeys(tensors, path)
    (folder / INDEX).write_text(json.dumps({"weight_map": index}))
    return release_of(folder, tmp_path / "keys")


class Arriving:
    """A load in a thread of its own, to which pieces are told one by one."""

    def __init__(self, release: Release) -> None:
        files = release.verified.manifest.files
        self.sizes = {entry.path: entry.size for entry in files}
        self.arrivals = Arrivals(self.sizes, PIECE)
        self.early: list[Mapping[str, torch.Tensor]] = []
        self.proven: list[int] = []
        self.state: LoadedState | None = None
        self.error: BaseException | None = None
        self._release = release
        self._stirred = threading.Condition()
        self._load = StreamingLoad(
            release.verified,
            self.arrivals,
            {path: release.folder / path for path in self.sizes},
            layers=release.layers,
            device="cpu",
            workers=1,
            observe=lambda progress: self._tell(lambda: self.proven.append(progress.done)),
            early=lambda tensors: self._tell(lambda: self.early.append(tensors)),
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.state = self._load.run()
        except BaseException as error:
            self.error = error
        self._tell(lambda: None)

    def _tell(self, note: Callable[[], None]) -> None:
        with self._stirred:
            note()
            self._stirred.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self._stirred:
            assert self._stirred.wait_for(lambda: condition() or self.error is not None, timeout=30)
        if self.error is not None:
            raise self.error

    def pieces(self) -> list[tuple[str, int]]:
        return [(path, piece) for path, size in self.sizes.items() for piece in range(-(-size // PIECE))]

    def tell(self, *pieces: tuple[str, int], proven: bool = False) -> None:
        for path, piece in pieces:
            self.arrivals.piece(path, piece, proven=proven)

    def end(self) -> LoadedState:
        self.arrivals.end(self._release.folder)
        return self.result()

    def result(self) -> LoadedState:
        self._thread.join(30)
        if self.error is not None:
            raise self.error
        assert self.state is not None
        return self.state


def expected(release: Release) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for path in sorted(release.folder.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def assert_same(state: LoadedState, release: Release) -> None:
    wanted = expected(release)
    assert state.tensors.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert state.tensors[name].dtype == tensor.dtype
        assert state.tensors[name].equal(tensor)


@pytest.mark.parametrize("known", ["layers", "no layers"])
@pytest.mark.parametrize("seed", range(4))
def test_in_whatever_order_pieces_come_the_tensors_are_those_of_safetensors(
    release: Release, seed: int, known: str
) -> None:
    load = Arriving(release if known == "layers" else without_layers(release))
    pieces = load.pieces()
    random.Random(seed).shuffle(pieces)
    for piece in pieces:
        load.tell(piece)
    state = load.result()  # the end of the fetch need not come
    assert_same(state, release)
    assert (state.mode, state.device) == ("private", "cpu")
    assert state.bytes == sum(size for path, size in load.sizes.items() if path != INDEX)


def test_a_piece_is_loaded_when_it_is_told_and_not_when_all_are(release: Release) -> None:
    load = Arriving(release)
    pieces = load.pieces()
    last = pieces.pop(pieces.index(("model-00003-of-00003.safetensors", 3)))
    load.tell(*pieces)
    total = sum(size for path, size in load.sizes.items() if path != INDEX)
    load.until(lambda: total - PIECE in load.proven)
    assert load.state is None
    load.tell(last)
    assert_same(load.result(), release)


def test_where_the_weights_will_be_is_known_before_they_are_there(release: Release) -> None:
    load = Arriving(release)
    shards = [path for path in load.sizes if path != INDEX]
    load.tell((INDEX, 0), *((path, 0) for path in shards))
    load.until(lambda: bool(load.early))
    early = load.early[0]
    assert early.keys() == expected(release).keys()
    assert not early["layers.2.c"].any()  # no piece of it was told: zeros, and nothing that lay there before
    load.tell(*(piece for piece in load.pieces() if piece[1]))
    state = load.result()
    assert {n: t.data_ptr() for n, t in early.items()} == {n: t.data_ptr() for n, t in state.tensors.items()}


def test_a_wrong_header_is_never_parsed(release: Release) -> None:
    path = "model-00001-of-00003.safetensors"
    flip(release.folder / path, LENGTH_SIZE - 1)  # it would be a petabyte long
    load = Arriving(release)
    load.tell(*load.pieces())
    with pytest.raises(CorruptError) as caught:
        load.end()
    assert (caught.value.facts["path"], caught.value.facts["pieces"]) == (path, [0])
    assert load.early == []


@pytest.mark.parametrize("known", ["layers", "no layers"])
def test_what_is_healed_before_it_is_proven_is_loaded(release: Release, known: str) -> None:
    """Another program writes where the fetch wrote; the fetch reads it back, and brings the piece anew."""
    path = "model-00002-of-00003.safetensors"
    flip(release.folder / path, 2 * PIECE + 5)
    load = Arriving(release if known == "layers" else without_layers(release))
    load.tell(*load.pieces())
    total = sum(size for name, size in load.sizes.items() if name != INDEX)
    load.until(lambda: total in load.proven)  # all of it was read, the wrong piece too
    assert load.state is None
    flip(release.folder / path, 2 * PIECE + 5)
    load.tell(*(piece for piece in load.pieces() if piece[0] == path), proven=True)
    assert_same(load.result(), release)


def test_what_stays_wrong_is_refused_with_its_piece(release: Release) -> None:
    path = "model-00002-of-00003.safetensors"
    flip(release.folder / path, 2 * PIECE + 5)
    load = Arriving(release)
    load.tell(*load.pieces())
    load.tell(*load.pieces(), proven=True)  # whatever the fetch says
    with pytest.raises(CorruptError) as caught:
        load.end()
    assert (caught.value.facts["path"], caught.value.facts["pieces"]) == (path, [2])
    assert load.state is None


def test_a_file_cut_short_meanwhile_is_refused(release: Release) -> None:
    path = release.folder / "model-00003-of-00003.safetensors"
    load = Arriving(release)
    load.tell(*(piece for piece in load.pieces() if piece != (path.name, 4)))
    total = sum(size for name, size in load.sizes.items() if name != INDEX)
    load.until(lambda: total - PIECE in load.proven)
    with path.open("r+b") as file:
        file.truncate(4 * PIECE + 10)
    load.tell((path.name, 4))
    with pytest.raises(CorruptError, match="00003"):
        load.end()


def test_the_bytes_that_were_proven_are_those_that_are_held(release: Release) -> None:
    """After a piece was loaded nobody looks at the file again."""
    load = Arriving(release)
    last = ("model-00003-of-00003.safetensors", 0)
    load.tell(*(piece for piece in load.pieces() if piece != last))
    total = sum(size for name, size in load.sizes.items() if name != INDEX)
    load.until(lambda: total - PIECE in load.proven)
    wanted = {name: tensor.clone() for name, tensor in expected(release).items()}
    for path in load.sizes:
        flip(release.folder / path, 0 if path == INDEX else PIECE + 1)
    load.tell(last)
    state = load.result()
    assert all(state.tensors[name].equal(tensor) for name, tensor in wanted.items())


def test_an_abort_ends_it(release: Release) -> None:
    load = Arriving(release)
    load.tell(*load.pieces()[:4])
    load.arrivals.abort()
    with pytest.raises(Aborted):
        load.result()
