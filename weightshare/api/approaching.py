"""The way up to the gate: a torrent of which nothing but the metadata and the manifest is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weightshare.api.manifest_places import Seeker
from weightshare.api.sources import Target
from weightshare.manifest.metainfo import Info
from weightshare.progress import Observer
from weightshare.swarm.fetching import Transfer
from weightshare.swarm.interviews import Round
from weightshare.swarm.networks import Network
from weightshare.swarm.session import Session
from weightshare.swarm.states import Machine
from weightshare.swarm.torrent import Peer, Torrent
from weightshare.trust import gate


def begin(
    session: Session,
    target: Target,
    scratch: Path,
    peers: Sequence[Peer],
    *,
    machine: Machine,
    observe: Observer,
) -> Transfer:
    """Add the target to the session, wanting no file of it yet.

    Raises:
        MetainfoError: the `.torrent` that the source gave is not the one that is meant, or breaks the format.
    """
    if target.torrent is not None:
        gate.check_info(target.torrent.info.raw, target.v2_hash)
        torrent = session.add_info(
            target.torrent.info.raw,
            scratch,
            peers=(*target.magnet.peers, *peers),
            layers=target.torrent.piece_layers,
        )
        torrent.open_sources(target.magnet.trackers, ())
        return Transfer(session, torrent, machine, observe=observe)
    torrent = session.add_magnet(target.magnet, scratch, peers)

    def again(following: Round) -> Torrent:
        nonlocal torrent
        session.remove(torrent)
        torrent = session.add_magnet(
            target.magnet, scratch, peers, alone=following.alone, avoid=following.avoid
        )
        return torrent

    return Transfer(session, torrent, machine, observe=observe, again=again)


def before_the_gate(
    transfer: Transfer,
    target: Target,
    scratch: Path,
    peers: Sequence[Peer],
    network: Network | None = None,
) -> tuple[Info, bytes]:
    """The info dictionary, checked, and the manifest's bytes, not yet believed.

    Args:
        transfer: of the torrent that `begin` added.
        target: what was pasted.
        scratch: where the torrent was added to.
        peers: dialled.
        network: by HTTP the manifest is looked for in the places within it that are known; None for nowhere.

    Raises:
        NetworkError: they did not come in time.
        MetainfoError, UnsafePathError, UnsignedError: the info dictionary breaks a rule of the gate.
    """
    if target.torrent is not None:
        info = gate.check_info(target.torrent.info.raw, target.v2_hash)
    else:
        info = gate.check_info(transfer.metadata(), target.v2_hash)
        transfer.torrent.open_up(target.magnet.trackers, [*target.magnet.peers, *peers])
    if network is None:
        return info, transfer.manifest(info, scratch)
    seeker = Seeker(target, info, network)
    try:
        return info, transfer.manifest(info, scratch, seeker)
    finally:
        seeker.close()
