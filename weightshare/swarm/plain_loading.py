"""How a `.torrent` of ours fares in somebody else's client: libtorrent with its defaults, without our settings."""

from __future__ import annotations

import tempfile
from pathlib import Path

import libtorrent as lt


def refused_by_default(raw: bytes) -> str:
    """Why libtorrent refuses a `.torrent` with the limits it has by default (`load_torrent_limits`); empty if it loads.

    They bound the file's size, the number of pieces, and depth and tokens of its encoding.
    """
    with tempfile.TemporaryDirectory(prefix="weightshare-") as folder:
        path = Path(folder) / "release.torrent"
        path.write_bytes(raw)
        try:
            params = lt.load_torrent_file(str(path))
        except (RuntimeError, ValueError) as error:
            return str(error).rstrip(".") or "it does not say why"
    return "" if params.ti is not None and params.ti.is_valid() else "no valid info dictionary"
