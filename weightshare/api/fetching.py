"""`fetch`: from a pasted link to proven files.

    source -> metadata -> [gate: info dict, manifest, publisher, tree, policy] -> space -> pieces -> proof -> names

Until the gate has passed, one file is asked for (the manifest) and it lies in a scratch folder that goes away with any
failure. After it, whatever happens, what arrived is kept and the same command resumes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from weightshare.api.countersigning import Demand
from weightshare.api.fetch_job import FetchJob
from weightshare.api.following import Follower
from weightshare.api.gating import OnPassed, Wish
from weightshare.api.hub_cache import HubCache
from weightshare.api.launching.embargo import sealing_of, told_of_embargo
from weightshare.api.limiting import Governor, governed
from weightshare.api.ordering import FetchOrder, OnRange
from weightshare.api.results import Fetched, Preview, SeedStatus
from weightshare.api.seeding import serve_fetched
from weightshare.api.servers import Sources
from weightshare.api.sources import resolve
from weightshare.api.trusting import Confirm, Trustee
from weightshare.content.home import Home
from weightshare.errors import UsageError
from weightshare.limits import Limits
from weightshare.load.selection import Dims, Selection
from weightshare.progress import Observer, ignore
from weightshare.swarm.networks import Network
from weightshare.swarm.session import Session
from weightshare.swarm.torrent import Peer

TENSOR = "tensor:"
"""What an entry of `include` begins with that names a tensor and not a path: no path of a release has a colon."""


def _unwarned(_: str) -> None:
    """Nobody is warned."""


def _unmentioned(_: Fetched) -> None:
    """Nobody is told."""


def _silent(_: SeedStatus) -> None:
    """Nobody watches."""


def fetch(
    source: str,
    directory: str | Path | None = None,
    *,
    home: Home | None = None,
    trust: Sequence[str] = (),
    confirm: Confirm | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    tensors: Sequence[str] = (),
    rank: int = 0,
    of: int = 1,
    dims: Dims | None = None,
    allow_pickle: bool = False,
    network: str = Network.PUBLIC,
    port: int | None = None,
    peers: Sequence[Peer] = (),
    dht_nodes: Sequence[Peer] = (),
    max_down: int | None = None,
    max_up: int | None = None,
    max_connections: int | None = None,
    timeout: float = 300.0,
    force: bool = False,
    attestations: Sequence[str | Path] = (),
    require_mirrors: int = 0,
    on_warning: Callable[[str], None] = _unwarned,
    order: str = FetchOrder.RAREST,
    on_range: OnRange | None = None,
    on_passed: OnPassed | None = None,
    follower: Follower | None = None,
    hub_cache: HubCache | None = None,
    observe: Observer = ignore,
    seed_for: float = 0.0,
    on_fetched: Callable[[Fetched], None] = _unmentioned,
    on_status: Callable[[SeedStatus], None] = _silent,
    stop: threading.Event | None = None,
    sources: str = "swarm,hub",
) -> Fetched:
    """Fetch a release, proving its publisher before the first weight byte and every byte before its final name.

    Limits follow `config.toml` and `weightshare limits` while it runs. One that is given here beats the file, and
    `weightshare limits` beats both; None leaves it to the file, 0 is no limit.

    Args:
        source: a magnet link, a v2 info-hash, a `.torrent` or signed manifest by path or URL.
        directory: the folder the files land in; None chooses one in the Hub's cache or in `home`, see `hub_cache`.
        home: where records, pins and, by default, files are kept.
        trust: fingerprints (`SHA256:…`) to pin if the publisher is unknown.
        confirm: asks the user about an unknown publisher; None where nobody can be asked.
        include: globs of paths to fetch; none means all.
        exclude: globs of paths to leave out.
        tensors: names or globs; of the shards only the pieces that hold such a tensor are fetched, and all small files
            that `include` and `exclude` leave. What is here of a shard stays in the staging folder, where
            `Release.state_dict` finds it; a later fetch without this goes on from it. An entry of `include` that
            begins with `tensor:` is one of these.
        rank: of `of` ranks that split tensors among them, the one whose slices are wanted, from 0.
        of: how many ranks there are.
        dims: how tensors are split, as for `Release.state_dict`; none asks transformers' own plan for the model.
        allow_pickle: accept files that run code when loaded.
        network: `public`, `lan` or `local`.
        port: where to listen.
        peers: addresses to dial, again and again while they are away.
        dht_nodes: by which to enter the DHT on the public network; none for the public ones.
        max_down: limit in bytes a second on what comes in.
        max_up: likewise, on what goes out.
        max_connections: limit on connections to peers.
        timeout: longest time without any progress in seconds, 0 for ever.
        force: replace files that stand in the way.
        attestations: countersignatures by mirrors, to be held against this release.
        require_mirrors: how many distinct known mirrors they must be by; 0 only reports.
        on_warning: told of a file of limits that cannot be read or written; what held goes on to hold. And of an
            embargo, under which only `peers` and those that the link names are spoken to.
        order: `rarest` asks for the rarest pieces first, as is best for everybody; `model` for those of small files, of
            headers and of tensors by layer, a few at a time, and for all others rarest first.
        on_range: told of every small file, header and tensor once when it can be read, while the rest is on its way,
            and once when it is proven; those that are here already come first. Called by the thread that fetches.
        on_passed: told of the verified manifest before any weight byte is asked for; what it raises ends the fetch, and
            nothing is kept. Not called if the whole release is here already.
        follower: told of every piece as it lands; for a load that goes on beside the fetch.
        hub_cache: whether a fetch without `directory` ends in the cache of huggingface_hub; None leaves it to whether
            the manifest names a Hub repository and that cache is there.
        observe: told how it goes.
        seed_for: once the release is complete, go on serving it for so many seconds before returning.
        on_fetched: told when it is complete, before it is served.
        on_status: told about once a second how the serving goes.
        stop: ends the serving early; so does Ctrl-C.
        sources: `swarm,hub` asks peers first, and the Hub and web seeds while peers are slow or lack something; `swarm`
            asks nobody by HTTP for files; `hub` asks no peer.

    Raises:
        UsageError: `config.toml` or the file of live limits says something it cannot, or part of a release is to be
            served.
        TrustError, IntegrityError, RefusedContentError: the gate refused; nothing was kept.
        NetworkError: too little came in time; resumable.
        StoreError: the disk or another process stands in the way; resumable.
    """
    began = time.monotonic()
    in_part = bool(tensors) or of != 1 or any(glob.startswith(TENSOR) for glob in include)
    if seed_for and (include or exclude or in_part):
        raise UsageError(
            "Only a whole release can be served, and only some of its files are asked for.",
            hint="Leave out either --seed-for, or --include, --exclude, --tensors and --rank.",
        )
    job = _job(
        source,
        directory,
        How(
            home=home,
            trust=trust,
            confirm=confirm,
            include=include,
            exclude=exclude,
            tensors=tensors,
            rank=rank,
            of=of,
            dims=dims,
            allow_pickle=allow_pickle,
            network=network,
            peers=peers,
            timeout=timeout,
            attestations=attestations,
            require_mirrors=require_mirrors,
            order=order,
            on_range=on_range,
            on_passed=on_passed,
            follower=follower,
            hub_cache=hub_cache,
            observe=observe,
            sources=sources,
        ),
        force=force,
    )
    whole = job.already_here(began)
    if whole is not None and not seed_for:
        return whole
    home = home or Home.default()
    call = Limits(max_down=max_down, max_up=max_up, max_connections=max_connections)
    governor = Governor(home, call, warn=on_warning)
    sealed = sealing_of(home, job.target.magnet, peers)
    if sealed is not None:
        on_warning(told_of_embargo(sealed))
    with (
        Session(
            network=_reach(job, network),
            port=port,
            limits=governor.held.limits,
            dht_nodes=dht_nodes,
            sealed=sealed,
        ) as session,
        governed(session, governor),
    ):
        fetched = whole or job.run(session, began)
        on_fetched(fetched)
        if seed_for and fetched.complete:
            serve_fetched(
                session,
                fetched,
                home=home,
                seconds=seed_for,
                peers=(*job.found, *peers),
                on_status=on_status,
                observe=observe,
                stop=stop or threading.Event(),
            )
        return fetched


class How(TypedDict, total=False):
    """What `fetch` and `dry_run` have in common; see `fetch` for each."""

    home: Home | None
    trust: Sequence[str]
    confirm: Confirm | None
    include: Sequence[str]
    exclude: Sequence[str]
    tensors: Sequence[str]
    rank: int
    of: int
    dims: Dims | None
    allow_pickle: bool
    network: str
    port: int | None
    peers: Sequence[Peer]
    dht_nodes: Sequence[Peer]
    timeout: float
    attestations: Sequence[str | Path]
    require_mirrors: int
    order: str
    on_range: OnRange | None
    on_passed: OnPassed | None
    follower: Follower | None
    hub_cache: HubCache | None
    observe: Observer
    sources: str


def dry_run(source: str, directory: str | Path | None = None, **how: Unpack[How]) -> Preview:
    """Go through the gate and say what `fetch` would bring, and from where; fetch nothing but the manifest.

    Args:
        source: a magnet link, a v2 info-hash, a `.torrent` or signed manifest by path or URL.
        directory: the folder the files would land in; None chooses one in `home`.
        **how: as for `fetch`.

    Raises:
        TrustError, IntegrityError, RefusedContentError: the gate refused.
        NetworkError: metadata or manifest did not come in time.
    """
    job = _job(source, directory, how, force=False)
    if job.in_part:
        raise UsageError(
            "Which pieces tensors need is known only when headers have been fetched, and a dry run fetches none.",
            hint="Leave out --tensors and --rank.",
        )
    with Session(
        network=_reach(job, how.get("network", Network.PUBLIC)),
        port=how.get("port"),
        dht_nodes=how.get("dht_nodes", ()),
        sealed=sealing_of(how.get("home") or Home.default(), job.target.magnet, how.get("peers", ())),
    ) as session:
        return job.preview(session)


def already_here(source: str, directory: str | Path | None = None, **how: Unpack[How]) -> Fetched | None:
    """The whole release, if an earlier fetch brought it and by its receipts nobody has touched it since.

    Args:
        source: as for `fetch`.
        directory: as for `fetch`.
        **how: as for `fetch`.

    Raises:
        TrustError: its publisher is not trusted.
    """
    return _job(source, directory, how, force=False).already_here(time.monotonic())


def _reach(job: FetchJob, network: str) -> Network:
    """How far the engine reaches: where no peer is to be asked, it keeps to this machine."""
    return Network(network) if job.asks_peers else Network.LOCAL


def _job(source: str, directory: str | Path | None, how: How, *, force: bool) -> FetchJob:
    home = how.get("home") or Home.default()
    trustee = Trustee(home, how.get("trust", ()), how.get("confirm"))
    include = how.get("include", ())
    named = [glob.removeprefix(TENSOR) for glob in include if glob.startswith(TENSOR)]
    select = Selection(
        (*how.get("tensors", ()), *named),
        rank=how.get("rank", 0),
        of=how.get("of", 1),
        dims=how.get("dims") or {},
    )
    order = FetchOrder(how.get("order", FetchOrder.RAREST))
    if not select.everything and (
        order is not FetchOrder.RAREST or how.get("on_range") or how.get("follower")
    ):
        raise UsageError(
            "Tensors asked for by name or rank come as they are found, and not in an order.",
            hint="Leave out either --tensors and --rank, or --order.",
        )
    wish = Wish(
        directory=Path(directory).expanduser().absolute() if directory is not None else None,
        include=tuple(glob for glob in include if not glob.startswith(TENSOR)),
        exclude=tuple(how.get("exclude", ())),
        allow_pickle=how.get("allow_pickle", False),
        force=force,
        timeout=how.get("timeout", 300.0),
        peers=tuple(how.get("peers", ())),
        mirrors=Demand.read(how.get("attestations", ()), how.get("require_mirrors", 0)),
        order=order,
        on_range=how.get("on_range"),
        on_passed=how.get("on_passed"),
        follower=how.get("follower"),
        select=None if select.everything else select,
        sources=Sources.read(how.get("sources", "swarm,hub")),
        network=Network(how.get("network", Network.PUBLIC)),
        hub_cache=how.get("hub_cache") or HubCache(),
    )
    target = resolve(source, Network(how.get("network", Network.PUBLIC)))
    return FetchJob(home, trustee, wish, target, how.get("observe", ignore))
