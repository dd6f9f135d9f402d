"""A bare BitTorrent client in a process of its own.

To be called as `python -m tests.integration.plain_client TORRENT DIR HOST:PORT`.
"""

from __future__ import annotations

import sys
import time
from typing import Any, cast

import libtorrent as lt

_PATIENCE = 30.0


def fetch(torrent: str, folder: str, peer: str) -> None:
    """Download a torrent from one peer, on loopback alone."""
    settings = {
        "listen_interfaces": "127.0.0.1:0",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_outgoing_utp": False,
    }
    session = lt.session(cast("Any", settings))
    params = lt.load_torrent_file(torrent)
    params.save_path = folder
    handle = session.add_torrent(params)
    host, _, port = peer.rpartition(":")
    handle.connect_peer((host, int(port)))
    deadline = time.monotonic() + _PATIENCE
    while not handle.status().is_seeding:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{handle.status().progress:.0%} after {_PATIENCE:g} s")
        session.wait_for_alert(50)
        session.pop_alerts()


if __name__ == "__main__":
    fetch(*sys.argv[1:])
