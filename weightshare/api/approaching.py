"""The way up to the gate: a torrent of which nothing but the metadata and the manifest is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weightshare.api.sources import Target
from weightshare.manifest.metainfo import Info
from weightshare.progress import Observer
from weightshare.swarm.fetching import Transfer
from weightshare.swarm.session import Session
from weightshare.swarm.torrent import Peer
from weightshare.trust import gate


def begin(
    session: Session,
    target: Target,
    scratch: Path,
    peers: Sequence[Peer],
    *,
    timeout: float,
    observe: Observer,
) -> Transfer:
    """Add the target to the session, wanting no file of it yet.

    Raises:
        MetainfoError: the `.torrent` that the source gave is not the one that is meant, or breaks the format.
    """
    if target.torrent is None:
        torrent = session.add_magnet(target.magnet, scratch, peers)
    else:
        gate.check_info(target.torrent.info.raw, target.v2_hash)
        torrent = session.add_info(
            target.torrent.info.raw,
            scratch,
            peers=(*target.magnet.peers, *peers),
            layers=target.torrent.piece_layers,
        )
        torrent.open_sources(target.magnet.trackers, ())
    return Transfer(session, torrent, timeout=timeout, observe=observe)


def before_the_gate(transfer: Transfer, target: Target, scratch: Path) -> tuple[Info, bytes]:
    """The info dictionary, checked, and the manifest's bytes, not yet believed.

    Raises:
        NetworkError: they did not come in time.
        MetainfoError, UnsafePathError, UnsignedError: the info dictionary breaks a rule of the gate.
    """
    raw = target.torrent.info.raw if target.torrent is not None else transfer.metadata()
    info = gate.check_info(raw, target.v2_hash)
    return info, transfer.manifest(info, scratch)
