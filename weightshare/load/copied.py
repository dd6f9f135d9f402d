"""Shards as copies in memory of their own, on the CPU or a device: nothing is read from the file again.

On the CPU a file is read straight into the memory that its tensors will be views of, and hashed there. For a
device, a few slots of host memory are used over and over: read into, hashed, and that very slot copied into
the shard's flat buffer. Nobody sees a buffer before the proof holds.

Threads and not processes, since the bytes must end up in this process: on two cores they hash as much. On
many cores the interpreter lock between leaves is the limit.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence

import torch

from weightshare.errors import DeviceError
from weightshare.load.opened import OpenFile
from weightshare.load.piece_hashes import piece_hashes
from weightshare.load.proof import STRETCH, Stretch
from weightshare.load.provers import Result, in_threads
from weightshare.load.reading import read_into
from weightshare.units import format_size


class FlatDevice:
    """Where copies go: flat buffers on a device.

    Attributes:
        device: the device.
        staged: whether bytes go through slots of host memory, and are not read into the buffer itself.
    """

    def __init__(self, name: str, *, staged: bool | None = None) -> None:
        self.device = torch.device(name)
        self.staged = self.device.type != "cpu" if staged is None else staged
        self._pinned = self.device.type == "cuda"

    def require(self, size: int) -> None:
        """Check that `size` bytes have a chance to fit, before anything is read.

        Raises:
            DeviceError: they have none. Facts: `device`, `needed`, `free`.
        """
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if size > free:
                raise self._too_small(size, free)

    def allocate(self, size: int) -> torch.Tensor:
        """A buffer of `size` bytes that starts on a boundary any dtype is content with."""
        try:
            return torch.empty(size, dtype=torch.uint8, device=self.device)
        except RuntimeError as error:  # which torch's out-of-memory errors are
            raise self._too_small(size, None) from error

    def slot(self, size: int) -> torch.Tensor:
        """Host memory to read into; pinned for CUDA, so that the copy runs at the bus's rate."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned)

    def copy(self, flat: torch.Tensor, offset: int, slot: torch.Tensor) -> None:
        """Copy a slot to its place; the slot may be used again when this returns."""
        flat[offset : offset + slot.numel()].copy_(slot)

    def _too_small(self, needed: int, free: int | None) -> DeviceError:
        there = "" if free is None else f", {format_size(free)} are free"
        return DeviceError(
            f"{self.device} has no room for {format_size(needed)} of weights{there}.",
            hint="Use a larger device, or `--device cpu`, which maps the files and needs no memory for them.",
            device=str(self.device),
            needed=needed,
            free=free,
        )


class Copied:
    """Shards held as copies on a device."""

    def __init__(
        self, files: Sequence[OpenFile], piece_length: int, workers: int, device: FlatDevice
    ) -> None:
        self.notes: list[str] = []
        self._files = files
        self._piece_length = piece_length
        self._workers = workers
        self._device = device
        device.require(sum(file.entry.size for file in files))
        self._flats = [device.allocate(file.entry.size) for file in files]
        self._slots: queue.LifoQueue[torch.Tensor] = queue.LifoQueue()

    def prove(self, stretches: Sequence[Stretch]) -> Iterator[Result]:
        """Read, hash and copy pieces."""
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
        self._slots = queue.LifoQueue()
        self._flats = []

    def _read(self, stretch: Stretch) -> list[bytes]:
        file = self._files[stretch.shard]
        flat = self._flats[stretch.shard]
        if not self._device.staged:
            return self._prove_in(flat[stretch.offset : stretch.offset + stretch.length], file, stretch)
        try:
            slot = self._slots.get_nowait()
        except queue.Empty:
            slot = self._device.slot(max(STRETCH, self._piece_length))
        part = slot[: stretch.length]
        hashes = self._prove_in(part, file, stretch)
        self._device.copy(flat, stretch.offset, part)
        self._slots.put(slot)
        return hashes

    def _prove_in(self, memory: torch.Tensor, file: OpenFile, stretch: Stretch) -> list[bytes]:
        with memoryview(memory.numpy()) as view:
            read_into(file, view, stretch.offset)
            return piece_hashes(view, self._piece_length, stretch.width)
