"""A release whose manifest adopts a v1 torrent, as the store keeps it: its torrent, its piece hashes, its offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from weightshare.content.hashing import FileHashes
from weightshare.content.store import Record, Store
from weightshare.errors import StoreError, WeightshareError
from weightshare.files import write_atomically
from weightshare.manifest import bencode, merkle
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.plain import Plain, read_plain_torrent
from weightshare.manifest.statement import parse
from weightshare.swarm.offer import Offer
from weightshare.units import MAX_TORRENT

ADOPTED_TORRENT = "adopted.torrent"
"""In a record's folder: the v1 torrent that the manifest beside it adopts."""


def keep_layers(state: Path, hashes: Sequence[FileHashes]) -> None:
    """Keep the piece hashes of an adopted release, which no `.torrent` has: with them a bad piece can be named."""
    layers = {one.pieces_root: one.piece_layer for one in hashes if one.pieces_root and one.piece_layer}
    with suppress(OSError):
        write_atomically(state / "layers", bencode.encode(layers))


def adopted_layers(store: Store, record: Record) -> Mapping[bytes, bytes]:
    """What `keep_layers` kept, as far as it leads to the roots that were signed."""
    try:
        data = (store.folder(record) / "layers").read_bytes()
        found = bencode.decode(data, limit=MAX_TORRENT, what="piece layers")
        manifest = parse(Envelope.parse(store.envelope(record)).payload)  # verified when the record was made
    except (OSError, WeightshareError):
        return {}
    layers: dict[bytes, bytes] = {}
    length = manifest.torrent.piece_length
    for entry in manifest.files:
        layer = found.get(entry.pieces_root) if isinstance(found, dict) else None
        if not isinstance(layer, bytes) or not entry.pieces_root or entry.size <= length:
            continue
        whole = len(layer) == merkle.HASH_SIZE * -(-entry.size // length)
        if whole and merkle.file_root(merkle.split_layer(layer), length) == entry.pieces_root:
            layers[entry.pieces_root] = layer
    return layers


def kept_torrent(store: Store, record: Record) -> Plain | None:
    """The torrent of an adopted release, as far as it is known here."""
    with suppress(OSError, WeightshareError):
        return read_plain_torrent((store.folder(record) / ADOPTED_TORRENT).read_bytes()).plain
    return None


def adopted_offer(store: Store, record: Record, folder: Path, links: Mapping[str, Path]) -> Offer:
    """What can be served of an adopted release, whose files are proven: the torrent as others made it.

    Args:
        store: where its torrent is.
        record: the release.
        folder: where its files lie.
        links: where those lie that the folder only links to.

    Raises:
        StoreError: the torrent is gone, or damaged.
    """
    plain = kept_torrent(store, record)
    path = store.folder(record) / ADOPTED_TORRENT
    if plain is None or plain.info_hash != record.info_hash:
        raise StoreError(
            f"The store lacks the torrent of {record.release}.",
            hint=f"Forget it with `weightshare rm {record.release}` and fetch or adopt it again.",
            path=str(path),
        )
    places = [links.get(file.path, folder / file.path) for file in plain.files]
    return Offer(
        record.release,
        path.read_bytes(),
        dict(enumerate(places)),
        record.trackers,
        record.web_seeds,
        release=record.info_hash,
    )
