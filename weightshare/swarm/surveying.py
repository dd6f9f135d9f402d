"""A look at a release's swarm from a place of its own: who has all of it, and what the DHT says of it."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import libtorrent as lt

from weightshare.manifest.magnet import Magnet
from weightshare.swarm.events import DhtAnswered, OutsideAddress, Scraped, TrackerFailed, TrackerReplied
from weightshare.swarm.networks import Network
from weightshare.swarm.session import Session
from weightshare.swarm.torrent import Peer, Torrent

_ASK_EVERY = 2.0
_TICK = 0.1


@dataclass(frozen=True, slots=True)
class Survey:
    """What was seen.

    Attributes:
        seeds: peers with all of the release, by address; those that came to us without their port, as 0.
        peers: everybody that was connected.
        named: whom the DHT named, under either info-hash.
        nodes: how many nodes of the DHT were known at the end; 0 where it was not entered.
        addresses: our own addresses, as others see them.
        answered: the trackers that took our announcement, with how many have all of it as far as they say (-1).
        failed: the trackers that did not, with their words.
        seconds: how long it took.
    """

    seeds: tuple[Peer, ...]
    peers: tuple[Peer, ...]
    named: tuple[Peer, ...]
    nodes: int
    addresses: tuple[str, ...]
    answered: Mapping[str, int]
    failed: Mapping[str, str]
    seconds: float


def survey(
    session: Session,
    info: bytes,
    magnet: Magnet,
    folder: Path,
    *,
    peers: Sequence[Peer] = (),
    seconds: float,
    enough: Callable[[Survey], bool],
) -> Survey:
    """Meet a release's peers, wanting no byte of it, and ask the DHT for it.

    Args:
        session: a new one.
        info: the release's info dictionary.
        magnet: its trackers, and its hashes.
        folder: an empty one.
        peers: dialled too.
        seconds: how long at most.
        enough: whether it may end early.
    """
    engine = session._session
    torrent = session.add_info(info, folder, peers=(*magnet.peers, *peers))
    torrent.open_sources(magnet.trackers, ())
    hashes = [raw[:20] for raw in (magnet.v2_hash, magnet.v1_hash) if raw is not None]
    asked = bool(session.setting("enable_dht"))
    seeds: dict[Peer, None] = {}
    met: dict[Peer, None] = {}
    named: dict[Peer, None] = {}
    addresses: dict[str, None] = {}
    answered: dict[str, int] = {}
    failed: dict[str, str] = {}
    began, due = time.monotonic(), 0.0

    def look() -> Survey:
        nodes = engine.status().dht_nodes if asked else 0
        return Survey(
            seeds=tuple(seeds),
            peers=tuple(met),
            named=tuple(named),
            nodes=nodes,
            addresses=tuple(addresses),
            answered=dict(answered),
            failed={url: words for url, words in failed.items() if url not in answered},
            seconds=time.monotonic() - began,
        )

    while time.monotonic() - began < seconds and not enough(look()):
        now = time.monotonic()
        torrent.dial(now)
        if now >= due:
            due = now + _ASK_EVERY
            for raw in hashes if asked else ():
                engine.dht_get_peers(lt.sha1_hash(raw))
            for number, url in enumerate(magnet.trackers):
                if url in answered:
                    torrent._handle.scrape_tracker(number)
        for event in session.events(_TICK):
            if isinstance(event, DhtAnswered):
                named.update(dict.fromkeys(event.peers))
            elif isinstance(event, OutsideAddress):
                addresses[event.address] = None
            elif isinstance(event, TrackerReplied):
                due = due if event.url in answered else 0.0
                answered.setdefault(event.url, -1)
            elif isinstance(event, TrackerFailed):
                failed[event.url] = event.words
            elif isinstance(event, Scraped):
                answered[event.url] = max(event.seeds, answered.get(event.url, -1))
        for peer, whole in _met(torrent):
            met[peer] = None
            if whole:
                seeds[peer] = None
    return look()


def as_a_stranger(session: Session) -> None:
    """Have a session behave as one that is not on the machine of those that it looks for, though it is.

    On the public network it does not search the LAN: who is found there proves nothing of the rest. It takes several
    peers at one address, since the seeder has its own, and the engine would keep but one of the two.
    """
    settings = {"allow_multiple_connections_per_ip": True}
    if session.network is Network.PUBLIC:
        settings["enable_lsd"] = False
    session._session.apply_settings(cast("Any", settings))


def distinct(peers: Collection[Peer], own: Collection[str], port: int | None) -> set[str]:
    """The machines behind some peers, by address; on this machine each port counts for one.

    Args:
        peers: by address and port.
        own: our own addresses; whoever is there on our own port is ourselves.
        port: that port.
    """
    found = set()
    for host, number in peers:
        loopback = ipaddress.ip_address(host.partition("%")[0]).is_loopback
        if (loopback or host in own) and number in (port, 0):
            continue  # 0: it came to us, and from here that is most likely our own seeder
        found.add(f"{host}:{number}" if loopback else host)
    return found


def _met(torrent: Torrent) -> list[tuple[Peer, bool]]:
    found = []
    for peer in torrent._handle.get_peer_info():
        if peer.flags & (lt.peer_info.connecting | lt.peer_info.handshake):
            continue
        ours = bool(peer.flags & lt.peer_info.local_connection)
        address = str(peer.ip[0]), int(peer.ip[1]) if ours else 0
        found.append((address, bool(peer.flags & lt.peer_info.seed)))
    return found
