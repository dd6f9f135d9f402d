"""Where copies of shards go: what the loader asks of a device, and how torch's devices do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from weightshare.errors import DeviceError
from weightshare.units import format_size

Ticket = Any
"""Stands for a copy that may not have ended yet; None for one that has."""

PieceHashes = Callable[[], list[bytes]]
"""Waits for hashes that a device is making, and returns them."""


class Device(Protocol):
    """Memory that bytes are copied to through slots of host memory. All methods may be called by any thread."""

    name: str
    """As torch writes it."""

    def require(self, size: int) -> None:
        """Check that `size` bytes have a chance to fit, before anything is read.

        Raises:
            DeviceError: they have none. Facts: `device`, `needed`, `free`.
        """

    def allocate(self, size: int) -> torch.Tensor:
        """A buffer of `size` bytes, one dimension of uint8, that starts on a multiple of at least 64.

        Raises:
            DeviceError: it does not fit.
        """

    def slot(self, size: int) -> torch.Tensor:
        """Host memory to read into, of which copies are made fast."""

    def copy(self, flat: torch.Tensor, offset: int, slot: torch.Tensor) -> Ticket:
        """Begin to copy a slot to its place; the slot must not be touched before the ticket is waited for."""

    def done(self, ticket: Ticket) -> bool:
        """Whether a copy has ended."""

    def wait(self, ticket: Ticket) -> None:
        """Return when a copy has ended."""

    def close(self) -> None:
        """Return when all that was begun has ended, so that memory may be given back. Nothing is begun after."""


class HashingDevice(Device, Protocol):
    """A device that hashes what it holds."""

    def piece_hashes(
        self, flat: torch.Tensor, offset: int, length: int, pieces: int, width: int
    ) -> PieceHashes:
        """Begin to hash whole consecutive pieces of a file, of which every copy has been begun.

        Args:
            flat: the file's bytes, from its start.
            offset: of the first piece, bytes.
            length: of all of them, bytes; the last may be short.
            pieces: how many they are.
            width: leaves of a piece's tree, missing ones included.

        Returns:
            What waits for the hashes; it raises DeviceError if the device could not make them.
        """


class TorchDevice:
    """A device of torch's that copies at once: the CPU, MPS, XPU and what else there is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.device = torch.device(name)

    def require(self, size: int) -> None:
        """Nothing to go by: it fits or `allocate` fails."""

    def allocate(self, size: int) -> torch.Tensor:
        """A buffer as torch makes it: on a boundary of 64 bytes or more."""
        try:
            return torch.empty(size, dtype=torch.uint8, device=self.device)
        except RuntimeError as error:  # which torch's out-of-memory errors are
            raise too_small(self.name, size, None) from error

    def slot(self, size: int) -> torch.Tensor:
        """Plain host memory."""
        return torch.empty(size, dtype=torch.uint8)

    def copy(self, flat: torch.Tensor, offset: int, slot: torch.Tensor) -> Ticket:
        """Copy, and be done."""
        flat[offset : offset + slot.numel()].copy_(slot)

    def done(self, ticket: Ticket) -> bool:
        """Always."""
        return True

    def wait(self, ticket: Ticket) -> None:
        """Nothing to wait for."""

    def close(self) -> None:
        """Nothing to wait for."""


def open_device(name: str) -> Device:
    """The device of this name (as torch writes it), for copies that are hashed in host memory."""
    if torch.device(name).type == "cuda":
        from weightshare.load.cuda_device import CudaDevice

        return CudaDevice(name)
    return TorchDevice(name)


def open_hashing_device(name: str) -> HashingDevice:
    """The CUDA device of this name, with its kernel on the way.

    Raises:
        DeviceError: it cannot be used.
    """
    from weightshare.load.cuda_device import CudaHashingDevice

    return CudaHashingDevice(name)


def too_small(name: str, needed: int, free: int | None) -> DeviceError:
    """The error for weights that do not fit."""
    there = "" if free is None else f", {format_size(free)} are free"
    return DeviceError(
        f"{name} has no room for {format_size(needed)} of weights{there}.",
        hint="Use a larger device, or `--device cpu`, which maps the files and needs no memory for them.",
        device=name,
        needed=needed,
        free=free,
    )
