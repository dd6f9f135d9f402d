"""What holds the shards' bytes while they are proven and after; `mapped`, `private` and `copied` are they."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from weightshare.load.proof import Stretch
    from weightshare.load.provers import Result


class Held(Protocol):
    """What a load keeps of its files."""

    notes: list[str]
    """What a careful user wants to know about this load."""

    def settle(self) -> None:
        """Called once, when all is proven: the last chance to refuse."""

    def check(self) -> None:
        """Raise if what is held may no longer be what was proven."""

    def close(self) -> None:
        """Let go of what tensors do not need."""


class Holder(Held, Protocol):
    """The bytes of all shards of a load."""

    def prove(self, stretches: Sequence[Stretch]) -> Iterator[Result]:
        """Hash pieces, in any order; after this the bytes hashed are the bytes held.

        Stretches that are `trusted` need only be brought: their hashes are not looked at, and may be none.
        """

    def prefix(self, shard: int, length: int) -> bytes:
        """The first bytes of a shard, from what is held."""

    def flat(self, shard: int) -> torch.Tensor:
        """All bytes of a shard, from what is held, as one dimension of uint8."""
