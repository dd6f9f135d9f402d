"""Serving proven releases from where they lie, until told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.errors import DiskError
from weightshare.swarm.alerts import FileFailed, TorrentFailed
from weightshare.swarm.session import Session
from weightshare.swarm.torrent import Peer, Torrent

_TICK = 0.2
_REPORT_EVERY = 1.0
_APART = 1.0  # seconds
_ALL_WITHIN = 10.0  # likewise


@dataclass(frozen=True, slots=True)
class Offer:
    """A release that may be served: its files were proven, or their receipts still match.

    Attributes:
        name: the release, for reports.
        torrent: the `.torrent` with piece layers.
        locations: where each file lies, by its place in the file tree.
        trackers: where to announce, as far as the network allows.
        web_seeds: likewise.
        release: the v2 info-hash in hex that uploads are counted for; the torrent's own where it is empty.
    """

    name: str
    torrent: bytes
    locations: Mapping[int, Path]
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    release: str = ""


@dataclass(frozen=True, slots=True)
class Serving:
    """How it goes: connected peers, payload bytes sent and their rate, peers by release."""

    peers: int
    uploaded: int
    up_rate: float
    by_release: Mapping[str, int] = field(default_factory=dict)


def serve(
    session: Session,
    offers: Sequence[Offer],
    *,
    peers: Sequence[Peer] = (),
    ready: Callable[[], None],
    report: Callable[[Serving], None],
    stopped: Callable[[], bool],
) -> Serving:
    """Serve the offers until `stopped()`.

    Args:
        session: where to serve them.
        offers: what to serve.
        peers: dialled for one offer after the other, again and again while they are away.
        ready: called once all of them can be fetched.
        report: called about once a second.
        stopped: asked several times a second.

    Raises:
        DiskError: a file can no longer be read; the others would go on lying about being complete, so all stop.
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
    ready()
    due = 0.0
    began = time.monotonic()
    # Transmission takes one handshake from an address at a time, and is rid of one for a torrent that it does not have
    # after a moment. The engine counts in seconds when it tries again, so a smaller distance would not last.
    apart = min(_APART, _ALL_WITHIN / max(1, len(torrents)))
    while not stopped():
        now = time.monotonic()
        for event in session.events(_TICK):
            if isinstance(event, FileFailed | TorrentFailed):
                where = event.path if isinstance(event, FileFailed) else names.get(event.key, "a release")
                raise DiskError(
                    f"{where} can no longer be read: {event.reason}.",
                    hint="`weightshare verify` says what is wrong with the release.",
                    path=where,
                )
        for number, torrent in enumerate(torrents.values()):
            if now - began >= number * apart:
                torrent.dial(now)
        if now >= due:
            due = now + _REPORT_EVERY
            report(_look(torrents))
    return _look(torrents)


def _look(torrents: Mapping[str, Torrent]) -> Serving:
    found = {name: torrent.status() for name, torrent in torrents.items()}
    return Serving(
        peers=sum(status.peers for status in found.values()),
        uploaded=sum(status.uploaded for status in found.values()),
        up_rate=sum(status.up_rate for status in found.values()),
        by_release={name: status.peers for name, status in found.items()},
    )
