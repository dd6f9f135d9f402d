"""What is known of a torrent, as the engine takes it."""

from __future__ import annotations

from typing import Any

import libtorrent as lt

from weightshare.errors import MetainfoError
from weightshare.manifest.magnet import Magnet


def bare(magnet: Magnet) -> Magnet:
    """The magnet's hashes and name alone: trackers are filtered apart, and web seeds wait for the gate."""
    return Magnet(v2_hash=magnet.v2_hash, v1_hash=magnet.v1_hash, name=magnet.name)


def loaded(torrent: bytes) -> tuple[lt.add_torrent_params, lt.file_storage]:
    """A whole `.torrent` of ours, whatever its size, and the engine's list of its files.

    Raises:
        MetainfoError: the engine cannot read it.
    """
    limits: Any = {"max_buffer_size": len(torrent) + 1}
    try:
        params = lt.load_torrent_buffer(torrent, limits)
    except RuntimeError as error:
        raise MetainfoError(
            f"The torrent engine cannot read the torrent: {error}.",
            hint="The torrent is malformed or hostile; nothing of it was kept.",
            field="info",
        ) from error
    if params.ti is None:
        raise AssertionError("a torrent that was loaded has an info dictionary")
    return params, params.ti.layout()
