"""Finding the one honest peer when others give false metadata. Pure, with the clock passed in.

The engine puts metadata together from whoever is connected, and a lie among them spoils the whole. It does not say
whose it was and bans nobody. After a wrong hash it notes the liar as the block's source and asks nobody else for three
seconds, and then the first connection in its list again, which may be the same for ever. A wrong size is worse: the
latest peer to name one decides, and the honest ones' blocks are dropped in silence.

So once a hash is wrong, or peers are there and nothing comes, the known peers are spoken to one at a time. An honest
one ends the matter; one that gives false metadata when nobody else is there is dialled after all others from then on.
Between the rounds everybody is let in again, for those who can only come to us.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

Peer = tuple[str, int]

_ALONE = 5.0  # seconds for a peer that sends nothing
_ALONE_AT_MOST = 60.0  # for one that does
_TOGETHER = 15.0  # seconds, twice as many each time
_MOST = 200


@dataclass(frozen=True, slots=True)
class Round:
    """Whom to speak to from now on.

    Attributes:
        alone: this peer and nobody else; None for everybody.
        avoid: but these are not dialled.
    """

    alone: Peer | None
    avoid: frozenset[Peer]


class Interviews:
    """Decides whom to speak to, until the metadata is here.

    Args:
        now: seconds.

    Attributes:
        liars: who gave false metadata when nobody else was there.
    """

    def __init__(self, now: float) -> None:
        self.liars: set[Peer] = set()
        self._known: dict[Peer, None] = {}
        self._waiting: list[Peer] = []
        self._alone: Peer | None = None
        self._began = self._moved = now
        self._bytes = 0
        self._together = _TOGETHER

    def refused(self, now: float, connected: Collection[Peer]) -> Round | None:
        """The metadata had a wrong hash; the next round, None where nobody is known who could be asked alone.

        Args:
            now: seconds.
            connected: whom we dialled and are connected to.
        """
        self._meet(connected)
        if self._alone is not None:
            self.liars.add(self._alone)
        return self._next(now) if self._known else None

    def look(self, now: float, connected: Collection[Peer], taken: int) -> Round | None:
        """How it goes; the next round when this one leads nowhere, else None.

        Args:
            now: seconds.
            connected: whom we dialled and are connected to.
            taken: bytes that came in this round.
        """
        self._meet(connected)
        if taken > self._bytes:
            self._bytes, self._moved = taken, now
        if self._alone is not None:
            over = now - self._moved >= _ALONE or now - self._began >= _ALONE_AT_MOST
        else:
            # A single peer that has not lied is alone already.
            over = now - self._began >= self._together and (len(self._known) > 1 or bool(self.liars))
            self._together *= 2 if over else 1
        return self._next(now) if over else None

    def _meet(self, connected: Collection[Peer]) -> None:
        for peer in connected:
            if len(self._known) < _MOST:
                self._known.setdefault(peer)

    def _next(self, now: float) -> Round:
        if self._alone is None:
            # Liars last, and not never: whoever comes to us meanwhile can speak in another's name.
            self._waiting = sorted(self._known, key=lambda peer: peer in self.liars)
        self._alone = self._waiting.pop(0) if self._waiting else None
        self._began = self._moved = now
        self._bytes = 0
        return Round(self._alone, frozenset(self.liars))
