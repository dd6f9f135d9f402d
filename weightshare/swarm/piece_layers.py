"""The hashes of a release's pieces, had from peers before any of its data is asked for.

libtorrent asks every peer that speaks v2 for all piece layers as soon as the info dictionary is there, whatever files
are wanted (`hash_picker`, BEP 52), 512 hashes at a time. They can be read back from resume data, where a file's tree is
a row of the nodes that are known, with a mask over all nodes. What is read back is held against the roots once more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from weightshare.manifest import bencode
from weightshare.manifest.info import Info
from weightshare.manifest.merkle import HASH_SIZE, file_root, split_layer
from weightshare.swarm.events import ResumeFailed, ResumeSaved
from weightshare.swarm.fetching import Transfer
from weightshare.units import MAX_TORRENT

_LIMIT = 60.0
_TICK = 0.05


def await_layers(
    transfer: Transfer, info: Info, *, patience: float, roots: Collection[bytes] | None = None
) -> dict[bytes, bytes]:
    """Wait for the piece layers of files longer than a piece, by pieces root; those that came, if not all do.

    Args:
        transfer: the torrent, with its metadata.
        info: its info dictionary.
        roots: of the files that are waited for; None for all.
        patience: seconds without any further hash, after which no more is waited for.

    Raises:
        WeightshareError: the engine or the disk failed.
    """
    long = {f.pieces_root for f in info.files if f.pieces_root is not None and f.size > info.piece_length}
    roots = long if roots is None else long.intersection(roots)
    numbers = transfer.torrent.numbers()
    layers: dict[bytes, bytes] = {}
    known = -1
    now = began = moved = transfer.clock()
    while roots - layers.keys() and now - moved < patience and now - began < _LIMIT:
        trees = trees_in(_resume(transfer))
        layers = layers_in(trees, info, numbers)
        now = transfer.clock()
        # Not by what peers send: one that hangs up and comes back sends something each time.
        if (size := sum(len(tree.hashes) for tree in trees)) > known:
            known, moved = size, now
        transfer.look(done=len(layers), total=len(roots))
    return layers


@dataclass(frozen=True, slots=True)
class Tree:
    """The nodes of a file's tree that are known: their hashes, and which they are, numbered from the root down."""

    hashes: bytes = b""
    mask: bytes = b""


def trees_in(resume: bytes) -> list[Tree]:
    """The hash trees in libtorrent's resume data, by its numbers of the files."""
    if not resume:
        return []
    document = bencode.decode(resume, limit=MAX_TORRENT, what="resume data")
    entries = document.get(b"trees") if isinstance(document, dict) else None
    trees = []
    for entry in entries if isinstance(entries, list) else ():
        tree = Tree()
        if isinstance(entry, dict):
            hashes, mask = entry.get(b"hashes"), entry.get(b"mask")
            if isinstance(hashes, bytes) and isinstance(mask, bytes):
                tree = Tree(hashes, mask)
        trees.append(tree)
    return trees


def layers_in(trees: Sequence[Tree], info: Info, numbers: Sequence[int]) -> dict[bytes, bytes]:
    """The whole piece layers in some trees, by pieces root; only such as lead to it.

    Args:
        trees: by the engine's numbers.
        info: of the same torrent.
        numbers: the engine's number of each file, in the order of the file tree.
    """
    layers: dict[bytes, bytes] = {}
    for file, number in zip(info.files, numbers, strict=True):
        if file.pieces_root is None or file.size <= info.piece_length or number >= len(trees):
            continue
        layer = _layer(trees[number], -(-file.size // info.piece_length))
        if layer and file_root(split_layer(layer), info.piece_length) == file.pieces_root:
            layers[file.pieces_root] = layer
    return layers


def _layer(tree: Tree, count: int) -> bytes:
    """The nodes of a file's `count` pieces; empty if one of them is missing."""
    first = (1 << (count - 1).bit_length()) - 1
    bits, width = int.from_bytes(tree.mask, "big"), 8 * len(tree.mask)
    if width < first + count:
        return b""
    wanted = bits >> (width - first - count) & ((1 << count) - 1)
    if wanted.bit_count() != count:
        return b""
    before = (bits >> (width - first)).bit_count()
    return tree.hashes[before * HASH_SIZE : (before + count) * HASH_SIZE]


def _resume(transfer: Transfer) -> bytes:
    """Resume data as of now; empty if there is none."""
    transfer.torrent.save_resume()
    until = transfer.clock() + _LIMIT
    while transfer.clock() < until:
        for event in transfer.events(_TICK):
            if isinstance(event, ResumeSaved):
                return event.data
            if isinstance(event, ResumeFailed):
                return b""
    return b""
