"""Whether this machine reaches others, and they it: port, DHT, router, and the trackers of what is served here."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from weightshare.api.doctoring.checks import Asked, Check, fail, ok, skip, together, warn
from weightshare.api.doctoring.link import tracker
from weightshare.content.store import Store
from weightshare.errors import ListenError, StoreError
from weightshare.swarm.engine_probe import Found, listening
from weightshare.swarm.networks import Network, allowed_trackers

_SECONDS = 12.0
_TRACKERS = 8
"""Trackers that are asked, those of the newest releases first."""


def reach(asked: Asked) -> Iterator[Check]:
    """The port, the DHT, the router, and the trackers of releases that are here."""
    try:
        with listening(asked.network, port=asked.port, dht_nodes=asked.dht_nodes) as engine:
            yield ok("port", f"{engine.found.port} can be listened on", port=engine.found.port)
            if asked.network is not Network.PUBLIC:
                yield skip("DHT", f"not used on this network ({asked.network})")
                yield skip("reachable", f"nobody outside is asked on this network ({asked.network})")
            else:
                yield from _outside(engine.look(_SECONDS))
    except ListenError as error:
        yield fail("port", error.message, error.hint)
    yield from _trackers(asked)


def _outside(found: Found) -> Iterator[Check]:
    if found.dht_nodes:
        yield ok("DHT", f"entered: {found.dht_nodes:,} nodes", nodes=found.dht_nodes)
    else:
        yield warn(
            "DHT",
            "none of its nodes answers",
            "A firewall may hold back UDP. Trackers, --peer and web seeds work without it.",
        )
    if found.mapped:
        ports = ", ".join(f"{port} ({protocol})" for protocol, port in sorted(found.mapped.items()))
        yield ok("reachable", f"the router forwards port {ports} to this machine")
    elif found.external and not found.behind_a_router:
        yield ok(
            "reachable",
            f"others see us as {found.external}; whether a firewall lets them in, only they can say",
        )
    else:
        why = f": {found.refused}" if found.refused else ""
        yield warn(
            "reachable",
            f"no router said that it forwards port {found.port} to this machine{why}",
            f"Forward TCP and UDP {found.port} there, or serve from a machine with an address of its own.",
        )


def _trackers(asked: Asked) -> Iterator[Check]:
    """The trackers that releases on this machine are announced to."""
    try:
        records = Store(asked.home).records()
    except StoreError as error:
        yield fail("store", error.message, error.hint, code=error.exit_code)
        return
    hashes: dict[str, tuple[bytes, ...]] = {}
    for record in reversed(records):
        known = tuple(
            bytes.fromhex(text)[:20]
            for text in (record.info_hash_v1, record.info_hash_v2)
            if text is not None
        )
        for url in record.trackers:
            hashes.setdefault(url, known)
    within = set(allowed_trackers(asked.network, hashes))
    urls = [url for url in hashes if url.startswith(("udp://", "http://", "https://"))]
    if not urls:
        yield skip("trackers", "no release here names one")
    jobs = []
    for url in urls[:_TRACKERS]:
        if url in within:
            jobs.append(
                (partial(tracker, url, hashes[url], asked), partial(warn, "tracker", f"{url}: no answer"))
            )
        else:
            yield skip("tracker", f"{url} lies outside the network allowed ({asked.network})")
    yield from together(jobs, asked.patience + 2)
