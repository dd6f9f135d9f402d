"""A bare BitTorrent client that takes what it gets from one peer, and says again and again how much that was.

To be called as `python -m tests.integration.metering_client TORRENT DIR HOST:PORT`.
"""

from __future__ import annotations

import sys
import time
from typing import Any, cast

import libtorrent as lt

_SAY_EVERY = 0.05
_REDIAL = 1.0


def fetch(torrent: str, folder: str, peer: str) -> None:
    """Download a torrent from one peer, on loopback alone, until killed; a line each: seconds, bytes, peers."""
    settings = {
        "listen_interfaces": "127.0.0.1:0",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_outgoing_utp": False,
        "min_reconnect_time": 1,
        "close_redundant_connections": False,
    }
    session = lt.session(cast("Any", settings))
    params = lt.load_torrent_file(torrent)
    params.save_path = folder
    handle = session.add_torrent(params)
    host, _, port = peer.rpartition(":")
    dialled = 0.0
    while True:
        now = time.monotonic()
        status = handle.status()
        sys.stdout.write(f"{now:.3f} {status.total_payload_download} {status.num_peers}\n")
        sys.stdout.flush()
        if not status.num_peers and now - dialled > _REDIAL:
            dialled = now
            handle.connect_peer((host, int(port)))
        session.wait_for_alert(int(_SAY_EVERY * 1000))
        session.pop_alerts()
        time.sleep(_SAY_EVERY)


if __name__ == "__main__":
    fetch(*sys.argv[1:])
