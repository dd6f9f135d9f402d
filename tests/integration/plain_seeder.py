"""Somebody else's client that serves a torrent: libtorrent as it comes, on loopback alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import libtorrent as lt

from tests.integration.waiting import until


@contextmanager
def plain_seeder(torrent: Path, folder: Path) -> Iterator[str]:
    """Serve a torrent's files from where they lie; gives the address as `--peer` takes it.

    Args:
        torrent: the `.torrent`.
        folder: the one around the torrent's own.
    """
    settings = {
        "listen_interfaces": "127.0.0.1:0",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_outgoing_utp": False,
        "allow_multiple_connections_per_ip": True,
    }
    session = lt.session(cast("Any", settings))
    params = lt.load_torrent_file(str(torrent))
    params.save_path = str(folder)
    handle = session.add_torrent(params)
    try:
        until(lambda: handle.status().is_seeding, "the other client to have checked its files")
        yield f"127.0.0.1:{session.listen_port()}"
    finally:
        session.pause()
