"""Shards on a device that does not hash: hashed in the very slot of host memory that is then copied to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from weightshare.load.device import Device
from weightshare.load.opened import OpenFile
from weightshare.load.piece_hashes import piece_hashes
from weightshare.load.proof import STRETCH, Stretch
from weightshare.load.provers import Result, cut_short
from weightshare.load.reading import read_into
from weightshare.load.ring import Ring
from weightshare.load.threads import made_in_threads


class Staged:
    """Shards copied to a device by way of slots that are hashed."""

    def __init__(
        self, files: Sequence[OpenFile], piece_length: int, workers: int, device: Device, notes: Sequence[str]
    ) -> None:
        self.notes = list(notes)
        self._files = files
        self._piece_length = piece_length
        self._workers = workers
        self._device = device
        self._unhashed: set[int] = set()  # shards of which something was taken on trust
        device.require(sum(file.entry.size for file in files))
        self._flats = [device.allocate(file.entry.size) for file in files]
        # One more than threads that hash: the copy from one slot goes on while the next is read into.
        self._ring = Ring(device, max(STRETCH, piece_length), workers + 1)

    def prove(self, stretches: Sequence[Stretch]) -> Iterator[Result]:
        """Read, hash and copy pieces."""
        self._unhashed.update(stretch.shard for stretch in stretches if stretch.trusted)
        yield from made_in_threads(self._read, stretches, self._workers)
        self._ring.drain()

    def prefix(self, shard: int, length: int) -> bytes:
        """The first bytes of a shard, from the device."""
        data: bytes = self._flats[shard][:length].cpu().numpy().tobytes()
        return data

    def flat(self, shard: int) -> torch.Tensor:
        """The copy."""
        return self._flats[shard]

    def settle(self) -> None:
        """What was hashed is what is held; what was taken on trust must not have changed while it was read."""
        for shard in sorted(self._unhashed):
            if change := self._files[shard].changed():
                raise cut_short(self._files[shard], change)
        self.close()

    def check(self) -> None:
        """Nothing to check: the file does not matter any more."""

    def close(self) -> None:
        """Close the files and forget the buffers, once no copy is under way; tensors in use keep theirs."""
        self._device.close()
        self._ring.clear()
        for file in self._files:
            file.close()
        self._flats = []

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
