"""CUDA devices: copies on a stream of their own beside the hashing, and neither in the way of the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

import torch

from weightshare.errors import DeviceError
from weightshare.load.device import PieceHashes, Ticket, TorchDevice, too_small
from weightshare.load.sha256_cuda import kernel_for
from weightshare.load.tree_launches import HASH, launch_tree, scratch_size
from weightshare.units import MIB

SPARE = 64 * MIB
"""Device memory beside the weights: what hashing writes, and what torch rounds up."""

HASH_STREAMS = 2
"""So that a small shard's hash, which is one of latency, does not hold up the next."""


class CudaDevice(TorchDevice):
    """A CUDA device.

    All copies are begun on one stream, in an order: whatever waits for that stream waits for every copy that
    was begun before.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        with _translated(self.name):
            self._copies = torch.cuda.Stream(self.device)

    def require(self, size: int) -> None:
        """Compare with what the device and torch's cache have free."""
        with _translated(self.name):
            free, _ = torch.cuda.mem_get_info(self.device)
            cached = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        if size + SPARE > free + cached:
            raise too_small(self.name, size, free + cached)

    def allocate(self, size: int) -> torch.Tensor:
        """A buffer that copies may write to once all work that was begun before on the caller's stream is done."""
        flat = super().allocate(size)
        with _translated(self.name):
            # The memory may have been another tensor's a moment ago.
            self._copies.wait_stream(torch.cuda.current_stream(self.device))
        return flat

    def slot(self, size: int) -> torch.Tensor:
        """Pinned memory, so that the copy runs by itself and at the bus's rate."""
        with _translated(self.name):
            return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def copy(self, flat: torch.Tensor, offset: int, slot: torch.Tensor) -> Ticket:
        """Begin a copy; the ticket is an event behind it."""
        with _translated(self.name), torch.cuda.stream(self._copies):
            flat[offset : offset + slot.numel()].copy_(slot, non_blocking=True)
            # A thread that waits sleeps: there may be fewer cores than readers.
            event = torch.cuda.Event(blocking=True)
            event.record(self._copies)
        return event

    def done(self, ticket: Ticket) -> bool:
        """Whether the event has come."""
        with _translated(self.name):
            return bool(ticket is None or ticket.query())

    def wait(self, ticket: Ticket) -> None:
        """Wait for the event."""
        if ticket is not None:
            with _translated(self.name):
                ticket.synchronize()

    def close(self) -> None:
        """Wait for all copies."""
        with _translated(self.name):
            self._copies.synchronize()


class CudaHashingDevice(CudaDevice):
    """A CUDA device that hashes.

    Threads of its own launch and wait, so that readers do neither: the first launch waits for the kernel, which
    is compiled while they read.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._streams: SimpleQueue[torch.cuda.Stream] = SimpleQueue()
        with _translated(self.name):
            index = torch.cuda.current_device() if self.device.index is None else self.device.index
            for _ in range(HASH_STREAMS):
                self._streams.put(torch.cuda.Stream(self.device))
        # One thread more than streams: the one that compiles.
        self._threads = ThreadPoolExecutor(HASH_STREAMS + 1, thread_name_prefix="weightshare-hash")
        self._kernel = self._threads.submit(kernel_for, index)

    def piece_hashes(
        self, flat: torch.Tensor, offset: int, length: int, pieces: int, width: int
    ) -> PieceHashes:
        """Begin to hash behind the copies; only the pieces' hashes come back to the host."""
        with _translated(self.name):
            copied = self._copies.record_event()
        return self._threads.submit(
            self._hash, flat.data_ptr() + offset, length, pieces, width, copied
        ).result

    def close(self) -> None:
        """Wait for all copies and hashes."""
        self._threads.shutdown(cancel_futures=True)
        super().close()

    def _hash(self, data: int, length: int, pieces: int, width: int, copied: torch.cuda.Event) -> list[bytes]:
        kernel = self._kernel.result()
        stream = self._streams.get()
        try:
            with _translated(self.name), torch.cuda.stream(stream):
                stream.wait_event(copied)
                scratch = torch.empty(scratch_size(pieces, width), dtype=torch.uint8, device=self.device)
                start = scratch.data_ptr()
                found = launch_tree(kernel.on(stream.cuda_stream), data, length, pieces, width, start)
                # Waiting for an event sleeps, where copying back at once would spin on a core.
                event = torch.cuda.Event(blocking=True)
                event.record(stream)
                event.synchronize()
                host = scratch[found - start :][: HASH * pieces].cpu()
        finally:
            self._streams.put(stream)
        hashes: bytes = host.numpy().tobytes()
        return [hashes[i : i + HASH] for i in range(0, len(hashes), HASH)]


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # which torch's CUDA errors are
        reason = str(error).splitlines()[0].rstrip(".")
        raise DeviceError(
            f"{name} failed: {reason}.",
            hint="Other programs may use the device; see nvidia-smi. `--device cpu` does without it.",
            device=name,
        ) from error
