"""A rehearsal: a release is served and tried as a stranger would, and what was found comes as checks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from weightshare.api.doctoring.checks import Asked, Check, fail, ok, skip, together, warn
from weightshare.api.launching import checks_swarm, checks_torrent, checks_web, strangers
from weightshare.api.launching.checks_caps import upload_cap
from weightshare.api.launching.standing import Standing, standing_of
from weightshare.api.limiting import Governor
from weightshare.api.results import SeedStatus
from weightshare.api.seeding import seed
from weightshare.content.served import port_of
from weightshare.content.store import Store
from weightshare.errors import NetworkError, StoreLockedError, WeightshareError
from weightshare.limits import Limits
from weightshare.swarm.networks import Network
from weightshare.swarm.reach import Reach, own_addresses
from weightshare.swarm.torrent import Peer

_START = 120.0  # seconds for a seeder to listen: changed files are hashed first
_STOP = 10.0


@dataclass
class Stage:
    """Who serves the release while it is tried.

    Attributes:
        port: where it is served.
        own: whether this process serves it.
        status: how our own seeder stands.
    """

    port: int
    own: bool
    status: SeedStatus | None = field(default=None)

    @property
    def reach(self) -> Reach | None:
        """What our own seeder heard from outside; None where another process serves."""
        return (self.status.reach if self.status is not None else Reach()) if self.own else None


def rehearse(asked: Asked) -> Iterator[Check]:
    """All checks of a launch, each as it is made; a few minutes at most.

    Raises:
        StoreError: the release is not here, or not whole.
        TrustError, IntegrityError: it cannot be believed.
        UsageError: `config.toml` or the file of live limits says something it cannot.
    """
    standing = standing_of(asked.home, asked.source)
    yield from checks_torrent.checks(standing)
    yield upload_cap(standing.manifest.size, Governor(asked.home, Limits()).held.limits)
    if standing.embargo is not None:
        who = ", ".join(standing.embargo.allow) or "nobody"
        yield skip(
            "embargo",
            f"under embargo, only for {who}: trackers, DHT, web seeds and mirrors are looked at once it is open",
            f"weightshare publish --announce {standing.record.release}",
        )
        return
    try:
        with staged(standing, asked) as stage:
            yield _served(stage)
            yield from _swarm(standing, asked, stage)
    except WeightshareError as error:
        yield fail("seeder", error.message, error.hint, code=error.exit_code)
        return
    yield from together(checks_web.jobs(standing, asked), 3 * asked.patience)
    yield from checks_web.missing(standing)


@contextmanager
def staged(standing: Standing, asked: Asked) -> Iterator[Stage]:
    """Have the release served while inside: by whoever serves it already, else from here.

    Raises:
        NetworkError: it cannot be served.
    """
    store = Store(asked.home)
    running = _running(store, standing)
    if running is not None:
        yield Stage(running, own=False)
        return
    stop, listening = threading.Event(), threading.Event()
    stage = Stage(0, own=True)
    failed: list[BaseException] = []

    def told(port: int, _releases: tuple[str, ...]) -> None:
        stage.port = port
        listening.set()

    def status(now: SeedStatus) -> None:
        stage.status = now

    def run() -> None:
        try:
            seed(
                (standing.record.info_hash_v2,),
                home=asked.home,
                network=asked.network,
                port=asked.port,
                dht_nodes=tuple(asked.dht_nodes),
                on_listening=told,
                on_status=status,
                stop=stop,
            )
        except BaseException as error:  # handed over, and raised by whoever waits
            failed.append(error)
        finally:
            listening.set()

    thread = threading.Thread(target=run, name="rehearsal", daemon=True)
    thread.start()
    try:
        if not listening.wait(_START):
            raise NetworkError("The release was not served in time.", hint="`weightshare seed` says why.")
        if failed:
            raise failed[0]
        yield stage
    finally:
        stop.set()
        thread.join(_STOP)


def _running(store: Store, standing: Standing) -> int | None:
    """The port on which another process serves the release; None if nobody does."""
    for record in store.of_hash(standing.record.info_hash_v2):
        try:
            with store.seeding_lock(record):
                continue
        except StoreLockedError:
            return port_of(store.folder(record)) or 0
    return None


def _served(stage: Stage) -> Check:
    if stage.own:
        return ok("seeder", f"served on port {stage.port} for this rehearsal alone")
    if not stage.port:
        return warn("seeder", "another process serves it, on a port that is not known here")
    return ok("seeder", f"another process serves it, on port {stage.port}")


def _swarm(standing: Standing, asked: Asked, stage: Stage) -> Iterator[Check]:
    """The strangers' reports; the one who fetches and the one who looks around are sent at the same time."""
    own = own_addresses()
    seen: list[strangers.Met] = []

    def look() -> None:
        seen.append(
            strangers.surveying(standing, asked, own=own, port=stage.port or None, mirrors=asked.mirrors or 0)
        )

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    alone = strangers.fetching(standing, asked)
    told = None
    if not alone.ok("gate") and stage.port:
        told = strangers.fetching(standing, asked, _direct(stage.port))
    best = told if told is not None and told.ok("gate") else alone
    yield checks_swarm.link_check(alone, told)
    yield checks_swarm.bytes_check(best, strangers.trial_file(standing))
    looking.join()
    met = seen[0] if seen else strangers.Met(trouble="it could not be sent")
    yield from checks_swarm.tracker_checks(met, standing.magnet.trackers, asked.network)
    yield checks_swarm.dht_check(met, asked.network, stage.port or None, own)
    yield checks_swarm.port_check(_settled(stage, asked.network), asked.network, stage.port)
    yield checks_swarm.mirrors_check(met, asked.mirrors)


def _settled(stage: Stage, network: Network) -> Reach | None:
    """What our seeder heard from outside, once routers had a moment to answer."""
    if not stage.own or network is not Network.PUBLIC:
        return stage.reach
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        reach = stage.reach
        if reach is not None and (reach.reached or reach.mapped):
            break
        time.sleep(0.2)
    return stage.reach


def _direct(port: int) -> tuple[Peer, ...]:
    return (("127.0.0.1", port),)
