"""The gate of one fetch: over what an earlier run saved, or live, with the swarm at the other end.

The verdicts are `trust.gate`'s; here stands where the bytes come from, and what is asked in between.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.api.approaching import before_the_gate, begin
from weightshare.api.countersigning import Demand, Heard
from weightshare.api.following import Follower
from weightshare.api.hub_cache import HubCache
from weightshare.api.manifest_places import manifest_of
from weightshare.api.ordering import FetchOrder, OnRange
from weightshare.api.servers import EVERYBODY, Sources
from weightshare.api.sources import Target
from weightshare.api.trusting import Decision, Trustee
from weightshare.content.home import Home
from weightshare.content.store import Record, Store
from weightshare.errors import IntegrityError, MetadataTimeoutError, NetworkError
from weightshare.load.selection import Selection
from weightshare.manifest.merkle import leaves_of, root_of
from weightshare.manifest.metainfo import Info, parse_torrent
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.progress import Observer
from weightshare.swarm.fetching import Transfer
from weightshare.swarm.networks import Network
from weightshare.swarm.session import Session
from weightshare.swarm.states import Machine, State
from weightshare.swarm.torrent import Peer
from weightshare.trust import gate
from weightshare.trust.gate import VerifiedManifest

OnPassed = Callable[[VerifiedManifest], None]
"""Told once a release has come through the gate, before any weight byte. What it raises ends the fetch."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for, beside the source."""

    directory: Path | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    allow_pickle: bool
    force: bool
    timeout: float
    peers: tuple[Peer, ...]
    mirrors: Demand
    order: FetchOrder = FetchOrder.RAREST
    on_range: OnRange | None = None
    on_passed: OnPassed | None = None
    follower: Follower | None = None
    select: Selection | None = None
    sources: Sources = EVERYBODY
    network: Network = Network.PUBLIC
    hub_cache: HubCache = field(default_factory=HubCache)

    @property
    def watched(self) -> bool:
        """Whether somebody wants to know of single pieces before their files are whole."""
        return self.on_range is not None or self.follower is not None


@dataclass(frozen=True, slots=True)
class Passed:
    """What came through the gate."""

    info: Info
    decision: Decision
    warnings: tuple[str, ...]
    heard: Heard


class Gate:
    """What a release must show before a weight byte of it is asked for.

    Args:
        home: where its manifest may lie until it has passed.
        store: what is here already.
        trustee: decides whom to believe.
        wish: what the user asked for.
        target: what the source names.
        observe: told how it goes.
    """

    def __init__(
        self, home: Home, store: Store, trustee: Trustee, wish: Wish, target: Target, observe: Observer
    ) -> None:
        self._home = home
        self._store = store
        self._trustee = trustee
        self._wish = wish
        self._target = target
        self._observe = observe

    def offline(self, record: Record) -> Passed | None:
        """The gate once more over what an earlier run saved; None if that is not complete, or is damaged."""
        folder = self._store.folder(record)
        kept = (_info_of(self._store.torrent(record)), _read(folder / "info"))
        raw = next(
            (one for one in kept if one and hashlib.sha256(one).digest() == self._target.v2_hash), None
        )
        envelope = _read(folder / MANIFEST_NAME)
        if raw is None or not envelope:
            return None
        info = gate.check_info(raw, self._target.v2_hash)
        own = next(file for file in info.files if file.path == MANIFEST_NAME)
        if root_of(leaves_of(envelope)) != own.pieces_root:
            return None  # and no verdict on the release: it is another manifest than the one in the torrent
        return self._pass(info, envelope)

    @contextmanager
    def live(self, session: Session, machine: Machine) -> Iterator[tuple[Passed, Transfer]]:
        """Metadata and manifest from the swarm, into a scratch folder that does not outlive a failure."""
        with ExitStack() as stack:
            scratch = stack.enter_context(self._home.scratch())
            transfer = begin(
                session,
                self._target,
                scratch,
                self._wish.peers,
                machine=machine,
                observe=self._observe,
            )
            stack.callback(lambda: session.remove(transfer.torrent))
            by_http = self._wish.network if self._wish.sources.hub else None
            try:
                info, envelope = before_the_gate(transfer, self._target, scratch, self._wish.peers, by_http)
            except NetworkError as error:
                error.hint = " ".join([*(f"{note.rstrip('.')}." for note in self._target.notes), error.hint])
                raise
            yield self._pass(info, envelope), transfer

    def by_http(self, machine: Machine) -> Passed:
        """Metadata from the `.torrent` and the manifest from where it lies, no peer asked.

        Raises:
            MetadataTimeoutError, ManifestNotFoundError: no URL gives them.
        """
        torrent = self._target.torrent
        if torrent is None:
            raise MetadataTimeoutError(
                "Without peers the metadata must come from a .torrent, and the link says of none that is there.",
                hint="Fetch by the .torrent or its URL, or ask peers too: --sources swarm,hub.",
            )
        info = gate.check_info(torrent.info.raw, self._target.v2_hash)
        machine.enter(State.GATING, time.monotonic())
        return self._pass(info, manifest_of(self._target, info, self._wish.network))

    def _pass(self, info: Info, envelope: bytes) -> Passed:
        """Steps 3 to 5 of the gate; disk space is looked at once it is known where the files go."""
        decision = self._trustee.decide(envelope, expect_publisher=self._target.magnet.publisher)
        gate.match(info, decision.verified)
        seen = self._trustee.releases_of(self._store, decision.verified.fingerprint)
        policy = gate.Policy(allow_pickle=self._wish.allow_pickle, seen=seen)
        warnings = gate.judge(decision.verified, self._trustee.known, policy)
        heard = self._wish.mirrors.hear(decision.verified, info.v2_hash, self._trustee.known)
        notes = (*self._target.notes, *decision.verified.warnings, *warnings, *heard.warnings)
        return Passed(info, decision, notes, heard)


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _info_of(torrent: bytes | None) -> bytes | None:
    """The info dictionary of a kept `.torrent`, None where it is damaged."""
    with suppress(IntegrityError):
        return parse_torrent(torrent).info.raw if torrent is not None else None
    return None
