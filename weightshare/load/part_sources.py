"""Where the bytes of a selection are held: in the mappings of the files, or in a buffer for each run of pieces.

A buffer holds whole pieces, since a piece is the least that can be proven, so memory is about what was asked for and
the pieces on the borders. A tensor that is cut along a later dimension is strewn over more pieces than it has bytes:
those are read into buffers that go away once the part has been taken out of them.
"""

from __future__ import annotations

import queue
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from weightshare.errors import DeviceError
from weightshare.load.holders import Holder
from weightshare.load.opened import OpenFile
from weightshare.load.piece_hashes import piece_hashes
from weightshare.load.proof import STRETCH, Stretch
from weightshare.load.provers import Result, in_threads
from weightshare.load.reading import read_into
from weightshare.units import format_size


class PartSource(Protocol):
    """The bytes of some pieces of the shards of a load. What `prove` hashed is what `region` gives."""

    lasting: bool
    """Whether a piece that was proven once need not be proven again when it is wanted."""

    def make_room(self, wanted: Sequence[Stretch], *, keep: bool) -> None:
        """These pieces come next; `keep` says that tensors will be views of them, and not copies."""

    def prove(self, stretches: Sequence[Stretch]) -> Iterator[Result]:
        """Hash pieces, in any order. Those for which there is no room are hashed and let go."""

    def region(self, shard: int, start: int, end: int) -> torch.Tensor:
        """Bytes of a shard whose pieces there is room for, as one dimension of uint8; nothing besides them."""

    def placed(self, data: torch.Tensor) -> torch.Tensor:
        """Bytes that were copied out of regions, where the tensors go."""

    def drop(self) -> None:
        """What there is room for, and is not kept, is not needed any more."""


class MappedParts:
    """Parts of mapped files."""

    lasting = True

    def __init__(self, holder: Holder) -> None:
        self._holder = holder

    def make_room(self, wanted: Sequence[Stretch], *, keep: bool) -> None:
        """Nothing to do."""

    def prove(self, stretches: Sequence[Stretch]) -> Iterator[Result]:
        """Hash pieces through the mapping."""
        yield from self._holder.prove(stretches)

    def region(self, shard: int, start: int, end: int) -> torch.Tensor:
        """A tensor over these bytes of the mapping; its storage ends where they do, and it keeps the mapping alive."""
        if start == end:
            return torch.empty(0, dtype=torch.uint8)
        return torch.frombuffer(memoryview(self._holder.flat(shard).numpy())[start:end], dtype=torch.uint8)

    def placed(self, data: torch.Tensor) -> torch.Tensor:
        """The bytes themselves."""
        return data

    def drop(self) -> None:
        """Nothing to do."""


class CopiedParts:
    """Parts of files as copies, in a buffer of its own for each run of pieces.

    Args:
        files: the shards.
        piece_length: bytes.
        workers: threads.
        device: where the parts go, as torch writes it.
        staged: whether bytes reach it through slots of host memory; by default where it is not the CPU.
    """

    lasting = False

    def __init__(
        self,
        files: Sequence[OpenFile],
        piece_length: int,
        workers: int,
        device: str,
        *,
        staged: bool | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._files = files
        self._piece_length = piece_length
        self._workers = workers
        self._device = torch.device(device)
        self._staged = self._device.type != "cpu" if staged is None else staged
        self._kept = [_Buffers() for _ in files]
        self._passing = [_Buffers() for _ in files]
        self._slots: queue.LifoQueue[torch.Tensor] = queue.LifoQueue()

    def make_room(self, wanted: Sequence[Stretch], *, keep: bool) -> None:
        """Allocate a buffer for each run of pieces; those to be kept on the device, others in host memory.

        Raises:
            DeviceError: they do not fit. Facts: `device`, `needed`.
        """
        runs: list[tuple[int, int, int]] = []
        for each in sorted(wanted, key=lambda each: (each.shard, each.offset)):
            if runs and (runs[-1][0], runs[-1][2]) == (each.shard, each.offset):
                runs[-1] = (each.shard, runs[-1][1], each.offset + each.length)
            else:
                runs.append((each.shard, each.offset, each.offset + each.length))
        device = self._device if keep else torch.device("cpu")
        for shard, begin, end in runs:
            try:
                buffer = torch.empty(end - begin, dtype=torch.uint8, device=device)
            except RuntimeError as error:  # which torch's out-of-memory errors are
                needed = sum(end - begin for _, begin, end in runs)
                raise DeviceError(
                    f"{device} has no room for {format_size(needed)} of weights.",
                    hint="Ask for fewer tensors, or use a larger device.",
                    device=str(device),
                    needed=needed,
                    free=None,
                ) from error
            (self._kept if keep else self._passing)[shard].add(begin, buffer)

    def prove(self, stretches: Sequence[Stretch]) -> Iterator[Result]:
        """Read and hash pieces; what is hashed is what is copied."""
        yield from in_threads(self._read, stretches, self._workers)

    def region(self, shard: int, start: int, end: int) -> torch.Tensor:
        """Bytes of a buffer."""
        if start == end:
            return torch.empty(0, dtype=torch.uint8, device=self._device)
        found = self._passing[shard].find(start, end)
        if found is None:
            found = self._kept[shard].find(start, end)
        if found is None:
            raise AssertionError("no room was made for these bytes")
        return found

    def placed(self, data: torch.Tensor) -> torch.Tensor:
        """The bytes on the device."""
        return data.to(self._device)

    def drop(self) -> None:
        """Let go of the buffers that are not kept."""
        self._passing = [_Buffers() for _ in self._files]

    def settle(self) -> None:
        """Nothing to check: what was hashed is what is held."""
        self.close()

    def check(self) -> None:
        """Nothing to check: the files do not matter any more."""

    def close(self) -> None:
        """Close the files and forget the buffers; tensors that are still in use keep theirs."""
        for file in self._files:
            file.close()
        self._kept = []
        self._passing = []
        self._slots = queue.LifoQueue()

    def _read(self, stretch: Stretch) -> list[bytes]:
        file = self._files[stretch.shard]
        end = stretch.offset + stretch.length
        place = self._passing[stretch.shard].find(stretch.offset, end)
        if place is not None:
            return self._prove_in(place, file, stretch)
        place = self._kept[stretch.shard].find(stretch.offset, end)
        if place is not None and not self._staged:
            return self._prove_in(place, file, stretch)
        try:
            slot = self._slots.get_nowait()
        except queue.Empty:
            slot = torch.empty(
                max(STRETCH, self._piece_length),
                dtype=torch.uint8,
                pin_memory=self._device.type == "cuda",
            )
        part = slot[: stretch.length]
        hashes = self._prove_in(part, file, stretch)
        if place is not None:
            place.copy_(part)
        self._slots.put(slot)
        return hashes

    def _prove_in(self, memory: torch.Tensor, file: OpenFile, stretch: Stretch) -> list[bytes]:
        with memoryview(memory.numpy()) as view:
            read_into(file, view, stretch.offset)
            return piece_hashes(view, self._piece_length, stretch.width)


class _Buffers:
    """Buffers of one shard, by the offsets that they begin at."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._buffers: list[torch.Tensor] = []

    def add(self, start: int, buffer: torch.Tensor) -> None:
        at = bisect_right(self._starts, start)
        self._starts.insert(at, start)
        self._buffers.insert(at, buffer)

    def find(self, start: int, end: int) -> torch.Tensor | None:
        at = bisect_right(self._starts, start) - 1
        if at < 0 or self._starts[at] + self._buffers[at].numel() < end:
            return None
        begin = self._starts[at]
        return self._buffers[at][start - begin : end - begin]
