"""What is known of a torrent, as the engine takes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import libtorrent as lt

from weightshare.errors import MetainfoError
from weightshare.manifest import bencode
from weightshare.manifest.magnet import Magnet
from weightshare.swarm.equal_files import share_trees
from weightshare.swarm.kept import Kept
from weightshare.swarm.torrent import priorities_of


def bare(magnet: Magnet) -> Magnet:
    """The magnet's hashes and name alone: trackers are filtered apart, and web seeds wait for the gate."""
    return Magnet(v2_hash=magnet.v2_hash, v1_hash=magnet.v1_hash, name=magnet.name)


def without_peers(info: bytes, layers: Mapping[bytes, bytes]) -> bytes:
    """A `.torrent` of an info dictionary and of the piece layers that are known, which names nobody to ask."""
    known = b"12:piece layers" + bencode.encode(dict(layers)) if layers else b""
    return b"d4:info" + info + known + b"e"


def to_fetch(
    info: bytes,
    layers: Mapping[bytes, bytes],
    wanted: Collection[int],
    kept: Kept,
    only: Collection[int] | None,
) -> lt.add_torrent_params:
    """A torrent of which files are to be fetched.

    Args:
        info: the raw info dictionary.
        layers: piece layers by pieces root, as far as they are known.
        wanted: the files, by their place in the file tree.
        kept: what is on the disk.
        only: the pieces of those files to ask for, None for all.

    Raises:
        MetainfoError: the engine cannot read it.
    """
    params, layout = loaded(without_peers(info, layers))
    if layers:
        params = share_trees(params, layout)
    params.trackers = []
    params.url_seeds = []
    params.file_priorities = priorities_of(layout, wanted)
    numbers = range(layout.num_pieces())
    # To say what is here, even if it is nothing, spares the engine's own look at all of the files.
    params.have_pieces = [piece in kept.here for piece in numbers]
    params.unfinished_pieces = {piece: list(bits) for piece, bits in kept.begun.items()}
    if kept.withheld or only is not None:
        left_out = kept.withheld if only is None else {*numbers}.difference(only) | {*kept.withheld}
        params.piece_priorities = [0 if piece in left_out else 4 for piece in numbers]
    return params


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
