"""One fetch, step by step: what is here, the gate, the pieces, the proof, the final names."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType

from weightshare.api.cache_placing import CachePlace, described, point_main
from weightshare.api.direct import Direct, can
from weightshare.api.following import Underway
from weightshare.api.gating import Gate, Passed, Wish
from weightshare.api.launching.embargo import keep_embargo
from weightshare.api.ordering import FetchOrder, Ordering
from weightshare.api.own_files import make, write
from weightshare.api.partial import PartialFetch, is_shard, spans_of
from weightshare.api.piece_reuse import PieceReuse, save_layers
from weightshare.api.placing import Plan, plan_landing
from weightshare.api.previewing import preview
from weightshare.api.recording import record_landed
from weightshare.api.results import Fetched, Preview, Received
from weightshare.api.servers import nobody, servers_of
from weightshare.api.sources import Target
from weightshare.api.supplying import Pool
from weightshare.api.transferring import Bringer, Came
from weightshare.api.trusting import Trustee
from weightshare.api.twins import Names, long_twins, place_twins
from weightshare.api.whereabouts import Places
from weightshare.content.home import Home
from weightshare.content.journal import Journal
from weightshare.content.landing import Landing
from weightshare.content.naming import rename
from weightshare.content.prover import Prover
from weightshare.content.receipts import Receipt, load_receipts
from weightshare.content.staging import clear_leftover, staging_lock
from weightshare.content.store import Record, Store
from weightshare.manifest.pieces import PieceMap
from weightshare.progress import Observer, Progress
from weightshare.swarm.fetching import Transfer
from weightshare.swarm.session import Session
from weightshare.swarm.states import PHASES, Machine, State
from weightshare.swarm.torrent import Peer

NONE_HELD: Mapping[str, int] = MappingProxyType({})


class FetchJob:
    """One fetch, step by step."""

    def __init__(self, home: Home, trustee: Trustee, wish: Wish, target: Target, observe: Observer) -> None:
        self._home = home
        self._store = Store(home)
        self._trustee = trustee
        self._wish = wish
        self.target = target
        self._observe = observe
        self._gate = Gate(home, self._store, trustee, wish, target, observe)
        self._places = Places(self._store, wish, target)
        self._record = self._places.earlier()
        self.machine = Machine(wish.timeout, time.monotonic())
        self._warnings: list[str] = []
        self.found: tuple[Peer, ...] = ()
        """The peers that the files came from and went to, once they are here."""

    @property
    def asks_peers(self) -> bool:
        """Whether there is a swarm."""
        return self._wish.sources.swarm

    @property
    def in_part(self) -> bool:
        """Whether only tensors or slices are asked for."""
        return self._wish.select is not None

    def already_here(self, began: float) -> Fetched | None:
        """The whole release, if it is here and its receipts still hold; the signer must be trusted all the same."""
        with self._failing():
            return self._already_here(began)

    def _already_here(self, began: float) -> Fetched | None:
        record = self._record
        if record is None or not record.complete or self._wish.include or self._wish.exclude:
            return None
        receipts = load_receipts(self._store.folder(record) / "receipts.json")
        passed = self._gate.offline(record)
        files = passed.decision.verified.manifest.files if passed else ()
        if passed is None or any(
            entry.path not in receipts or not receipts[entry.path].still_holds(record.path / entry.path)
            for entry in files
        ):
            return None
        self._trustee.remember(passed.decision)
        clear_leftover(record.staging)
        self._enter(State.GATING, State.PLANNING, State.DONE)
        ordering = self._ordering(passed, {}) if self._wish.on_range is not None else None
        if ordering is not None:
            ordering.begin((), record.path, {entry.path: record.path / entry.path for entry in files})
        point_main(self._store, record, move=self._wish.hub_cache.move_main)
        return self._result(
            passed,
            record,
            sum(entry.size for entry in files),
            len(files),
            Received(reused=record.bytes),
            began,
        )

    def run(self, session: Session, began: float) -> Fetched:
        """Fetch what is not here yet."""
        with self._failing():
            return self._run(session, began)

    def _run(self, session: Session, began: float) -> Fetched:
        if self._record is not None and self._record.kind == "published":
            self._record = None  # the user's own folder is never written to
        known = self._record or (None if self.in_part else self._places.elsewhere())
        passed = self._gate.offline(known) if known is not None else None
        if passed is not None and self.in_part and self._record is not None:
            # Without piece hashes nothing can be proven in part, and only peers that are met have them.
            passed = passed if self._pieces(passed, self._record, None).layers else None
        if passed is None and not self._wish.sources.swarm:
            return self._bring(session, self._gate.by_http(self.machine), None, began)
        if passed is None:
            with self._gate.live(session, self.machine) as (live, transfer):
                return self._bring(session, live, transfer, began)
        self._enter(State.GATING)
        return self._bring(session, passed, None, began)

    def preview(self, session: Session) -> Preview:
        """What `run` would do; nothing is kept, not even a stranger's pin."""
        with self._failing():
            record = self._record
            passed = self._gate.offline(record) if record is not None else None
            if passed is not None:
                self._enter(State.GATING)
                return self._previewed(passed, None)
            if not self._wish.sources.swarm:
                return self._previewed(self._gate.by_http(self.machine), None)
            with self._gate.live(session, self.machine) as (live, transfer):
                return self._previewed(live, transfer)

    def _previewed(self, passed: Passed, live: Transfer | None) -> Preview:
        self._enter(State.PLANNING)
        record = self._record or self._places.new(passed)
        pieces, placer = self._pieces(passed, record, live), self._placer(record, passed)
        seen = preview(passed, record, self._store, self._wish, pieces, placer)
        self._enter(State.DONE)
        return seen

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Whatever ends the fetch early, Ctrl-C too, is what it failed with."""
        try:
            yield
        except BaseException as error:
            self.machine.fail(error)
            raise

    def _enter(self, *states: State) -> None:
        for state in states:
            self.machine.enter(state, time.monotonic())

    def _placer(self, record: Record, passed: Passed) -> CachePlace | None:
        return CachePlace.of(record, self._store, self._places.cached, passed, force=self._wish.force)

    def _pieces(self, passed: Passed, record: Record, live: Transfer | None) -> PieceReuse:
        return PieceReuse(passed.info, record, self._store, self.target.torrent, live)

    # ---- after the gate

    def _bring(self, session: Session, passed: Passed, live: Transfer | None, began: float) -> Fetched:
        record = self._record or self._places.new(passed)
        self._enter(State.PLANNING)
        if self._wish.on_passed is not None:
            self._wish.on_passed(passed.decision.verified)
        select = self._wish.select
        with self._store.lock(record), ExitStack() as stack:
            placer = self._placer(record, passed)
            pieces = self._pieces(passed, record, live)
            plan = plan_landing(
                passed.info,
                passed.decision.verified,
                record,
                self._store,
                include=self._wish.include,
                exclude=self._wish.exclude,
                force=self._wish.force,
                pieces=pieces,
                observe=self._observe,
                reusing=lambda: self._enter(State.REUSING),
                chosen=spans_of(passed.info, self._wish, select) if select is not None else None,
                in_part=is_shard if select is not None else lambda _: False,
                placer=placer,
            )
            stack.enter_context(staging_lock(plan.staging, f"{record.release} in {record.path}"))
            keep_embargo(self._store, record, self.target.magnet, self._wish.peers)
            self._store.keep(record, envelope=passed.decision.verified.envelope)
            state = self._store.folder(record)
            write(state / "info", passed.info.raw)
            self._trustee.remember(passed.decision)
            twins = long_twins(passed.info) if plan.spans else []
            servers = self._servers(passed, stack) if plan.spans else None
            if self._wish.watched or servers is not None:
                pieces.ask(plan.spans)  # with them a piece is proven alone, and not only with its whole file
            elif twins:
                pieces.ask(twins, alone=True)  # without them those of other files may never come
            if pieces.layers and (twins or self._wish.watched or servers is not None):
                save_layers(state, pieces.layers)
            partial = (
                PartialFetch(passed, plan, select, record) if select is not None and plan.parts else None
            )
            parts = partial.know_layers(pieces, state) if partial is not None else None
            ordering = self._ordering(passed, pieces.layers)
            prover = stack.enter_context(Prover(passed.info.piece_length))
            journal = stack.enter_context(Journal(state / "pieces"))
            landing = stack.enter_context(
                Landing(
                    PieceMap(passed.info),
                    plan.spans,
                    plan.staging / passed.info.name,
                    prover,
                    journal,
                    ordering.watch if ordering is not None else None,
                    parts,
                )
            )
            if not plan.has_staged:
                journal.forget()
            landing.recall()
            make(plan.staging / passed.info.name)
            taken = pieces.take(plan.found, plan.staging, landing, prover, self._observe)
            if ordering is not None:
                placed = {path: record.path / path for path in plan.receipts}
                ordering.begin(plan.spans, plan.staging / passed.info.name, placed, plan.names)
                self._follow(ordering, passed, pieces.layers, record)
            came = Came()
            straight = servers is not None and not self._wish.sources.swarm and can(plan.spans, pieces.layers)
            if straight and servers is not None:
                came = self._straight(session, passed, plan, landing, pieces, ordering, partial, servers)
            elif plan.spans:
                bringer = Bringer(session, self.target, self._wish, self.machine, self._observe)
                came = bringer.bring(
                    passed,
                    plan,
                    landing,
                    live,
                    pieces,
                    taken=taken,
                    ordering=ordering,
                    phases=partial.phases(landing) if partial is not None else None,
                    servers=servers,
                )
                self.found = bringer.found
            else:
                self._enter(State.PROVING)
            held = partial.finish(landing) if partial is not None else {}
            names = {
                position: names for position, names in plan.names.items() if position not in landing.held()
            }
            give = placer.give if placer is not None else rename
            receipts = landing.promote(
                record.path, {position: spans[0].file for position, spans in names.items()}, give
            )
            copies = place_twins(
                names,
                passed.info.piece_length,
                record,
                self._store,
                plan.staging,
                receipts,
                self._observe,
                give,
            )
            receipts |= copies.receipts
            return self._finish(record, passed, plan, landing, receipts, came, began, names, held, placer)

    def _straight(
        self,
        session: Session,
        passed: Passed,
        plan: Plan,
        landing: Landing,
        pieces: PieceReuse,
        ordering: Ordering | None,
        partial: PartialFetch | None,
        servers: Pool,
    ) -> Came:
        """Bring the planned files from servers, without an engine."""
        staging = plan.staging / passed.info.name
        direct = Direct(
            session, passed.info, pieces.layers, servers, landing, staging, self.machine, self._observe
        )
        try:
            phases = partial.phases(landing) if partial is not None else (None,)
            direct.bring(plan.spans, phases, ordering)
        except BaseException:
            servers.close()
            landing.seal()
            raise
        return Came(0, dict(direct.taken))

    def _servers(self, passed: Passed, stack: ExitStack) -> Pool | None:
        """What may be asked beside the swarm, if anything may."""
        if not self._wish.sources.hub:
            return None
        manifest = passed.decision.verified.manifest
        network = self._wish.network
        found = stack.enter_context(
            servers_of(manifest, passed.info, self.target, network, self._warnings.append)
        )
        if found is None and not self._wish.sources.swarm:
            raise nobody(manifest, network)
        return found

    def _ordering(self, passed: Passed, layers: Mapping[bytes, bytes]) -> Ordering | None:
        """Who says what comes first and is told what is here; None where nobody asked for either."""
        if self._wish.order is FetchOrder.RAREST and not self._wish.watched:
            return None
        return Ordering(
            passed.decision.verified.manifest,
            passed.info,
            self._wish.order,
            self._wish.on_range,
            layers,
        )

    def _follow(
        self, ordering: Ordering, passed: Passed, layers: Mapping[bytes, bytes], record: Record
    ) -> None:
        follower = self._wish.follower
        if follower is not None:
            verified = passed.decision.verified
            follower.begin(Underway(verified, dict(layers), dict(ordering.locations), record.path))
            ordering.follow(follower)

    def _finish(
        self,
        record: Record,
        passed: Passed,
        plan: Plan,
        landing: Landing,
        receipts: dict[str, Receipt],
        came: Came,
        began: float,
        names: Names,
        held: Mapping[str, int],
        placer: CachePlace | None,
    ) -> Fetched:
        receipts = {**plan.receipts, **receipts}
        landed = {
            span.file.path: landing.layer(position) for position, spans in names.items() for span in spans
        }
        layers = {**plan.layers, **landed}
        done = record_landed(
            self._store, record, self.target, passed, plan, landing, receipts, layers, beside=placer is None
        )
        if placer is not None:
            placer.finish(done, move_main=self._wish.hub_cache.move_main)
        landing_now = [span for spans in names.values() for span in spans]
        size = sum(span.file.size for span in landing_now) + sum(held.values()) + plan.reused
        files = len(landing_now) + len(plan.receipts)
        served = sum(came.servers.values())
        reused = plan.reused + max(0, size - plan.reused - came.swarm - served)
        received = Received(came.swarm, served, reused, came.servers)
        self._enter(State.DONE)
        self._observe(Progress(PHASES[State.DONE], size, size))
        return self._result(passed, done, size, files, received, began, held)

    def _result(
        self,
        passed: Passed,
        record: Record,
        size: int,
        files: int,
        received: Received,
        began: float,
        held: Mapping[str, int] = NONE_HELD,
    ) -> Fetched:
        verified = passed.decision.verified
        return Fetched(
            release=verified.release,
            publisher=verified.fingerprint,
            publisher_name=verified.publisher_name,
            path=record.path,
            bytes=size,
            files=files,
            seconds=time.monotonic() - began,
            received=received,
            info_hash_v2=record.info_hash_v2,
            complete=record.complete,
            warnings=(*passed.warnings, *self._warnings),
            mirrors=passed.heard.mirrors,
            parts=dict(held),
            hub_cache=described(self._store, record),
            info_hash_v1=record.info_hash_v1,
        )
