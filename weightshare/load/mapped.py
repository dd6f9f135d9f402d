"""Shards as mappings of their files: no memory of our own, shared with all who map them.

The mapping is private and writable, so that torch has nothing to warn about: a page is the page cache's until
somebody writes to a tensor, and that write stays here. The proof hashes the same page cache, through a
mapping. What could still change a byte afterwards is a writer, held back by a read lease where the system has
them, and a page that is dropped and read again from a disk that has gone bad; `copied` is the mode without
either.
"""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from collections.abc import Iterator, Sequence

import torch

from weightshare.errors import CheckpointError, CorruptError, DiskError
from weightshare.load import faults
from weightshare.load.leases import Lease, take_lease
from weightshare.load.opened import REPAIR, OpenFile
from weightshare.load.proof import Stretch
from weightshare.load.provers import IN_PROCESS, Provers, Result, hash_mapped, in_threads
from weightshare.load.reading_ahead import read_in_background

_NORESERVE = (
    0x4000 if sys.platform == "linux" else 0
)  # so that the kernel does not set memory aside for copies


class Mapped:
    """Shards held as file mappings."""

    def __init__(self, files: Sequence[OpenFile], piece_length: int, workers: int) -> None:
        self._files = files
        self._workers = workers
        self._piece_length = piece_length
        self._leases: dict[str, Lease] = {}
        self.notes: list[str] = []
        self._trusted: list[Stretch] = []
        self._provers: Provers | None = None
        size = sum(file.entry.size for file in files)
        if size >= IN_PROCESS and workers > 1 and Provers.possible():
            self._provers = Provers(files, piece_length, workers)  # they start while we do the rest
        try:
            self._prepare()
        except BaseException:
            self._stop_provers()
            raise
        weakref.finalize(self, _close, files)

    def _prepare(self) -> None:
        """Take leases and map the files."""
        without: dict[str, list[str]] = {}
        for file in self._files:
            lease = take_lease(file)
            if isinstance(lease, Lease):
                self._leases[file.path] = lease
            else:
                without.setdefault(lease, []).append(file.path)
        for reason, paths in without.items():
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            self.notes.append(
                f"{paths[0]}{more}: no read lease, since {reason}; a change to the file while it is used "
                "would not be held back. `--private` loads a copy."
            )
        # A mapping is never closed by hand: its tensors are views of it, and it goes with the last of them.
        self._mappings = [_map(file) for file in self._files]

    def prove(self, stretches: Sequence[Stretch]) -> Iterator[Result]:
        """Hash pieces through a mapping, in processes when there is much to hash."""
        for stretch in stretches:
            if stretch.trusted:
                self._trusted.append(stretch)
                yield stretch, []
        hashed = [stretch for stretch in stretches if not stretch.trusted]
        if self._provers is not None:
            yield from self._provers.run(hashed)
            return
        work = [hash_mapped(memoryview(mapping), self._piece_length) for mapping in self._mappings]
        yield from in_threads(lambda stretch: work[stretch.shard](stretch), hashed, self._workers)

    def prefix(self, shard: int, length: int) -> bytes:
        """The first bytes of a shard."""
        return self._mappings[shard][:length]

    def flat(self, shard: int) -> torch.Tensor:
        """A tensor over the mapping; it keeps the mapping alive."""
        return torch.frombuffer(self._mappings[shard], dtype=torch.uint8)

    def settle(self) -> None:
        """Refuse what changed while it was proven."""
        self._stop_provers()
        self.check()
        read_in_background(self._files, self._trusted)

    def check(self) -> None:
        """Refuse what was written to, or is about to be, since it was opened.

        Raises:
            CorruptError: a file's length changed. Facts: `path`, `expected`, `found`.
            CheckpointError: a file was written to. Facts: `path`.
        """
        for file in self._files:
            lease = self._leases.get(file.path)
            if file.fd < 0:
                continue
            change = file.changed()
            if not change and lease is not None and not lease.held:
                change = "somebody opened it for writing"
            if not change:
                continue
            if os.fstat(file.fd).st_size != file.entry.size:
                raise CorruptError(
                    f"{file.path}: changed while it was used: {change}.",
                    hint=REPAIR,
                    path=file.path,
                    pieces=[],
                    tensors=[],
                    expected=file.entry.size,
                    found=change,
                )
            raise CheckpointError(
                f"{file.path}: changed while it was used: {change}.",
                hint="Load it again, or with `--private`, which works on a copy of the proven bytes.",
                path=file.path,
            )

    def close(self) -> None:
        """Close the files and forget the mappings; a tensor still in use keeps its own, and the lease."""
        self._stop_provers()
        _close(self._files)
        self._mappings = []
        self._leases = {}

    def _stop_provers(self) -> None:
        if self._provers is not None:
            self._provers.close()
            self._provers = None


def _close(files: Sequence[OpenFile]) -> None:
    for file in files:
        file.close()


def _map(file: OpenFile) -> mmap.mmap:
    try:
        if os.name == "posix":
            flags = mmap.MAP_PRIVATE | _NORESERVE
            prot = mmap.PROT_READ | mmap.PROT_WRITE
            mapping = mmap.mmap(file.fd, file.entry.size, flags=flags, prot=prot)
        else:
            mapping = mmap.mmap(file.fd, file.entry.size, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:
        raise DiskError(
            f"{file.path}: cannot be mapped: {error}.",
            hint="`--private` loads without a mapping.",
            path=str(file.location),
        ) from error
    address = torch.frombuffer(mapping, dtype=torch.uint8).data_ptr()
    weakref.finalize(mapping, faults.watch(address, file))
    return mapping
