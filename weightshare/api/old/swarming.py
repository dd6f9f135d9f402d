"""The swarm half of an old torrent: its info dictionary, then its files, into a staging folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.api.limiting import Governor, governed
from weightshare.api.old.targets import OldTarget
from weightshare.api.own_files import make
from weightshare.content.home import Home
from weightshare.errors import NoSpaceError
from weightshare.files import existing, free_space
from weightshare.limits import Limits
from weightshare.manifest.plain import Plain, check_named, read_plain
from weightshare.progress import Observer
from weightshare.swarm.fetching import Transfer
from weightshare.swarm.interviews import Round
from weightshare.swarm.networks import Network
from weightshare.swarm.plain_torrents import PlainTransfer, add_plain
from weightshare.swarm.session import Session
from weightshare.swarm.states import Machine, State
from weightshare.swarm.torrent import Peer, Torrent
from weightshare.units import MIB, format_size

_RESERVE = 16 * MIB


def _unwarned(_: str) -> None:
    """Nobody is warned."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How the swarm may be reached; see `fetching.fetch` for each."""

    network: str = Network.PUBLIC
    port: int | None = None
    peers: Sequence[Peer] = ()
    dht_nodes: Sequence[Peer] = ()
    timeout: float = 300.0
    limits: Limits = field(default_factory=Limits)
    on_warning: Callable[[str], None] = _unwarned


class OldSwarm:
    """One old torrent in a session.

    Args:
        session: where.
        target: what it is.
        reach: whom else to ask, and how long to wait.
        observe: told how it goes.
    """

    def __init__(self, session: Session, target: OldTarget, reach: Reach, observe: Observer) -> None:
        self._session = session
        self._target = target
        self._reach = reach
        self._observe = observe
        self._found: list[Peer] = []
        self._machine = Machine(reach.timeout, time.monotonic())

    def metadata(self, scratch: Path) -> Plain:
        """The info dictionary, proven to be the one that is meant and every path in it safe; asks for no file.

        Args:
            scratch: a folder that goes away.

        Raises:
            NetworkError: it did not come in time.
            MetainfoError, UnsafePathError: it breaks a rule.
        """
        target = self._target
        if target.torrent is not None:
            plain = target.torrent.plain
        else:
            transfer = self._asking(scratch)
            try:
                plain = read_plain(transfer.metadata())
                self._found = self._session.peers_of(transfer.torrent)
            finally:
                self._session.remove(transfer.torrent)
        check_named(plain, target.magnet)
        self._machine.enter(State.GATING, time.monotonic())
        return plain

    def bring(self, plain: Plain, staging: Path, wanted: Collection[int]) -> int:
        """Bring some files into a staging folder; SHA-1 is all that was done to them. Returns the bytes that came.

        Args:
            plain: what `metadata` gave.
            staging: where they go, each under its path.
            wanted: which of them, by their place.

        Raises:
            NoSpaceError: the disk is too small.
            NetworkError, StoreError: it broke off; resumable.
        """
        files = [(staging / file.path, file.size) for file in plain.files]
        total = sum(files[position][1] for position in wanted)
        _check_space(staging, sum(_missing(*files[position]) for position in wanted))
        for state in (State.PLANNING, State.REUSING):
            self._machine.enter(state, time.monotonic())
        make(staging)
        magnet = self._target.magnet
        torrent = add_plain(
            self._session,
            plain.raw,
            staging,
            files,
            wanted=wanted,
            peers=(*self._found, *magnet.peers, *self._reach.peers),
            layers=self._target.torrent.layers if self._target.torrent is not None else None,
        )
        transfer = PlainTransfer(self._session, torrent, self._machine, observe=self._observe)
        try:
            received = transfer.bring(total, trackers=magnet.trackers, web_seeds=magnet.web_seeds)
        except BaseException:
            transfer.halt()
            raise
        self._session.remove(transfer.torrent)
        self._machine.enter(State.PROVING, time.monotonic())
        return received

    def _asking(self, scratch: Path) -> Transfer:
        magnet, peers = self._target.magnet, self._reach.peers
        torrent = self._session.add_magnet(magnet, scratch, peers)

        def again(following: Round) -> Torrent:
            nonlocal torrent
            self._session.remove(torrent)
            torrent = self._session.add_magnet(
                magnet, scratch, peers, alone=following.alone, avoid=following.avoid
            )
            return torrent

        return Transfer(self._session, torrent, self._machine, observe=self._observe, again=again)


@contextmanager
def old_swarm(home: Home, target: OldTarget, reach: Reach, observe: Observer) -> Iterator[OldSwarm]:
    """A session for one old torrent, under the limits of a home.

    Raises:
        ListenError: the port cannot be listened on.
        UsageError: `config.toml` or the file of live limits says something it cannot.
    """
    governor = Governor(home, reach.limits, warn=reach.on_warning)
    with ExitStack() as stack:
        session = stack.enter_context(
            Session(
                network=Network(reach.network),
                port=reach.port,
                limits=governor.held.limits,
                dht_nodes=reach.dht_nodes,
            )
        )
        stack.enter_context(governed(session, governor))
        yield OldSwarm(session, target, reach, observe)


def _check_space(staging: Path, needed: int) -> None:
    folder = existing(staging)
    free = free_space(folder)
    if needed + _RESERVE > free:
        raise NoSpaceError(
            f"{folder} has {format_size(free)} free, and {format_size(needed + _RESERVE)} are needed.",
            hint="Make space, or name another folder.",
            path=str(folder),
            needed=needed + _RESERVE,
            free=free,
        )


def _missing(path: Path, size: int) -> int:
    """Bytes that a file will take on the disk beside those it takes already; sparse parts do not count."""
    try:
        found = path.stat()
    except OSError:
        return size
    return max(0, size - min(found.st_size, getattr(found, "st_blocks", size) * 512))
