"""Shards as copies in memory of their own, on the CPU: nothing is read from the file again.

A file is read straight into the memory that its tensors will be views of, and hashed there. Nobody sees a
buffer before the proof holds. `staged` and `cuda` are what copies to devices.

Threads and not processes, since the bytes must end up in this process: on two cores they hash as much. On
many cores the interpreter lock between leaves is the limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from weightshare.load.device import TorchDevice
from weightshare.load.opened import OpenFile
from weightshare.load.piece_hashes import piece_hashes
from weightshare.load.proof import Stretch
from weightshare.load.provers import Result, in_threads
from weightshare.load.reading import read_into

FlatDevice = TorchDevice
"""Where copies go: the CPU's memory."""


class Copied:
    """Shards held as copies in memory."""

    def __init__(
        self, files: Sequence[OpenFile], piece_length: int, workers: int, device: TorchDevice
    ) -> None:
        self.notes: list[str] = []
        self._files = files
        self._piece_length = piece_length
        self._workers = workers
        self._flats = [device.allocate(file.entry.size) for file in files]

    def prove(self, stretches: Sequence[Stretch]) -> Iterator[Result]:
        """Read and hash pieces."""
        yield from in_threads(self._read, stretches, self._workers)

    def prefix(self, shard: int, length: int) -> bytes:
        """The first bytes of a shard, from the copy."""
        data: bytes = self._flats[shard][:length].cpu().numpy().tobytes()
        return data

    def flat(self, shard: int) -> torch.Tensor:
        """The copy."""
        return self._flats[shard]

    def settle(self) -> None:
        """Nothing to do: what was hashed is what is held."""
        self.close()

    def check(self) -> None:
        """Nothing to check: the file does not matter any more."""

    def close(self) -> None:
        """Close the files and forget the buffers; tensors that are still in use keep theirs."""
        for file in self._files:
            file.close()
        self._flats = []

    def _read(self, stretch: Stretch) -> list[bytes]:
        memory = self._flats[stretch.shard][stretch.offset : stretch.offset + stretch.length]
        with memoryview(memory.numpy()) as view:
            read_into(self._files[stretch.shard], view, stretch.offset)
            return piece_hashes(view, self._piece_length, stretch.width)
