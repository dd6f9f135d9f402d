"""Whom to dial again: peers given by address, and those that served us and went away. Pure, with the clock passed in.

The engine redials too, but the longer a peer is away the more seldom, and after some minutes no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

Peer = tuple[str, int]

EVERY = 2.0
"""Seconds between two looks, and between two calls to a peer that has just gone."""
_LATER = 10.0  # seconds between two calls once it has been away for a while
_A_WHILE = 60.0
_GIVEN_UP = 3600.0
_MOST = 64
_ENOUGH = 8  # peers; with so many the ones that are gone are not missed


@dataclass(slots=True)
class _Known:
    seen: float
    called: float


class Redial:
    """Remembers who was connected, and says who is to be called.

    Args:
        given: see `give`.
    """

    def __init__(self, given: Iterable[Peer]) -> None:
        self._known: dict[Peer, _Known] = {}
        self.give(given)

    def give(self, peers: Iterable[Peer]) -> None:
        """The addresses that the user, the link or an earlier step named, called as long as they are away."""
        self._given = dict.fromkeys(peers)

    def due(self, now: float, dialled: Collection[Peer]) -> list[Peer]:
        """Whom to call now.

        Args:
            now: seconds.
            dialled: the peers that are connected, or being connected to, by the address they listen at.
        """
        for peer in dialled:
            if peer in self._known or len(self._known) < _MOST:
                self._known[peer] = _Known(now, now)
        calls = [peer for peer in self._given if peer not in dialled]
        for peer, known in list(self._known.items()):
            away = now - known.seen
            if away > _GIVEN_UP:
                del self._known[peer]
            elif len(dialled) >= _ENOUGH or peer in dialled or peer in self._given:
                continue
            elif now - known.called >= (EVERY if away < _A_WHILE else _LATER):
                known.called = now
                calls.append(peer)
        return calls
