"""`seed`: serve what is here, from where it lies, opened for reading only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from weightshare.api.offering import locate, offer
from weightshare.api.results import SeedStatus
from weightshare.api.trusting import Trustee
from weightshare.api.watching import Watch
from weightshare.content.store import Home, Store
from weightshare.errors import (
    CorruptError,
    ReleaseNotFoundError,
    RetiredKeyError,
    RevokedError,
    StoreLockedError,
)
from weightshare.progress import Observer, ignore
from weightshare.swarm.networks import Network
from weightshare.swarm.seeding import Offer, Serving, serve
from weightshare.swarm.session import Session
from weightshare.swarm.torrent import Peer


def _silent(_: SeedStatus) -> None:
    """Nobody watches."""


def _unannounced(_port: int, _releases: tuple[str, ...]) -> None:
    """Nobody waits."""


def _unmentioned(error: RevokedError | RetiredKeyError | CorruptError) -> None:
    """Nobody is told."""


def seed(
    releases: Sequence[str] = (),
    *,
    home: Home | None = None,
    trust: Sequence[str] = (),
    network: str = Network.PUBLIC,
    port: int | None = None,
    peers: Sequence[Peer] = (),
    max_down: int = 0,
    max_up: int = 0,
    on_listening: Callable[[int, tuple[str, ...]], None] = _unannounced,
    on_status: Callable[[SeedStatus], None] = _silent,
    on_left_out: Callable[[RevokedError | RetiredKeyError | CorruptError], None] = _unmentioned,
    observe: Observer = ignore,
    stop: threading.Event | None = None,
) -> SeedStatus:
    """Serve releases until `stop` is set or Ctrl-C.

    Args:
        releases: names, info-hashes or folders; none means everything complete in the store.
        home: where the store is.
        trust: fingerprints to pin if a publisher is unknown.
        network: `public`, `lan` or `local`.
        port: where to listen.
        peers: addresses to dial.
        max_down: cap in bytes a second, 0 for none.
        max_up: likewise.
        on_listening: told the port and the releases once they can be fetched.
        on_status: told about once a second how it goes.
        on_left_out: told why a release is not served that its publisher does not stand by any more, when everything
            is to be served; one that is named is refused instead. And why one is not served any more: a file of it was
            changed, cut or removed, or cannot be read.
        observe: told how hashing goes, where a receipt no longer matches.
        stop: ends it.

    Raises:
        ReleaseNotFoundError: there is nothing to serve.
        CorruptError: a release is not what was signed, and none is served then; or the files of all that were served
            have changed since.
        RevokedError, RetiredKeyError: the publisher does not stand by a release that was named, or by any.
        ListenError: the port cannot be listened on.
    """
    home = home or Home.default()
    store = Store(home)
    trustee = Trustee(home, trust)
    names = tuple(releases) or _everything(store)
    if not names:
        raise ReleaseNotFoundError(
            "There is nothing to serve.",
            hint="`weightshare publish DIR --name ORG/MODEL` or `weightshare fetch` puts a release here.",
            release="",
        )
    offers: dict[str, Offer] = {}
    watches: dict[str, Watch] = {}
    stopped = stop or threading.Event()
    with ExitStack() as stack:
        left_out: list[RevokedError | RetiredKeyError] = []
        for name in names:
            try:
                located = locate(store, trustee, name)
            except (RevokedError, RetiredKeyError) as error:
                left_out.append(error)
                if releases or len(left_out) == len(names):
                    raise
                on_left_out(error)
                continue
            record, found = offer(store, located, observe)
            with suppress(StoreLockedError):  # a second seeder of the same release does no harm
                stack.enter_context(store.seeding_lock(record))
            for one in found:
                offers.setdefault(one.name, one)
                watches.setdefault(one.name, Watch(store, located, record))
        session = stack.enter_context(
            Session(network=Network(network), port=port, max_down=max_down, max_up=max_up)
        )
        listening = session.port
        served = tuple(offers)

        def report(now: Serving) -> None:
            on_status(_status(listening, served, now))

        lost: list[CorruptError] = []

        def dropped(name: str, why: str) -> None:
            lost.append(watches[name].error(name, why))
            if len(lost) < len(offers):
                on_left_out(lost[-1])

        last = Serving(0, 0, 0.0)
        try:
            last = serve(
                session,
                tuple(offers.values()),
                peers=peers,
                ready=lambda: on_listening(listening, served),
                report=report,
                stopped=stopped.is_set,
                changed=lambda name: watches[name].changed(),
                dropped=dropped,
            )
        except KeyboardInterrupt:
            stopped.set()
        if len(lost) == len(offers):
            raise lost[-1]
        return _status(listening, served, last)


def _everything(store: Store) -> tuple[str, ...]:
    """One name for each complete release; a release that lies in two places is served from one."""
    found = {record.info_hash_v2: record for record in store.records() if record.complete}
    return tuple(found)


def _status(port: int, releases: tuple[str, ...], now: Serving) -> SeedStatus:
    return SeedStatus(
        port=port,
        releases=releases,
        peers=now.peers,
        up_rate=now.up_rate,
        uploaded=now.uploaded,
        peers_by_release=tuple(now.by_release.items()),
    )
