"""The part of a fetch that runs the transfer: what is planned comes from the swarm, through the landing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain

from weightshare.api.gating import Passed, Wish
from weightshare.api.ordering import Ordering
from weightshare.api.own_files import write
from weightshare.api.piece_reuse import PieceReuse
from weightshare.api.placing import Plan
from weightshare.api.sources import Target
from weightshare.content.landing import Landing
from weightshare.errors import NetworkError
from weightshare.manifest.metainfo import Info, lone_hash
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.text import quoted
from weightshare.progress import Observer
from weightshare.swarm.fetching import Transfer
from weightshare.swarm.kept import Kept
from weightshare.swarm.session import Session
from weightshare.swarm.states import Machine
from weightshare.swarm.torrent import Peer


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
    ) -> int:
        """Bring the planned files, at least one; returns the file bytes taken from the swarm.

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
        torrent = session.add_info(
            passed.info.raw,
            plan.staging,
            wanted=wanted,
            kept=Kept(recalled.here, recalled.withheld, recalled.begun),
            fresh=not plan.has_staged and (not taken or pieces.all_layers is not None),
            peers=(*found, *self._target.magnet.peers, *self._wish.peers),
            layers={**landing.known_layers(), **pieces.layers},
            only=only,
        )
        transfer = Transfer(session, torrent, self._machine, observe=self._observe)
        transfer.check(plan.size)
        try:
            for pieces_wanted in chain([only], phases or ()):
                transfer.fetch(
                    passed.info,
                    wanted,
                    landing,
                    trackers=self._target.magnet.trackers,
                    web_seeds=self._target.magnet.web_seeds,
                    order=ordering,
                    only=pieces_wanted,
                )
        except BaseException as error:
            if transfer.suspend(landing):
                landing.seal()
            if isinstance(error, NetworkError) and self._target.torrent is None:
                explain(error, passed.info)
            raise
        received = transfer.received()
        # Not `peers_of` once more: by now that would have the engine write out 2 MB of hashes a GiB.
        self.found = tuple(dict.fromkeys([*found, *transfer.torrent.dialled()]))
        session.remove(transfer.torrent)
        return received


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
