"""A ring of slots of host memory, read into and copied from over and over."""

from __future__ import annotations

from collections import deque
from threading import Condition

import torch

from weightshare.load.device import Device, Ticket


class Ring:
    """Slots, made as they are needed; one goes out again only once the copy from it has ended.

    Args:
        device: whose slots they are.
        size: bytes of a slot.
        count: slots at most.
    """

    def __init__(self, device: Device, size: int, count: int) -> None:
        self._device = device
        self._size = size
        self._left = count
        self._back: deque[tuple[torch.Tensor, Ticket]] = deque()  # the oldest copy first
        self._change = Condition()

    def take(self) -> torch.Tensor:
        """A slot to fill, to be given back with the ticket of the copy from it.

        Raises:
            DeviceError: host memory for it cannot be had.
        """
        slot, ticket = self._take()
        self._device.wait(ticket)
        return slot

    def give(self, slot: torch.Tensor, ticket: Ticket) -> None:
        """Give a slot back; None for a ticket if no copy was begun."""
        with self._change:
            self._back.append((slot, ticket))
            self._change.notify()

    def drain(self) -> None:
        """Wait for all copies. No slot may be out."""
        with self._change:
            back = list(self._back)
        for _, ticket in back:
            self._device.wait(ticket)

    def clear(self) -> None:
        """Let go of all slots. No copy may be under way, and none is taken after."""
        with self._change:
            self._back.clear()

    def _take(self) -> tuple[torch.Tensor, Ticket]:
        with self._change:
            while True:
                ended = bool(self._back) and self._device.done(self._back[0][1])
                if self._left and not ended:
                    self._left -= 1
                    break
                if self._back:
                    return self._back.popleft()
                self._change.wait()
        return self._device.slot(self._size), None
