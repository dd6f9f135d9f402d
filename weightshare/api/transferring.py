"""The part of a fetch that runs the transfer: what is planned comes from the swarm, through the landing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from weightshare.api.gating import Passed, Wish
from weightshare.api.ordering import Ordering
from weightshare.api.own_files import write
from weightshare.api.piece_reuse import PieceReuse
from weightshare.api.placing import Plan
from weightshare.api.sources import Target
from weightshare.api.supplying import Pool
from weightshare.content.landing import Landing
from weightshare.errors import NetworkError
from weightshare.manifest.metainfo import Info, lone_hash
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.pieces import PieceMap
from weightshare.manifest.text import quoted
from weightshare.progress import Observer
from weightshare.swarm.feeding import Servers
from weightshare.swarm.fetching import Transfer
from weightshare.swarm.kept import Kept
from weightshare.swarm.networks import Network
from weightshare.swarm.session import Session
from weightshare.swarm.states import Machine
from weightshare.swarm.torrent import Peer


@dataclass(frozen=True, slots=True)
class Came:
    """Where the file bytes of a transfer came from.

    Attributes:
        swarm: from peers.
        servers: from the Hub and mirrors, by name, each counted as often as it came.
    """

    swarm: int = 0
    servers: Mapping[str, int] = field(default_factory=dict)


class Bringer:
    """Runs one transfer.

    Args:
        session: where it runs.
        target: what was pasted.
        wish: what the user asked for.
        machine: the fetch's state.
        observe: told how it goes.

    Attributes:
        found: the peers that the files came from and went to, once they are here.
    """

    def __init__(
        self, session: Session, target: Target, wish: Wish, machine: Machine, observe: Observer
    ) -> None:
        self._session = session
        self._target = target
        self._wish = wish
        self._machine = machine
        self._observe = observe
        self.found: tuple[Peer, ...] = ()

    def bring(
        self,
        passed: Passed,
        plan: Plan,
        landing: Landing,
        live: Transfer | None,
        pieces: PieceReuse,
        *,
        taken: set[int],
        ordering: Ordering | None,
        phases: Iterator[Collection[int]] | None = None,
        servers: Pool | None = None,
    ) -> Came:
        """Bring the planned files, at least one; returns where their bytes came from.

        Args:
            passed: what came through the gate.
            plan: which files.
            landing: takes and proves them.
            live: the torrent among peers, where it has come through the gate just now; it is removed.
            pieces: knows piece layers.
            taken: pieces that were taken from elsewhere on this machine.
            ordering: what comes first.
            phases: the pieces of these files that are wanted, more each time, the next once all of these are proven;
                None for all at once.
            servers: may be asked beside the swarm.

        Raises:
            NetworkError, DiskError, NoSpaceError: it broke off; resumable.
        """
        session = self._session
        # A connection that has idled at the gate has left its slow start and would crawl for a second: begin anew,
        # with the peers that were found.
        found: list[Peer] = []
        if live is not None:
            found = session.peers_of(live.torrent)
            session.remove(live.torrent)
        write(plan.staging / passed.info.name / MANIFEST_NAME, passed.decision.verified.envelope)
        recalled = landing.recalled
        wanted = [span.position for span in plan.spans]
        only = next(phases) if phases is not None else None
        layers = {**landing.known_layers(), **pieces.layers}
        fresh = not plan.has_staged and (not taken or pieces.all_layers is not None)
        if servers is not None and pieces.all_layers is None:
            fresh = False  # what servers bring must be proven by v1's hashes, where peers give no others
        by_v1 = passed.info.hybrid and not (fresh and session.network is not Network.PUBLIC)
        swarm = self._wish.sources.swarm
        peers = (*found, *self._target.magnet.peers, *self._wish.peers) if swarm else ()
        torrent = session.add_info(
            passed.info.raw,
            plan.staging,
            wanted=wanted,
            kept=Kept(recalled.here, recalled.withheld, recalled.begun),
            fresh=fresh,
            peers=peers,
            layers=layers,
            only=only,
        )
        transfer = Transfer(session, torrent, self._machine, observe=self._observe)
        transfer.check(plan.size)
        asked = None if servers is None else Servers(servers, not swarm, provable(passed.info, layers, by_v1))
        try:
            for pieces_wanted in chain([only], phases or ()):
                transfer.fetch(
                    passed.info,
                    wanted,
                    landing,
                    trackers=self._target.magnet.trackers if swarm else (),
                    order=ordering,
                    only=pieces_wanted,
                    servers=asked,
                )
        except BaseException as error:
            if transfer.suspend(landing):
                landing.seal()
            if isinstance(error, NetworkError) and self._target.torrent is None:
                explain(error, passed.info)
            raise
        came = Came(transfer.received(), transfer.brought())
        # Not `peers_of` once more: by now that would have the engine write out 2 MB of hashes a GiB.
        self.found = tuple(dict.fromkeys([*found, *transfer.torrent.dialled()]))
        session.remove(transfer.torrent)
        return came


def provable(info: Info, layers: Collection[bytes], by_v1: bool) -> Callable[[int], bool]:
    """Whether the engine can check a piece that no peer gave it, and so gave no hashes for.

    Args:
        info: the torrent.
        layers: the pieces roots of which the piece layers are known.
        by_v1: whether the engine goes by a hybrid's SHA-1 hashes too.
    """
    places = PieceMap(info)

    def check(piece: int) -> bool:
        span = places.span_of(piece)
        return by_v1 or span.count == 1 or (span.file.pieces_root or b"") in layers

    return check


def explain(error: NetworkError, info: Info) -> None:
    """Say what may be behind a transfer that broke off, where it is the engine's own mistake.

    Peers seem to hang up, over and over, when the hashes of a file's pieces cannot be got from them.
    """
    lone = next((file.path for file in info.files if lone_hash(file.size, info.piece_length)), None)
    if lone is not None:
        error.hint = (
            f"{quoted(lone)} has one piece hash more than a multiple of 512, which libtorrent gets wrong when it "
            f"has to ask peers for it. Fetch by the .torrent, which brings the hashes. {error.hint}"
        )
