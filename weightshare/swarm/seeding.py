"""Serving proven releases from where they lie, until told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from weightshare.swarm.events import FileFailed, TorrentFailed
from weightshare.swarm.networks import Network
from weightshare.swarm.offer import Offer
from weightshare.swarm.reach import Reach, Reaching, own_addresses
from weightshare.swarm.session import Session
from weightshare.swarm.torrent import Peer, Torrent
from weightshare.swarm.tracker_troubles import TrackerTroubles

_TICK = 0.2
_REPORT_EVERY = 1.0
_WATCH_EVERY = 2.0
_APART = 1.0  # seconds
_ALL_WITHIN = 10.0  # likewise


@dataclass(frozen=True, slots=True)
class Serving:
    """How it goes: connected peers, payload bytes sent, their rate, peers by release, trackers that fail, our port."""

    peers: int
    uploaded: int
    up_rate: float
    by_release: Mapping[str, int] = field(default_factory=dict)
    troubles: str = ""
    reach: Reach = field(default_factory=Reach)


def _trusting(_name: str) -> str:
    """Nobody watches the files."""
    return ""


def serve(
    session: Session,
    offers: Sequence[Offer],
    *,
    peers: Sequence[Peer] = (),
    ready: Callable[[], None],
    report: Callable[[Serving], None],
    stopped: Callable[[], bool],
    changed: Callable[[str], str] = _trusting,
    dropped: Callable[[str, str], None],
) -> Serving:
    """Serve the offers until `stopped()`.

    Args:
        session: where to serve them.
        offers: what to serve.
        peers: dialled for one offer after the other, again and again while they are away.
        ready: called once all of them can be fetched.
        report: called about once a second.
        stopped: asked several times a second.
        changed: asked every few seconds for each offer by name: what is wrong with its files, empty if nothing is.
        dropped: told which offer is not served any more, and why: its files are not those that were proven, or cannot
            be read. Once it was told of all of them, this returns.
    """
    torrents = {
        offer.name: session.add_seed(
            offer.torrent,
            offer.locations,
            trackers=offer.trackers,
            web_seeds=offer.web_seeds,
            peers=peers,
            release=offer.release,
        )
        for offer in offers
    }
    names = {torrent.key: name for name, torrent in torrents.items()}
    gone = 0

    def drop(name: str, why: str) -> None:
        nonlocal gone
        torrent = torrents.pop(name, None)
        if torrent is not None:
            gone += torrent.status().uploaded
            session.remove(torrent)
            dropped(name, why)

    ready()
    trackers, reaching = TrackerTroubles(), Reaching(own_addresses())
    due = watch = 0.0
    began = time.monotonic()
    # Transmission takes one handshake from an address at a time, and is rid of one for a torrent that it does not have
    # after a moment. The engine counts in seconds when it tries again, so a smaller distance would not last.
    apart = min(_APART, _ALL_WITHIN / max(1, len(torrents)))
    while torrents and not stopped():
        now = time.monotonic()
        for event in session.events(_TICK):
            trackers.hear(event)
            reaching.hear(event)
            if isinstance(event, FileFailed | TorrentFailed) and event.key in names:
                where = f"{event.path} " if isinstance(event, FileFailed) else ""
                drop(names[event.key], f"{where}can no longer be read: {event.reason}")
        if now >= watch:
            watch = now + _WATCH_EVERY
            for name, why in [(name, changed(name)) for name in torrents]:
                if why:
                    drop(name, why)
        for number, torrent in enumerate(torrents.values()):
            if now - began >= number * apart:
                torrent.dial(now)
        if now >= due:
            due = now + _REPORT_EVERY
            for torrent in torrents.values() if session.network is Network.PUBLIC else ():
                reaching.meet(torrent.came())
            report(_look(torrents, gone, trackers, reaching.so_far()))
    return _look(torrents, gone, trackers, reaching.so_far())


def _look(torrents: Mapping[str, Torrent], gone: int, trackers: TrackerTroubles, reach: Reach) -> Serving:
    found = {name: torrent.status() for name, torrent in torrents.items()}
    return Serving(
        peers=sum(status.peers for status in found.values()),
        uploaded=gone + sum(status.uploaded for status in found.values()),
        up_rate=sum(status.up_rate for status in found.values()),
        by_release={name: status.peers for name, status in found.items()},
        troubles=str(trackers),
        reach=reach,
    )
