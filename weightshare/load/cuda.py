"""Shards on a device that hashes: copied to it first, and proven there, over the bytes that tensors will be views of.

Readers fill slots of pinned memory, each begins the copy of its slot, and when a span of pieces is on its way the
device is told to hash it behind the copies. The processor hashes nothing and waits for nothing but the file. A shard's
buffer is as the file, header included, so that its leaves lie where the file's do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

import torch

from weightshare.content.safetensors_header import LENGTH_SIZE
from weightshare.load.copies import Copies
from weightshare.load.device import HashingDevice, PieceHashes
from weightshare.load.opened import OpenFile
from weightshare.load.proof import Stretch
from weightshare.load.provers import Result
from weightshare.load.reading import read_into
from weightshare.load.ring import Ring
from weightshare.load.threads import made_in_threads
from weightshare.units import MIB

SLOT = 16 * MIB
"""Bytes of a slot: what one reader reads and one copy copies."""

SPAN = 128 * MIB
"""Bytes hashed in one launch, at least one piece: enough leaves for a whole GPU, and soon enough ready."""

READERS = 16
"""Threads that read, at most: more than a bus needs to be kept busy from the page cache."""

SPARE_SLOTS = 4
"""Slots beside one for each reader: those that are being copied."""

ALIGNMENT = 256
"""What tensors' data starts on a multiple of, as a tensor's own allocation would: kernels are faster for it."""


@dataclass(slots=True)
class Span:
    """Consecutive pieces of one shard that are hashed together.

    Attributes:
        stretches: the portions that the proof is in, in their order.
        left: reads that have not begun their copy yet.
    """

    stretches: list[Stretch]
    left: int = 0
    lock: Lock = field(default_factory=Lock)

    @property
    def shard(self) -> int:
        """The shard's place in the plan."""
        return self.stretches[0].shard

    @property
    def offset(self) -> int:
        """Bytes into the file."""
        return self.stretches[0].offset

    @property
    def length(self) -> int:
        """Bytes."""
        return self.stretches[-1].offset + self.stretches[-1].length - self.offset

    @property
    def trusted(self) -> bool:
        """Whether a receipt stands for these bytes, so that they are brought and not hashed."""
        return self.stretches[0].trusted

    def continues(self, stretch: Stretch) -> bool:
        """Whether a stretch comes right behind, and there is room for it."""
        return (
            stretch.shard == self.shard
            and stretch.trusted == self.trusted
            and stretch.offset == self.offset + self.length
            and self.length + stretch.length <= SPAN
        )


@dataclass(frozen=True, slots=True)
class Read:
    """One slot's worth of a span: `length` bytes from `offset` in the file."""

    span: Span
    offset: int
    length: int


class OnDevice(Copies):
    """Shards held and proven on a device."""

    def __init__(
        self, files: Sequence[OpenFile], piece_length: int, workers: int, device: HashingDevice
    ) -> None:
        super().__init__(files)
        self._piece_length = piece_length
        self._device = device
        try:
            device.require(sum(file.entry.size + ALIGNMENT for file in files))
            self._flats = [_allocate(device, file) for file in files]
        except BaseException:
            device.close()
            raise
        self._readers = max(1, min(workers, READERS))
        self._slot = min(SLOT, max((file.entry.size for file in files), default=1))
        self._ring = Ring(device, self._slot, self._readers + SPARE_SLOTS)

    def prove(self, stretches: Sequence[Stretch]) -> Iterator[Result]:
        """Read and copy pieces, and have the device hash them."""
        self._note_trusted(stretches)
        reads = [read for span in spans_of(stretches) for read in self._reads_of(span)]
        for made in made_in_threads(self._read, reads, self._readers):
            if made is None:
                continue
            span, waiting = made
            hashes = iter(waiting())
            for stretch in span.stretches:
                pieces = 0 if span.trusted else -(-stretch.length // self._piece_length)
                yield stretch, [next(hashes) for _ in range(pieces)]
        self._ring.drain()

    def close(self) -> None:
        """Close the files and forget the buffers, once no copy is under way; tensors in use keep theirs."""
        try:
            self._device.close()
        finally:
            self._ring.clear()
            super().close()

    def _reads_of(self, span: Span) -> list[Read]:
        end = span.offset + span.length
        starts = range(span.offset, end, self._slot)
        span.left = len(starts)
        return [Read(span, start, min(self._slot, end - start)) for start in starts]

    def _read(self, read: Read) -> tuple[Span, PieceHashes] | None:
        span = read.span
        flat = self._flats[span.shard]
        slot = self._ring.take()
        ticket = None
        try:
            part = slot[: read.length]
            with memoryview(part.numpy()) as view:
                read_into(self._files[span.shard], view, read.offset)
            ticket = self._device.copy(flat, read.offset, part)
        finally:
            self._ring.give(slot, ticket)
        with span.lock:
            span.left -= 1
            if span.left:
                return None
        if span.trusted:
            return span, list
        pieces = -(-span.length // self._piece_length)
        width = span.stretches[0].width
        return span, self._device.piece_hashes(flat, span.offset, span.length, pieces, width)


def spans_of(stretches: Sequence[Stretch]) -> list[Span]:
    """Stretches that lie behind each other, put together up to `SPAN` bytes."""
    spans: list[Span] = []
    for stretch in stretches:
        if spans and spans[-1].continues(stretch):
            spans[-1].stretches.append(stretch)
        else:
            spans.append(Span([stretch]))
    return spans


def _allocate(device: HashingDevice, file: OpenFile) -> torch.Tensor:
    """A buffer in which the shard starts so that its data, behind the header, is aligned as a tensor's own would be.

    The header's length is only a hint here, read before anything is proven: were it another one by the time of
    the proof, tensors would be as right and less well aligned.
    """
    hint = int.from_bytes(os.pread(file.fd, LENGTH_SIZE, 0), "little") if hasattr(os, "pread") else 0
    # The kernel reads 8 bytes at a time at least.
    shift = -(LENGTH_SIZE + hint) % ALIGNMENT if hint % 8 == 0 else 0
    return device.allocate(shift + file.entry.size)[shift:]
