"""Feeds what servers bring into the engine, beside the swarm, and counts who brought what.

The engine proves a piece before it keeps it (libtorrent's `add_piece`): `piece_finished` says that it is right,
`hash_failed` that it is not. A source that gave all of a wrong piece is asked no more, and is named. Blocks of a piece
that peers had delivered already stay, and ours in their place are left out, so no byte counts twice; where a piece
that both had a part in is wrong, nobody is blamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from weightshare.errors import NetworkError
from weightshare.manifest.metainfo import Info
from weightshare.manifest.pieces import PieceMap
from weightshare.swarm.order import Order
from weightshare.swarm.supply import Chooser, Help, Supply, help_for, share_of
from weightshare.swarm.transport import Carrier, Engine, TorrentStatus
from weightshare.units import BLOCK, MIB, format_size

_ROOM = 64 * MIB  # bytes that the engine may have from us and not yet have proven
_LOOK_EVERY = 0.1
_RARE_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class _Fed:
    """A piece that the engine was given: by whom, how many of its bytes, and whether that was all of it."""

    source: str
    length: int
    whole: bool
    path: str


@dataclass(frozen=True, slots=True)
class Servers:
    """What a transfer may ask beside the swarm.

    Attributes:
        supply: the servers.
        alone: whether no swarm is asked at all.
        provable: whether the engine can check a piece, as far as its hashes are known.
    """

    supply: Supply
    alone: bool = False
    provable: Callable[[int], bool] = lambda _: True


class Feeder:
    """Has servers bring pieces of one torrent and gives them to the engine. Used by one thread, several times a second.

    Args:
        engine: where the torrent lives; it shares the cap.
        info: of the torrent.
        supply: the servers.
        alone: whether no swarm is asked at all.
        provable: whether the engine can check a piece, as far as its hashes are known.
        began: when the swarm was first asked.

    Attributes:
        taken: bytes taken, by source, each counted as often as it came.
        kept: those of them that the engine kept, or counted as wasted.
    """

    def __init__(
        self,
        engine: Engine,
        info: Info,
        supply: Supply,
        *,
        alone: bool,
        provable: Callable[[int], bool],
        began: float,
    ) -> None:
        self._engine = engine
        self._places = PieceMap(info)
        self._supply = supply
        self._alone = alone
        self._provable = provable
        self._began = began
        self._chooser = Chooser(self._places, ())
        self._wanted: frozenset[int] = frozenset()
        self._claimed: set[int] = set()  # asked of a server
        self._fed: dict[int, _Fed] = {}
        self._fed_bytes = 0
        self._looked = self._rare_due = float("-inf")
        self._rare: frozenset[int] | None = None
        self.taken: Counter[str] = Counter()
        self.kept = 0

    def want(self, wanted: Collection[int]) -> None:
        """These pieces are wanted now."""
        self._wanted = frozenset(wanted)
        self._chooser = Chooser(self._places, self._wanted, self._provable)

    @property
    def busy(self) -> bool:
        """Whether servers work for us, so that it should be looked at again soon."""
        return bool(self._claimed or self._fed)

    @property
    def claimed(self) -> set[int]:
        """The pieces that servers are asked for, or the engine is proving: peers need not be asked."""
        return self._claimed | self._fed.keys()

    def words(self) -> str:
        """How the servers stand, in words, and what they brought; empty while they have not been asked."""
        words, size = self._supply.words(), sum(self.taken.values())
        if not size:
            return words
        return f"{words} ({format_size(size)})" if words else f"{format_size(size)} from servers"

    def waits(self) -> bool:
        """Whether the servers asked us to wait."""
        return self._supply.waits()

    def dead(self) -> bool:
        """Whether there is no server left to ask, and nothing of theirs on its way."""
        return self._supply.dead() and not self.busy

    def turn(self, torrent: Carrier, now: float, here: Collection[int], order: Order | None) -> None:
        """Take in what came, and ask for more.

        Args:
            torrent: where it goes.
            now: seconds on a clock that never goes back.
            here: the wanted pieces that arrived; a set.
            order: what is wanted first.
        """
        self._give(torrent, here)
        for run in self._supply.ended():
            self._claimed.difference_update(run.pieces)
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        if self._alone and self.dead() and len(here) < len(self._wanted):
            raise NetworkError(
                f"No server is left to fetch from: {self.words()}.",
                hint="What arrived is kept: the same command resumes. With --sources swarm,hub peers are asked too.",
            )
        self._choose(torrent, now, here, order)
        torrent.want_last(self.claimed)

    def finished(self, piece: int) -> None:
        """The engine has proven a piece."""
        fed = self._fed.pop(piece, None)
        if fed is not None:
            self._fed_bytes -= fed.length
            self.kept += fed.length

    def refused(self, piece: int) -> None:
        """A piece was not what it must be; the engine has dropped it."""
        fed = self._fed.pop(piece, None)
        if fed is None:
            return
        self._fed_bytes -= fed.length
        if fed.whole:
            self._supply.blame(fed.source, fed.path)
        else:
            self.kept += fed.length  # the engine counts the whole piece as wasted, peers' part and ours

    def anew(self) -> None:
        """The engine was told of the torrent anew, and knows nothing of pieces that it was proving."""
        for fed in self._fed.values():
            self.kept += fed.length
        self._fed.clear()
        self._fed_bytes = 0

    def _give(self, torrent: Carrier, here: Collection[int]) -> None:
        room = _ROOM - self._fed_bytes
        came = self._supply.drain(room) if room > 0 else ()
        if not came:
            return
        begun = torrent.begun()
        for one in came:
            self._claimed.discard(one.piece)
            length = len(one.data)
            self.taken[one.source] += length
            if one.piece in here or one.piece in self._fed:
                continue
            bits = begun.get(one.piece, ())
            theirs = min(BLOCK * sum(bits), length)
            path = self._places.span_of(one.piece).file.path
            self._fed[one.piece] = _Fed(one.source, length - theirs, not theirs, path)
            self._fed_bytes += length - theirs
            torrent.add_piece(one.piece, one.data)

    def _choose(self, torrent: Carrier, now: float, here: Collection[int], order: Order | None) -> None:
        if len(here) == len(self._wanted) or self._supply.dead():
            self._engine.share_down(0)
            return
        status = torrent.status()
        cap = self._engine.max_down
        help_wanted = help_for(waited=now - self._began, alone=self._alone, rate=status.down_rate, cap=cap)
        first = None
        if help_wanted is Help.MISSING:
            first = self._nobody_has(torrent, now, status)
        if help_wanted is Help.NOTHING or (help_wanted is Help.MISSING and not first):
            if not self.busy:
                self._engine.share_down(0)
            return
        share = cap if self._alone else share_of(cap, status.down_rate)
        self._supply.pace(share)
        self._engine.share_down(0 if self._alone else share)
        self._ask(torrent, here, order, first)

    def _ask(
        self, torrent: Carrier, here: Collection[int], order: Order | None, first: Collection[int] | None
    ) -> None:
        free = self._supply.free()
        if not free:
            return
        asked = torrent.asked()
        wanted = order.wanted() if order is not None else None
        for _ in range(free):
            ours = self.claimed
            run = self._chooser.next(here, asked | ours, first=first, order=wanted)
            if run is None and first is None:
                run = self._chooser.next(here, ours, order=wanted)
            if run is None:
                break
            self._claimed.update(run.pieces)
            self._supply.ask(run)

    def _nobody_has(self, torrent: Carrier, now: float, status: TorrentStatus) -> Collection[int]:
        """The wanted pieces that no connected peer has; looked up once a second."""
        if status.seeds:
            return ()
        if now >= self._rare_due or self._rare is None:
            self._rare_due = now + _RARE_EVERY
            copies = torrent.copies()
            self._rare = frozenset(
                piece for piece in self._wanted if piece < len(copies) and not copies[piece]
            )
        return self._rare


def split(taken: Counter[str]) -> dict[str, int]:
    """Bytes by source, those that gave nothing left out."""
    return {name: size for name, size in sorted(taken.items()) if size}
