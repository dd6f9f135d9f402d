"""Shards on a device that does not hash: hashed in the very slot of host memory that is then copied to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weightshare.load.copies import Copies
from weightshare.load.device import Device
from weightshare.load.opened import OpenFile
from weightshare.load.piece_hashes import piece_hashes
from weightshare.load.proof import STRETCH, Stretch
from weightshare.load.provers import Result
from weightshare.load.reading import read_into
from weightshare.load.ring import Ring
from weightshare.load.threads import made_in_threads


class Staged(Copies):
    """Shards copied to a device by way of slots that are hashed."""

    def __init__(
        self, files: Sequence[OpenFile], piece_length: int, workers: int, device: Device, notes: Sequence[str]
    ) -> None:
        super().__init__(files)
        self.notes += notes
        self._piece_length = piece_length
        self._workers = workers
        self._device = device
        device.require(sum(file.entry.size for file in files))
        self._flats = [device.allocate(file.entry.size) for file in files]
        # One more than threads that hash: the copy from one slot goes on while the next is read into.
        self._ring = Ring(device, max(STRETCH, piece_length), workers + 1)

    def prove(self, stretches: Sequence[Stretch]) -> Iterator[Result]:
        """Read, hash and copy pieces."""
        self._note_trusted(stretches)
        yield from made_in_threads(self._read, stretches, self._workers)
        self._ring.drain()

    def close(self) -> None:
        """Close the files and forget the buffers, once no copy is under way; tensors in use keep theirs."""
        try:
            self._device.close()
        finally:
            self._ring.clear()
            super().close()

    def _read(self, stretch: Stretch) -> Result:
        slot = self._ring.take()
        ticket = None
        try:
            part = slot[: stretch.length]
            with memoryview(part.numpy()) as view:
                read_into(self._files[stretch.shard], view, stretch.offset)
                hashes = [] if stretch.trusted else piece_hashes(view, self._piece_length, stretch.width)
            ticket = self._device.copy(self._flats[stretch.shard], stretch.offset, part)
        finally:
            self._ring.give(slot, ticket)
        return stretch, hashes
