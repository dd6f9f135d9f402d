"""What the engine finds on this machine: a port to listen on, the DHT, a router that lets peers in."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import libtorrent as lt

from weightshare.swarm.networks import Network, is_inside
from weightshare.swarm.profiles import ALERTS
from weightshare.swarm.session import Session
from weightshare.swarm.torrent import Peer

_ALSO = lt.alert_category.port_mapping | lt.alert_category.dht | lt.alert_category.dht_operation
_ENOUGH = 8  # DHT nodes: with so many a look-up gets somewhere


@dataclass(slots=True)
class Found:
    """What the engine has found so far.

    Attributes:
        port: that is listened on.
        dht_nodes: in the routing table.
        mapped: ports that a router forwards to us, external ones, by protocol.
        refused: why a router did not.
        external: our address as others see it.
        peers: by info-hash in hex, those that the DHT named.
    """

    port: int
    dht_nodes: int = 0
    mapped: dict[str, int] = field(default_factory=dict)
    refused: str = ""
    external: str = ""
    peers: dict[str, set[Peer]] = field(default_factory=dict)

    @property
    def behind_a_router(self) -> bool:
        """Whether no address of this machine's own is known to be one that others can dial."""
        return not self.external or is_inside(self.external)


class EngineProbe:
    """An engine session that serves nobody and looks around. Use `listening`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.found = Found(session.port)

    def look(self, seconds: float, hashes: Collection[bytes] = ()) -> Found:
        """Enter the DHT, wait for what the router says, and ask the DHT who has these torrents.

        Args:
            seconds: longest time for it; it ends sooner when nothing more is expected.
            hashes: 20 bytes each.
        """
        engine = self._session._session
        engine.apply_settings(cast("Any", {"alert_mask": int(ALERTS | _ALSO)}))
        deadline = time.monotonic() + seconds
        asked: dict[bytes, float] = {}
        while (now := time.monotonic()) < deadline:
            engine.post_session_stats()
            engine.wait_for_alert(int(1000 * min(0.2, deadline - now)))
            for alert in engine.pop_alerts():
                self._take(alert)
            for one in hashes:
                if self.found.dht_nodes and now - asked.get(one, -9.0) > 3:
                    asked[one] = now
                    engine.dht_get_peers(lt.sha1_hash(one))
            if self.found.dht_nodes >= _ENOUGH and all(one.hex() in self.found.peers for one in hashes):
                break
            time.sleep(0.05)
        return self.found

    def _take(self, alert: lt.alert) -> None:
        match alert:
            case lt.session_stats_alert():
                self.found.dht_nodes = int(alert.values["dht.dht_nodes"])
            case lt.portmap_alert():
                self.found.mapped[str(alert.map_protocol).rpartition(".")[2]] = int(alert.external_port)
            case lt.portmap_error_alert():
                self.found.refused = alert.error.message()
            case lt.external_ip_alert():
                self.found.external = str(alert.external_address)
            case lt.dht_get_peers_reply_alert():
                peers = {(str(host), int(port)) for host, port in alert.peers()}
                self.found.peers.setdefault(str(alert.info_hash), set()).update(peers)


@contextmanager
def listening(network: Network, *, port: int | None, dht_nodes: Sequence[Peer] = ()) -> Iterator[EngineProbe]:
    """A session that listens, for as long as it is looked with.

    Raises:
        ListenError: nothing can be listened on.
    """
    with Session(network=network, port=port, dht_nodes=dht_nodes) as session:
        yield EngineProbe(session)


def engine_version() -> str:
    """Of libtorrent."""
    return str(lt.version)
