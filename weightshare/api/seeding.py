"""`seed`: serve what is here, from where it lies, opened for reading only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from weightshare.api.launching.embargo import Warden
from weightshare.api.limiting import Governor, Held, governed
from weightshare.api.offering import locate, offer
from weightshare.api.old.keeping import offer_unsigned
from weightshare.api.old.naming import find_unsigned
from weightshare.api.old.watching import UnsignedWatch
from weightshare.api.results import Fetched, SeedStatus
from weightshare.api.trusting import Trustee
from weightshare.api.watching import Watch
from weightshare.content.embargoes import Embargo, embargo_of
from weightshare.content.home import Home
from weightshare.content.served import note_port
from weightshare.content.store import Record, Store
from weightshare.content.unsigned_store import UnsignedRecord, UnsignedStore
from weightshare.errors import (
    CorruptError,
    ReleaseNotFoundError,
    RetiredKeyError,
    RevokedError,
    StoreLockedError,
    UsageError,
)
from weightshare.limits import Effective, Limits
from weightshare.progress import Observer, ignore
from weightshare.swarm.networks import Network
from weightshare.swarm.offer import Offer
from weightshare.swarm.seeding import Serving, serve
from weightshare.swarm.session import Session
from weightshare.swarm.torrent import Peer


def _silent(_: SeedStatus) -> None:
    """Nobody watches."""


def _unannounced(_port: int, _releases: tuple[str, ...]) -> None:
    """Nobody waits."""


def _unlimited(_limits: Effective, _resting: tuple[str, ...]) -> None:
    """Nobody minds."""


def _unwarned(_: str) -> None:
    """Nobody is warned."""


def _unopened(_release: str) -> None:
    """Nobody waits for an embargo to end."""


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
    dht_nodes: Sequence[Peer] = (),
    max_down: int | None = None,
    max_up: int | None = None,
    max_connections: int | None = None,
    upload_per_day: int | None = None,
    ratio: float | None = None,
    unsigned: bool = False,
    on_listening: Callable[[int, tuple[str, ...]], None] = _unannounced,
    on_status: Callable[[SeedStatus], None] = _silent,
    on_left_out: Callable[[RevokedError | RetiredKeyError | CorruptError], None] = _unmentioned,
    on_limits: Callable[[Effective, tuple[str, ...]], None] = _unlimited,
    on_warning: Callable[[str], None] = _unwarned,
    on_opened: Callable[[str], None] = _unopened,
    observe: Observer = ignore,
    stop: threading.Event | None = None,
) -> SeedStatus:
    """Serve releases until `stop` is set or Ctrl-C.

    Limits follow `config.toml` and `weightshare limits` while it runs. One that is given here beats the file, and
    `weightshare limits` beats both; None leaves it to the file, 0 is no limit. Over its upload budget it stays in the
    swarm and gives nothing until midnight; a release over its ratio leaves the swarm until the ratio is raised.

    A release under embargo is served to those on its list and nobody is told of it, until the embargo ends, which is
    noticed while it is served. It is served alone: what others are told of a session they are told of all in it.

    Args:
        releases: names, info-hashes or folders; none means everything complete in the store.
        home: where the store is.
        trust: fingerprints to pin if a publisher is unknown.
        network: `public`, `lan` or `local`.
        port: where to listen.
        peers: addresses to dial.
        dht_nodes: by which to enter the DHT on the public network; none for the public ones.
        max_down: limit in bytes a second on what comes in.
        max_up: likewise, on what goes out.
        max_connections: limit on connections to peers.
        upload_per_day: bytes that may be given from midnight to midnight, by all of this home together.
        ratio: times its own size that each release may be given.
        unsigned: serve torrents too that were fetched although nobody signed them.
        on_listening: told the port and the releases once they can be fetched.
        on_status: told about once a second how it goes.
        on_left_out: told why a release is not served that its publisher does not stand by any more, when everything
            is to be served; one that is named is refused instead. And why one is not served any more: a file of it was
            changed, cut or removed, or cannot be read.
        on_limits: told when limits come to hold, change, or end uploads: what holds, and the releases over their ratio.
        on_warning: told of a file of limits that cannot be read or written; what held goes on to hold. And of releases
            that are left out since they are under embargo.
        on_opened: told which release's embargo has ended, once everybody can have it.
        observe: told how hashing goes, where a receipt no longer matches.
        stop: ends it.

    Raises:
        ReleaseNotFoundError: there is nothing to serve.
        CorruptError: a release is not what was signed, and none is served then; or the files of all that were served
            have changed since.
        RevokedError, RetiredKeyError: the publisher does not stand by a release that was named, or by any.
        ListenError: the port cannot be listened on.
        UsageError: `config.toml` or the file of live limits says something it cannot; or one of several releases that
            were named is under embargo.
    """
    home = home or Home.default()
    store = Store(home)
    trustee = Trustee(home, trust)
    arrived = _unsigned_of(home, releases) if unsigned else {}
    names = (
        tuple(name for name in releases if name not in arrived)
        if releases
        else _everything(store, on_warning)
    )
    if not names and not arrived:
        raise ReleaseNotFoundError(
            "There is nothing to serve.",
            hint="`weightshare publish DIR --name ORG/MODEL` or `weightshare fetch` puts a release here.",
            release="",
        )
    offers: dict[str, Offer] = {}
    watches: dict[str, Watch] = {}
    known: dict[str, str] = {}  # releases by v2 info-hash
    held: list[tuple[Record, Embargo]] = []
    serving: list[Path] = []  # the folders of the records that this call has locked
    stopped = stop or threading.Event()
    with ExitStack() as stack:
        left_out: list[RevokedError | RetiredKeyError | CorruptError] = []
        for old in arrived.values():
            plain = offer_unsigned(old, home=home, observe=observe)
            known[old.info_hash] = plain.name
            offers[plain.name], watches[plain.name] = plain, UnsignedWatch(old)
        for name in names:
            located = None
            try:
                located = locate(store, trustee, name)
                record, found = offer(store, located, observe)
            except (RevokedError, RetiredKeyError, CorruptError) as error:
                # Other programs change and delete their own files: that is no reason to serve nothing.
                theirs = located is not None and home.found in located.folder.parents
                left_out.append(error)
                if (
                    (isinstance(error, CorruptError) and not theirs)
                    or releases
                    or len(left_out) == len(names)
                ):
                    raise
                on_left_out(error)
                continue
            embargo = embargo_of(store, record.info_hash, time.time())
            held += [(record, embargo)] if embargo is not None else []
            with suppress(StoreLockedError):  # a second seeder of the same release does no harm
                stack.enter_context(store.seeding_lock(record))
                serving.append(store.folder(record))
            known[record.info_hash] = record.release
            for one in found:
                offers.setdefault(one.name, one)
                watches.setdefault(one.name, Watch(store, located, record))
        if held and len(names) > 1:
            raise UsageError(
                f"{held[0][0].release} is under embargo, and is served alone.",
                hint=f"Serve it by itself: weightshare seed {held[0][0].release}",
            )
        call = Limits(max_down, max_up, max_connections, upload_per_day, ratio)

        def resting(held: Held) -> tuple[str, ...]:
            return tuple(known.get(release, release) for release in held.resting)

        governor = Governor(
            home, call, changed=lambda held: on_limits(held.limits, resting(held)), warn=on_warning
        )
        session = stack.enter_context(
            Session(
                network=Network(network),
                port=port,
                limits=governor.held.limits,
                dht_nodes=dht_nodes,
                serving=True,
                sealed=held[0][1].allow if held else None,
            )
        )
        for record, embargo in held:
            who = ", ".join(embargo.allow) or "nobody"
            on_warning(
                f"{record.release} is under embargo: only {who} may have it, and nobody is told of it."
            )
            Warden(store, record, lambda: on_opened(held[0][0].release)).start(session)
        stack.enter_context(governed(session, governor))
        listening = session.port
        for folder in serving:
            note_port(folder, listening)
        served = tuple(offers)

        def status(now: Serving) -> SeedStatus:
            return SeedStatus(
                port=listening,
                releases=served,
                peers=now.peers,
                up_rate=now.up_rate,
                uploaded=now.uploaded,
                peers_by_release=tuple(now.by_release.items()),
                limits=governor.held.limits,
                resting=resting(governor.held),
                troubles=now.troubles,
                reach=now.reach,
            )

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
                report=lambda now: on_status(status(now)),
                stopped=stopped.is_set,
                changed=lambda name: watches[name].changed(),
                dropped=dropped,
            )
        except KeyboardInterrupt:
            stopped.set()
        if len(lost) == len(offers):
            raise lost[-1]
        return status(last)


def serve_fetched(
    session: Session,
    fetched: Fetched,
    *,
    home: Home,
    seconds: float,
    peers: Sequence[Peer],
    on_status: Callable[[SeedStatus], None],
    observe: Observer,
    stop: threading.Event,
) -> SeedStatus:
    """Serve what was just fetched, in the session that fetched it, for so many seconds or until `stop` or Ctrl-C.

    Args:
        session: where it was fetched; listens on the port that its peers know.
        fetched: the release; a complete one.
        home: where its record is.
        seconds: how long.
        peers: those it came from, dialled again.
        on_status: told about once a second how it goes.
        observe: told how hashing goes, should a file have changed already.
        stop: ends it.

    Raises:
        CorruptError: the files are not those that were proven any more, or cannot be read.
    """
    store = Store(home)
    located = locate(store, Trustee(home, ()), fetched.info_hash_v2)
    record, found = offer(store, located, observe)
    Warden(store, record, lambda: None).start(session)
    watch = Watch(store, located, record)
    lost: list[CorruptError] = []
    names = tuple(one.name for one in found)
    end = time.monotonic() + seconds

    def status(now: Serving) -> SeedStatus:
        return SeedStatus(
            port=session.port,
            releases=names,
            peers=now.peers,
            up_rate=now.up_rate,
            uploaded=now.uploaded,
            peers_by_release=tuple(now.by_release.items()),
            limits=session.limits,
        )

    last = Serving(0, 0, 0.0)
    with ExitStack() as stack:
        with suppress(StoreLockedError):
            stack.enter_context(store.seeding_lock(record))
        try:
            last = serve(
                session,
                found,
                peers=peers,
                ready=lambda: None,
                report=lambda now: on_status(status(now)),
                stopped=lambda: stop.is_set() or time.monotonic() >= end,
                changed=lambda _: watch.changed(),
                dropped=lambda name, why: lost.append(watch.error(name, why)),
            )
        except KeyboardInterrupt:
            stop.set()
    if lost:
        raise lost[-1]
    on_status(status(last))
    return status(last)


def _everything(store: Store, warn: Callable[[str], None]) -> tuple[str, ...]:
    """One name for each complete release; a release that lies in two places is served from one.

    Those under embargo are left out, unless there is one such and nothing else.
    """
    found = {record.info_hash: record for record in store.records() if record.complete}
    held = [known for known in found if embargo_of(store, known, time.time()) is not None]
    if len(found) > 1:
        for known in held:
            name = found.pop(known).release
            warn(f"{name} is under embargo and is served alone, by `weightshare seed {name}`; not here.")
    return tuple(found)


def _unsigned_of(home: Home, names: Sequence[str]) -> dict[str, UnsignedRecord]:
    """The unsigned torrents among these names; all that are whole where nothing is named."""
    if not names:
        return {one.info_hash: one for one in UnsignedStore(home).records() if one.complete}
    found = {name: find_unsigned(name, home=home) for name in names}
    return {name: one for name, one in found.items() if one is not None}
