"""Shards held as copies, which no file can change any more: what `private`, `staged` and `cuda` have in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from weightshare.load.opened import OpenFile
from weightshare.load.proof import Stretch
from weightshare.load.provers import cut_short


class Copies:
    """Copies of shards in flat buffers, one a shard, its header included.

    Args:
        files: the shards, open.
    """

    def __init__(self, files: Sequence[OpenFile]) -> None:
        self.notes: list[str] = []
        self._files = files
        self._flats: list[torch.Tensor] = []
        self._unhashed: set[int] = set()  # shards of which something was taken on trust

    def prefix(self, shard: int, length: int) -> bytes:
        """The first bytes of a shard, from the copy."""
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
        """Close the files and forget the buffers; tensors that are still in use keep theirs."""
        for file in self._files:
            file.close()
        self._flats = []

    def _note_trusted(self, stretches: Sequence[Stretch]) -> None:
        self._unhashed.update(stretch.shard for stretch in stretches if stretch.trusted)
