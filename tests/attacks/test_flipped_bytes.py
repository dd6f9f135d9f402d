"""A thousand bytes of a checkpoint, each changed by itself: refused a thousand times, with the right piece named.

What the mapped mode cannot see, and no test can show: a page that was proven, that the system dropped for want of
memory, and that a failing disk gives back otherwise when it is touched again. Nothing was written, so neither the
read lease nor the file's times tell of it. The private mode has no such page.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.builders_load import Release, release_of
from weightshare.content.safetensors_header import Header, read_header
from weightshare.errors import CheckpointError, CorruptError, IntegrityError
from weightshare.load import mapped, private
from weightshare.load.loader import Mode, state_dict
from weightshare.progress import Progress

PIECE = 16 * 1024
PLACES = 1000
MODES: list[Mode] = ["mapped", "private"]
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has read leases")


def write_shard(path: Path, number: int, generator: random.Random) -> None:
    """Tensors of odd lengths and alignments, a header with spaces behind it, and a short last piece."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for i in range(36):
        dtype, item = generator.choice([("BF16", 2), ("F32", 4), ("U8", 1), ("F8_E4M3", 1)])
        items = generator.choice([0, 1, 5, 4099, 8000, 20000 // item])
        begin = len(data)
        data += generator.randbytes(items * item)
        table[f"s{number}.t{i}"] = {"dtype": dtype, "shape": [items], "data_offsets": [begin, len(data)]}
    header = json.dumps(table).encode() + b" " * (100 + number)
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    work = tmp_path_factory.mktemp("flipped")
    folder = work / "model"
    folder.mkdir()
    generator = random.Random(20)
    for number in range(4):
        write_shard(folder / f"model-{number}.safetensors", number, generator)
    return release_of(folder, work / "keys", piece_length=PIECE)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    found: Mode = request.param
    return found


def shards(release: Release) -> list[Path]:
    return sorted(release.folder.glob("*.safetensors"))


def places(release: Release, count: int) -> Iterator[tuple[Path, Header, int]]:
    """Random places in turn: header length, header, the spaces behind it, tensors, their edges, the file's tail."""
    generator = random.Random(1000)
    known = [(path, read_header(path, path.name), path.stat().st_size) for path in shards(release)]
    for turn in range(count):
        path, header, size = generator.choice(known)
        tensor = generator.choice([tensor for tensor in header.tensors if tensor.size])
        spaces = generator.randrange(header.length - 100, header.length)
        yield (
            path,
            header,
            (
                generator.randrange(8),
                generator.randrange(8, header.length - 100),
                spaces,
                generator.randrange(header.length, size),
                tensor.start,
                tensor.end - 1,
                size - 1 - generator.randrange(size % PIECE or PIECE),
                generator.randrange(size),
            )[turn % 8],
        )


def change(path: Path, offset: int, by: int) -> None:
    """Change one byte in place. A load that still held its lease would make this fail, and not wait."""
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        byte = os.pread(fd, 1, offset)[0]
        os.pwrite(fd, bytes([byte ^ by]), offset)
    finally:
        os.close(fd)


def refusal(release: Release, mode: Mode, **more: object) -> tuple[str, dict[str, object]]:
    """The message and the facts of a refused load; the error itself would keep its frames, and they the files."""
    try:
        load(release, mode, **more)
    except CorruptError as error:
        return error.message, dict(error.facts)
    pytest.fail("the load was not refused")


def load(release: Release, mode: Mode, **more: object) -> dict[str, torch.Tensor]:
    arguments: dict[str, object] = {"device": "cpu", "mode": mode, "layers": release.layers, **more}
    return state_dict(release.verified, release.folder, **arguments).tensors  # type: ignore[arg-type]


def same(found: dict[str, torch.Tensor], release: Release) -> None:
    for path in shards(release):
        for name, expected in load_file(path).items():
            assert bytes(found[name].view(torch.uint8).numpy()) == bytes(expected.view(torch.uint8).numpy())


def expect_refusals(release: Release, mode: Mode, count: int, **more: object) -> None:
    generator = random.Random(7)
    seen: set[tuple[str, int]] = set()
    for path, header, offset in places(release, count):
        by = generator.randrange(1, 256)
        change(path, offset, by)
        message, facts = refusal(release, mode, **more)
        change(path, offset, by)
        piece = offset // PIECE
        assert (facts["path"], facts["pieces"]) == (path.name, [piece]), offset
        assert facts["files"] == {path.name: [piece]}
        inside = [
            tensor.name
            for tensor in header.tensors
            if tensor.size and tensor.start < (piece + 1) * PIECE and tensor.end > piece * PIECE
        ]
        unknown = piece * PIECE < header.length  # a header that is not proven says nothing
        assert facts["tensors"] == ([] if unknown else inside)
        assert f"piece {piece} of" in message
        assert unknown or f"in the tensor {inside[0]}" in message
        seen.add((path.name, piece))
    pieces = sum(-(-path.stat().st_size // PIECE) for path in shards(release))
    assert pieces > 40
    assert len(seen) >= min(pieces, count // 4)  # all over the files
    same(load(release, mode), release)


def test_a_thousand_flipped_bytes(release: Release, mode: Mode) -> None:
    expect_refusals(release, mode, PLACES)


def test_flipped_bytes_that_processes_find(
    release: Release, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "IN_PROCESS", 0)
    monkeypatch.setattr(private, "IN_PROCESS", 0)
    expect_refusals(release, mode, 40, workers=2)


def test_flipped_bytes_without_piece_layers(release: Release, mode: Mode) -> None:
    for path, _, offset in places(release, 50):
        change(path, offset, 1)
        message, facts = refusal(release, mode, layers={})
        change(path, offset, 1)
        assert (facts["path"], facts["pieces"], facts["tensors"]) == (path.name, [], [])
        assert path.name in message


# ---- during the load


@pytest.fixture
def own(tmp_path: Path, release: Release) -> Release:
    """A release whose files a test may leave damaged."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in shards(release):
        (folder / path.name).write_bytes(path.read_bytes())
    return Release(folder, release.verified, release.layers)


@pytest.mark.parametrize("processes", [False, True])
def test_a_file_cut_short_during_the_load(
    own: Release, mode: Mode, processes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nobody's lease in the way: it is open for writing already."""
    if mode == "mapped" and not processes:
        pytest.skip(
            "hashing here, the touch of a missing page is the program's end: tests/unit/load/test_faults.py"
        )
    monkeypatch.setattr(mapped, "IN_PROCESS", 0 if processes else 2**40)
    monkeypatch.setattr(private, "IN_PROCESS", 0 if processes else 2**40)
    victim = shards(own)[2]
    with victim.open("r+b") as file:

        def cut(progress: Progress) -> None:
            if progress.done == 0:
                file.truncate(9)

        message, facts = refusal(own, mode, observe=cut, workers=2)
    assert facts["path"] == victim.name
    assert "changed while" in message


def test_a_piece_overwritten_during_the_load_before_it_is_proven(own: Release, mode: Mode) -> None:
    victim = shards(own)[1]
    with victim.open("r+b", buffering=0) as file:

        def overwrite(progress: Progress) -> None:
            if progress.done == 0:
                file.seek(3 * PIECE + 5)
                file.write(b"evil")

        message, facts = refusal(own, mode, observe=overwrite)
    assert (facts["path"], facts["pieces"]) == (victim.name, [3])
    assert "piece 3 of" in message


def test_a_piece_overwritten_during_the_load_after_it_was_proven(own: Release, mode: Mode) -> None:
    """Mapped: noticed, and nothing is handed out. Private: what was proven is held, and that is what comes."""
    victim = shards(own)[0]
    sound = {name: tensor.clone() for name, tensor in load(own, "private").items()}
    gc.collect()
    with victim.open("r+b", buffering=0) as file:

        def overwrite(progress: Progress) -> None:
            if progress.done == progress.total:
                file.seek(PIECE)
                file.write(b"evil")

        if mode == "private":
            found = load(own, mode, observe=overwrite)
            assert all(found[name].view(torch.uint8).equal(sound[name].view(torch.uint8)) for name in sound)
            return
        with pytest.raises(CheckpointError, match="changed while it was used: it was written to") as caught:
            load(own, mode, observe=overwrite)
    assert caught.value.exit_code == IntegrityError.exit_code
    assert caught.value.facts["path"] == victim.name


@linux
def test_a_writer_during_the_load_is_held_off_and_noticed(own: Release) -> None:
    victim = shards(own)[3]
    before = victim.read_bytes()
    refused: list[int | None] = []

    def overwrite(progress: Progress) -> None:
        if progress.done == 0:
            try:
                os.close(os.open(victim, os.O_WRONLY | os.O_NONBLOCK))
            except OSError as error:
                refused.append(error.errno)

    with pytest.raises(CheckpointError, match="somebody opened it for writing"):
        load(own, "mapped", observe=overwrite)
    assert refused == [errno.EAGAIN]
    assert victim.read_bytes() == before


@linux
def test_a_writer_after_the_load_is_held_off_for_as_long_as_a_tensor_lives(own: Release) -> None:
    tensors = load(own, "mapped")
    victim = shards(own)[0]
    with pytest.raises(BlockingIOError):
        os.open(victim, os.O_WRONLY | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):  # to cut it short is to write to it
        os.open(victim, os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK)
    same(tensors, own)
    del tensors
    gc.collect()
    os.close(os.open(victim, os.O_WRONLY | os.O_NONBLOCK))
