"""Releases that are made ready and not announced: who may have them until they are opened, and the opening."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from weightshare.content import embargoes
from weightshare.content.embargoes import Embargo
from weightshare.content.home import Home
from weightshare.content.store import Record, Store
from weightshare.errors import MagnetError, ReleaseNotFoundError, StoreError, UsageError
from weightshare.manifest import magnet as magnets
from weightshare.manifest.magnet import Magnet
from weightshare.swarm.sealing import check_allowed
from weightshare.swarm.session import Session
from weightshare.swarm.torrent import Peer

_LOOK_EVERY = 0.5


@dataclass(frozen=True, slots=True)
class Opened:
    """What `announce` opened.

    Attributes:
        release: `ORG/MODEL@VERSION`.
        magnet: the link to post from now on.
        trackers: where it is announced, beside the DHT.
        was_closed: whether it was under embargo until now.
        seeding: whether a seeder of this home serves it, which opens within a second.
    """

    release: str
    magnet: str
    trackers: tuple[str, ...]
    was_closed: bool
    seeding: bool

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "release": self.release,
            "magnet": self.magnet,
            "trackers": list(self.trackers),
            "was_closed": self.was_closed,
            "seeding": self.seeding,
        }


def new_embargo(allow: Sequence[str], opens: int = 0) -> Embargo:
    """An embargo as a maintainer asks for it.

    Args:
        allow: addresses, ranges in CIDR notation and host names.
        opens: Unix seconds at which it ends by itself; 0 for never.

    Raises:
        UsageError: an entry is none of these, or the time has passed.
    """
    if opens and opens <= time.time():
        raise UsageError("The time to announce at has passed.", hint="Leave --announce-at and --embargo out.")
    return Embargo(opens=opens).allowing(check_allowed(entry) for entry in allow)


def quiet_magnet(magnet: Magnet, embargo: Embargo) -> Magnet:
    """The link for mirrors: it names no tracker, web seed or URL, and says that there is an embargo."""
    return replace(magnet, trackers=(), web_seeds=(), sources=(), embargo=embargo.opens)


def sealing_of(home: Home, magnet: Magnet, peers: Sequence[Peer]) -> tuple[str, ...] | None:
    """Whom alone a fetch may speak to, as its link or this home says that the release is under embargo; else None."""
    here = embargoes.embargo_of(Store(home), magnet.v2_hash.hex() if magnet.v2_hash else "", time.time())
    if here is None and not asks_for_one(magnet):
        return None
    hosts = tuple(host for host, _ in (*magnet.peers, *peers))
    return (here or Embargo()).allowing(hosts).allow


def told_of_embargo(allowed: Sequence[str]) -> str:
    """What somebody who fetches a release under embargo has to know."""
    who = ", ".join(allowed) or "nobody, so name the publisher's address with --peer"
    return (
        f"This release is under embargo: only these are spoken to, and nobody is told of it: {who}. "
        "`weightshare publish --announce RELEASE` ends that here."
    )


def asks_for_one(magnet: Magnet) -> bool:
    """Whether a link says that the release is under embargo at this time."""
    return magnet.embargo is not None and not Embargo((), magnet.embargo).over(time.time())


def keep_embargo(store: Store, record: Record, magnet: Magnet, peers: Sequence[Peer]) -> None:
    """Put a release under the embargo that its link speaks of, before it is written down; nothing if there is none.

    Those it comes from are on its list. One that was opened here stays open.

    Args:
        store: of this home.
        record: the release, as it is about to be kept.
        magnet: the link.
        peers: who were named beside it.
    """
    if not asks_for_one(magnet) or (store.folder(record) / "record.json").exists():
        return
    hosts = [host for host, _ in (*magnet.peers, *peers)]
    embargoes.impose(store, record, Embargo(opens=magnet.embargo or 0).allowing(hosts))


def allow(release: str, more: Sequence[str], *, home: Home | None = None) -> Embargo:
    """Let more hosts have a release that is under embargo; a seeder of it follows within a second.

    Raises:
        UsageError: an entry is no address, range or name; or the release is under no embargo.
        ReleaseNotFoundError: it is not here.
    """
    store = Store(home or Home.default())
    record = store.find(release)
    embargo = embargoes.embargo_of(store, record.info_hash_v2, time.time())
    if embargo is None:
        raise UsageError(
            f"{record.release} is under no embargo, so anybody may have it.", hint="Leave --allow out."
        )
    embargo = embargo.allowing(check_allowed(entry) for entry in more)
    embargoes.change(store, record.info_hash_v2, embargo)
    return embargo


def announce(
    source: str, *, trackers: Sequence[str] = (), web_seeds: Sequence[str] = (), home: Home | None = None
) -> Opened:
    """End a release's embargo: a seeder that serves it opens within a second, and every later one is open.

    Args:
        source: the release as this home knows it; or, on a mirror, the link that is posted, whose trackers and web
            seeds are then used here too.
        trackers: more of them.
        web_seeds: likewise.
        home: where the store is.

    Raises:
        ReleaseNotFoundError, AmbiguousReleaseError: it is not here.
        MagnetError: a link that names nothing.
        StoreError: the disk refused.
    """
    store = Store(home or Home.default())
    record, posted = _named(store, source)
    was_closed = embargoes.embargo_of(store, record.info_hash_v2, time.time()) is not None
    told = (*posted.trackers, *trackers), (*posted.web_seeds, *web_seeds)
    for one in store.of_hash(record.info_hash_v2):
        one = _with(one, *told)
        store.keep(one)
    record = _with(record, *told)
    embargoes.lift(store, record.info_hash_v2)
    return Opened(
        release=record.release,
        magnet=str(public_magnet(store, record)),
        trackers=record.trackers,
        was_closed=was_closed,
        seeding=_served(store, record),
    )


def public_magnet(store: Store, record: Record) -> Magnet:
    """The link to post for a release that is here, whether or not it was posted before."""
    made = store.folder(record) / "magnet"
    magnet = magnets.parse(made.read_text()) if made.exists() else _magnet_of(record)
    trackers = dict.fromkeys((*magnet.trackers, *record.trackers))
    seeds = dict.fromkeys((*magnet.web_seeds, *record.web_seeds))
    return replace(magnet, trackers=tuple(trackers), web_seeds=tuple(seeds), embargo=None)


class Warden:
    """Has a sealed session follow the embargo of the release that it serves.

    Args:
        store: of this home.
        record: the release.
        opened: told when the embargo has ended.
    """

    def __init__(self, store: Store, record: Record, opened: Callable[[], None]) -> None:
        self._store = store
        self._record = record
        self._opened = opened
        self._due = 0.0
        self._list: tuple[str, ...] | None = None

    def start(self, session: Session) -> None:
        """Look twice a second from now on."""
        session.attend(lambda: self.look(session))

    def look(self, session: Session) -> None:
        """Follow what has changed, if it is time to look again."""
        if not session.sealed or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _LOOK_EVERY
        try:
            embargo = embargoes.embargo_of(self._store, self._record.info_hash_v2, time.time())
            records = self._store.of_hash(self._record.info_hash_v2)
        except StoreError:
            return  # what held goes on to hold
        if embargo is None and records:
            trackers = dict.fromkeys(url for record in records for url in record.trackers)
            web_seeds = dict.fromkeys(url for record in records for url in record.web_seeds)
            session.unseal(tuple(trackers), tuple(web_seeds))
            self._opened()
        elif embargo is not None and embargo.allow != self._list:
            self._list = embargo.allow
            session.allow(embargo.allow)


def _named(store: Store, source: str) -> tuple[Record, Magnet]:
    text = source.strip()
    if not text.lower().startswith("magnet:"):
        return store.find(text), Magnet()
    magnet = magnets.parse(text)
    if magnet.v2_hash is None:
        raise MagnetError("The link has no v2 info-hash.", hint="Name the release as `weightshare ls` does.")
    records = store.of_hash(magnet.v2_hash.hex())
    if not records:
        raise ReleaseNotFoundError(
            "The release of that link is not here.",
            hint="`weightshare ls` shows what is here.",
            release=magnet.v2_hash.hex(),
        )
    return records[-1], magnet


def _with(record: Record, trackers: Sequence[str], web_seeds: Sequence[str]) -> Record:
    return replace(
        record,
        trackers=tuple(dict.fromkeys((*record.trackers, *trackers))),
        web_seeds=tuple(dict.fromkeys((*record.web_seeds, *web_seeds))),
    )


def _magnet_of(record: Record) -> Magnet:
    from weightshare.trust.keys import fingerprint_bytes

    return Magnet(
        v2_hash=bytes.fromhex(record.info_hash_v2),
        v1_hash=bytes.fromhex(record.info_hash_v1) if record.info_hash_v1 else None,
        name=record.release.partition("@")[0].rpartition("/")[2],
        publisher=fingerprint_bytes(record.publisher),
    )


def _served(store: Store, record: Record) -> bool:
    from weightshare.errors import StoreLockedError

    try:
        with store.seeding_lock(record):
            return False
    except StoreLockedError:
        return True
