"""A stand-in for a GPU, on the CPU: copies are made as late as the rules allow, and hashes as early.

A slot that is used again before its copy was waited for, a hash begun before its copies, a header or a tensor read
before a copy has ended: each of them shows, every time, as wrong bytes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from threading import Lock

import torch

from tests.sha256_as_c import compiled, piece_hashes_by
from weightshare.load.device import PieceHashes, TorchDevice, too_small
from weightshare.load.piece_hashes import piece_hashes
from weightshare.units import BLOCK


class LateDevice(TorchDevice):
    """Memory of this process that is written to by copies that somebody waits for.

    Args:
        room: bytes that fit.
        before_copy: called before a copy is begun, with how many were.
        hashing: stands for the kernel; by default the kernel itself, compiled as C, or hashlib without a compiler.
    """

    def __init__(
        self,
        *,
        room: int = 1 << 40,
        before_copy: Callable[[int], None] = lambda count: None,
        hashing: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__("cpu")
        self.slots = 0
        self.made: list[weakref.ref[torch.Tensor]] = []
        self.begun = 0
        self.closed = 0
        self.hashed: list[tuple[int, int]] = []  # (pieces, bytes) of each span
        self._room = room
        self._before_copy = before_copy
        self._hashing = hashing
        self._ended = 0
        self._waiting: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._lock = Lock()

    def require(self, size: int) -> None:
        if size > self._room:
            raise too_small("late", size, self._room)

    def allocate(self, size: int) -> torch.Tensor:
        return super().allocate(size).fill_(0xA5)

    def slot(self, size: int) -> torch.Tensor:
        slot = super().slot(size)
        with self._lock:
            self.slots += 1
            self.made.append(weakref.ref(slot))
        return slot

    def copy(self, flat: torch.Tensor, offset: int, slot: torch.Tensor) -> int:
        with self._lock:
            assert not self.closed
            self._before_copy(self.begun)
            self._waiting.append((flat[offset : offset + slot.numel()], slot))
            self.begun += 1
            return self.begun

    def done(self, ticket: int | None) -> bool:
        return ticket is None or ticket <= self._ended

    def wait(self, ticket: int | None) -> None:
        if ticket is not None:
            with self._lock:
                self._catch_up(ticket)

    def piece_hashes(
        self, flat: torch.Tensor, offset: int, length: int, pieces: int, width: int
    ) -> PieceHashes:
        with self._lock:
            assert not self.closed
            self._catch_up(self.begun)
            self.hashed.append((pieces, length))
            found = self._hash(flat[offset : offset + length], pieces, width)

        def result() -> list[bytes]:
            self._hashing()
            return found

        return result

    def close(self) -> None:
        with self._lock:
            self._catch_up(self.begun)
            self.closed += 1

    def _hash(self, data: torch.Tensor, pieces: int, width: int) -> list[bytes]:
        if (launch := compiled()) is not None:
            return piece_hashes_by(launch, data.data_ptr(), data.numel(), pieces, width)
        return piece_hashes(memoryview(data.numpy()), width * BLOCK, width)

    def _catch_up(self, ticket: int) -> None:
        while self._ended < ticket:
            place, slot = self._waiting.pop(0)
            place.copy_(slot)
            self._ended += 1
