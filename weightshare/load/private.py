"""Shards as copies in this process's own memory: nothing is read from the file again, and nothing can change them.

Proving processes read into a few slots of shared memory and hash there; what was hashed is copied from the slot to its
place. Little is read into the place itself, since fresh memory costs several times what reading does; the kernel is
asked for large pages, of which a gigabyte costs a fifth. Small checkpoints, and all where there is no memory to share,
are read into their place and hashed there by threads.

Nobody sees a buffer before the proof holds.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

import torch

from weightshare.errors import DeviceError
from weightshare.load.copies import Copies
from weightshare.load.opened import OpenFile
from weightshare.load.piece_hashes import piece_hashes
from weightshare.load.proof import STRETCH, Stretch
from weightshare.load.provers import DEPTH, IN_PROCESS, Provers, Result, in_threads
from weightshare.load.reading import read_into
from weightshare.load.slots import Slots
from weightshare.units import format_size


class Private(Copies):
    """Shards held as copies in memory, which reads as zeros until something has been put there.

    Args:
        files: the shards, open.
        piece_length: bytes.
        workers: threads or processes.
        processes: whether processes may hash; they need every file to be open from the beginning.
    """

    def __init__(
        self, files: Sequence[OpenFile], piece_length: int, workers: int, *, processes: bool = True
    ) -> None:
        super().__init__(files)
        self._piece_length = piece_length
        self._workers = workers
        self._slots: Slots | None = None
        self._provers: Provers | None = None
        size = sum(file.entry.size for file in files)
        if processes and size >= IN_PROCESS and workers > 1 and Provers.possible() and Slots.possible():
            self._slots = Slots(max(STRETCH, piece_length), DEPTH, workers)
            try:
                self._provers = Provers(files, piece_length, self._slots.processes, slots=self._slots)
            except BaseException:
                self._slots.close()
                raise
        try:
            self._flats = [_allocate(file.entry.size) for file in files]
        except BaseException:
            self.close()
            raise

    def prove(self, stretches: Sequence[Stretch]) -> Iterator[Result]:
        """Read, hash and copy pieces."""
        self._note_trusted(stretches)
        trusted = [stretch for stretch in stretches if stretch.trusted]
        yield from in_threads(self._read, trusted, self._workers)
        proven = [stretch for stretch in stretches if not stretch.trusted]
        if self._provers is None:
            yield from in_threads(self._read, proven, self._workers)
            return
        addresses = [flat.data_ptr() for flat in self._flats]
        slots = self._slots
        assert slots is not None  # noqa: S101

        def copy(stretch: Stretch, slot: int) -> None:
            slots.copy(slot, addresses[stretch.shard] + stretch.offset, stretch.length)

        yield from self._provers.run(proven, copy)

    def close(self) -> None:
        """Close the files and forget the buffers; tensors that are still in use keep theirs."""
        if self._provers is not None:
            self._provers.close()
            self._provers = None
        if self._slots is not None:
            self._slots.close()
            self._slots = None
        super().close()

    def _read(self, stretch: Stretch) -> list[bytes]:
        part = self._flats[stretch.shard][stretch.offset : stretch.offset + stretch.length]
        with memoryview(part.numpy()) as view:
            read_into(self._files[stretch.shard], view, stretch.offset)
            return [] if stretch.trusted else piece_hashes(view, self._piece_length, stretch.width)


def _allocate(size: int) -> torch.Tensor:
    """Memory of `size` bytes that starts on a page, of large pages where the system has them."""
    try:
        if os.name != "posix":
            return torch.zeros(size, dtype=torch.uint8)
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, RuntimeError) as error:  # RuntimeError is what torch's out-of-memory errors are
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            raise
        raise DeviceError(
            f"There is no memory for {format_size(size)} of weights.",
            hint="Without `--private` the files are mapped, and need no memory for themselves.",
            device="cpu",
            needed=size,
            free=None,
        ) from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)
