"""Sends a clean client, in a process of its own, and brings back what it met."""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weightshare.api.doctoring.checks import Asked
from weightshare.api.launching.standing import Standing
from weightshare.swarm.networks import Network
from weightshare.swarm.torrent import Peer
from weightshare.units import MIB

_MODULE = "weightshare.api.launching.clean_client"
_LARGEST_TRIAL = 64 * MIB
_STALL = {Network.PUBLIC: 45.0, Network.LAN: 12.0, Network.LOCAL: 4.0}  # seconds without progress
_SURVEY = {Network.PUBLIC: 40.0, Network.LAN: 8.0, Network.LOCAL: 4.0}
_LEAST = {Network.PUBLIC: 5.0, Network.LAN: 2.0, Network.LOCAL: 1.0}
_START = 20.0  # seconds for the process itself


@dataclass(frozen=True, slots=True)
class Met:
    """What a clean client told, by step: `gate`, `file`, `survey`; and why it told no more, if it did not end well."""

    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trouble: str = ""

    def ok(self, step: str) -> bool:
        """Whether a step was made and went well."""
        return bool(self.steps.get(step, {}).get("ok"))


def trial_file(standing: Standing) -> tuple[str, int] | None:
    """The file that a clean client fetches to see bytes move: the smallest that is not empty; None if all are large."""
    sizes = [(file.size, file.path) for file in standing.manifest.files if file.size]
    size, path = min(sizes, default=(_LARGEST_TRIAL + 1, ""))
    return (path, size) if size <= _LARGEST_TRIAL else None


def fetching(standing: Standing, asked: Asked, peers: Sequence[Peer] = ()) -> Met:
    """Let a stranger fetch by the link: through the gate, and the smallest file.

    Args:
        standing: the release.
        asked: how far it may go.
        peers: addresses that it is told beside the link; none for a true stranger.
    """
    trial = trial_file(standing)
    stall = _STALL[asked.network]
    order = {
        "source": str(standing.link),
        "trust": [standing.record.publisher],
        "include": [glob.escape(trial[0])] if trial else [],
        "timeout": stall,
        "survey": 0,
    }
    return _send(order, asked, peers, within=_START + 3 * stall)


def surveying(standing: Standing, asked: Asked, *, own: Sequence[str], port: int | None, mirrors: int) -> Met:
    """Let a stranger look at the swarm and the DHT.

    Args:
        standing: the release.
        asked: how far it may go.
        own: our own addresses, as far as they are known.
        port: where we serve.
        mirrors: how many others with the whole release are enough.
    """
    seconds = _SURVEY[asked.network]
    order = {
        "source": "",
        "info": standing.torrent.info.raw.hex(),
        "v2": standing.record.info_hash_v2,
        "v1": standing.record.info_hash_v1 or "",
        "trackers": list(standing.magnet.trackers),
        "survey": seconds,
        "least": _LEAST[asked.network],
        "own": list(own),
        "port": port,
        "mirrors": mirrors,
    }
    return _send(order, asked, asked.peers, within=_START + 2 * seconds)


def _send(order: Mapping[str, Any], asked: Asked, peers: Sequence[Peer], *, within: float) -> Met:
    body = {
        **order,
        "network": str(asked.network),
        "dht_nodes": [list(node) for node in asked.dht_nodes],
        "peers": [list(peer) for peer in peers],
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHTSHARE_")}
    environment = kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", _MODULE],
            input=json.dumps(body).encode(),
            capture_output=True,
            env=environment,
            timeout=within,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return Met(_steps(error.stdout or b""), f"it was not done after {within:g} s")
    except OSError as error:
        return Met(trouble=f"its process could not be started: {error.strerror or error}")
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
    return Met(_steps(done.stdout), "" if not done.returncode else f"it ended with an error: {''.join(last)}")


def _steps(out: bytes) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for line in out.splitlines():
        try:
            step = json.loads(line)
            found[str(step["step"])] = step
        except (ValueError, KeyError, TypeError):
            continue
    return found
