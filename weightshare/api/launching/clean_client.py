"""A stranger: a process of its own, in a home of its own, that is given nothing but a link.

Run as `python -m weightshare.api.launching.clean_client`: one JSON object on stdin says what to do, each step ends with
one on stdout. On the public network it does not search the LAN, where it would find the seeder beside it and prove
nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightshare.api.countersigning import Demand
from weightshare.api.fetch_job import FetchJob
from weightshare.api.gating import Wish
from weightshare.api.launching.embargo import sealing_of
from weightshare.api.sources import resolve
from weightshare.api.trusting import Trustee
from weightshare.content.home import Home
from weightshare.errors import WeightshareError
from weightshare.manifest.magnet import Magnet
from weightshare.progress import ignore
from weightshare.swarm.networks import Network, allowed_trackers
from weightshare.swarm.session import Session
from weightshare.swarm.surveying import Survey, as_a_stranger, distinct, survey
from weightshare.swarm.torrent import Peer

_COUNTING = 2.0  # seconds for trackers to say how many have it, once they have answered


def main() -> int:
    """Do what stdin says; returns the exit status, which is 0 whatever was found."""
    order = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="weightshare-stranger-") as folder:
        home = Home(Path(folder) / "home")
        home.path.mkdir()
        if order["source"]:
            _fetch(order, home, Path(folder) / "out")
        if order["survey"]:
            _survey(order, bytes.fromhex(order["info"]), Path(folder) / "survey")
    return 0


def _fetch(order: Mapping[str, Any], home: Home, out: Path) -> None:
    """Go through the gate and fetch what was asked for, telling of each."""
    began = time.monotonic()
    network = Network(order["network"])
    peers = _peers(order["peers"])
    include = tuple(order["include"])
    passed_after: list[float] = []
    wish = Wish(
        directory=out,
        include=include,
        exclude=(),
        allow_pickle=True,
        force=False,
        timeout=float(order["timeout"]),
        peers=peers,
        mirrors=Demand.read((), 0),
        on_passed=lambda _: passed_after.append(time.monotonic() - began),
    )
    try:
        target = resolve(order["source"], network)
        trustee = Trustee(home, tuple(order["trust"]))
        job = FetchJob(home, trustee, wish, target, ignore)
        sealed = sealing_of(home, target.magnet, peers)
        nodes = _peers(order["dht_nodes"])
        with Session(network=network, port=0, dht_nodes=nodes, sealed=sealed) as session:
            as_a_stranger(session)
            if include:
                got = job.run(session, began)
            else:
                job.preview(session)
                passed_after.append(time.monotonic() - began)
                got = None
    except WeightshareError as error:
        if passed_after:
            _tell("gate", seconds=passed_after[0], by_url=False)
        _tell("file" if passed_after else "gate", error=error)
        return
    _tell("gate", seconds=passed_after[0], by_url=target.torrent is not None)
    if got is not None:
        _tell("file", seconds=time.monotonic() - began, bytes=got.bytes, files=got.files)


def _survey(order: Mapping[str, Any], info: bytes, folder: Path) -> None:
    network = Network(order["network"])
    nodes = _peers(order["dht_nodes"])
    magnet = Magnet(
        v2_hash=bytes.fromhex(order["v2"]),
        v1_hash=bytes.fromhex(order["v1"]) if order["v1"] else None,
        trackers=tuple(order["trackers"]),
    )
    own, port, wanted = set(order["own"]), order["port"], int(order["mirrors"])
    asked = set(allowed_trackers(network, magnet.trackers))
    began = time.monotonic()

    def enough(seen: Survey) -> bool:
        named = network is not Network.PUBLIC or any(number == port for _, number in seen.named)
        took, least = time.monotonic() - began, float(order["least"])
        counted = min(seen.answered.values(), default=0) >= 0 or took >= least + _COUNTING
        settled = took >= least and counted and {*seen.answered, *seen.failed} >= asked
        return settled and named and len(distinct(seen.seeds, own | set(seen.addresses), port)) >= wanted

    with Session(network=network, port=0, dht_nodes=nodes) as session:
        as_a_stranger(session)
        folder.mkdir()
        seen = survey(
            session,
            info,
            magnet,
            folder,
            peers=_peers(order["peers"]),
            seconds=float(order["survey"]),
            enough=enough,
        )
    mine = own | set(seen.addresses)
    _tell(
        "survey",
        seconds=seen.seconds,
        mirrors=sorted(distinct(seen.seeds, mine, port)),
        named=[list(peer) for peer in seen.named],
        nodes=seen.nodes,
        addresses=list(seen.addresses),
        answered=dict(seen.answered),
        failed=dict(seen.failed),
    )


def _peers(found: list[list[Any]]) -> tuple[Peer, ...]:
    return tuple((str(host), int(port)) for host, port in found)


def _tell(step: str, *, error: WeightshareError | None = None, **facts: object) -> None:
    body: dict[str, object] = {"step": step, "ok": error is None, **facts}
    if error is not None:
        body |= {"error": error.message, "hint": error.hint, "kind": error.kind, "code": error.exit_code}
    print(json.dumps(body), flush=True)


if __name__ == "__main__":
    sys.exit(main())
