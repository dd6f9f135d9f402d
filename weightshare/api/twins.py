"""Equal files of one release: one of them is brought, and the others are taken from it once it is proven.

It is always the first in the file tree, wanted or not. BEP 52 asks for a file's piece hashes by the file's root, and
libtorrent takes the answer to be of the first file with that root. Of the others it never learns a hash: their pieces
cannot be proven, kept or passed on before the whole file is here. `swarm.equal_files` has the rest of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from weightshare.api.reusing import Reused, reuse
from weightshare.content.naming import GiveName, rename
from weightshare.content.receipts import Receipt
from weightshare.content.store import Record, Store
from weightshare.errors import DiskError
from weightshare.manifest.metainfo import Info
from weightshare.manifest.pieces import PieceMap, Span
from weightshare.progress import Observer

Names = Mapping[int, tuple[Span, ...]]
"""By the position of a file that is brought: the wanted files that are equal to it, itself among them if wanted."""


def names_of(info: Info, wanted: Sequence[Span]) -> Names:
    """Which files to bring so that all wanted ones can be had, in the order of the torrent.

    Args:
        info: the torrent.
        wanted: files that are missing.
    """
    firsts: dict[tuple[bytes, int], int] = {}
    for span in PieceMap(info).spans:
        if span.file.pieces_root is not None:
            firsts.setdefault((span.file.pieces_root, span.file.size), span.position)
    names: dict[int, tuple[Span, ...]] = {}
    for span in wanted:
        root = span.file.pieces_root
        position = span.position if root is None else firsts[root, span.file.size]
        names[position] = (*names.get(position, ()), span)
    return dict(sorted(names.items()))


def long_twins(info: Info) -> list[Span]:
    """The files that are longer than a piece, so that peers are asked for their hashes, and equal to others."""
    spans = [span for span in PieceMap(info).spans if span.count > 1]
    times = Counter(span.file.pieces_root for span in spans)
    return [span for span in spans if times[span.file.pieces_root] > 1]


def place_twins(
    names: Names,
    piece_length: int,
    record: Record,
    store: Store,
    staging: Path,
    receipts: Mapping[str, Receipt],
    observe: Observer,
    give: GiveName = rename,
) -> Reused:
    """Make the further files that are equal to those just brought, and prove them.

    Args:
        names: what was brought as which files; the first of each has its final name.
        piece_length: of the torrent, in bytes.
        record: the release at its place.
        store: the releases on this machine.
        staging: a folder on the same file system.
        receipts: of what was brought, by path.
        observe: told how the proof goes.
        give: how a file gets its name.

    Raises:
        DiskError: the disk refused; what was brought is in place, and the same command makes the rest from it.
    """
    further = [span for spans in names.values() for span in spans[1:]]
    if not further:
        return Reused()
    made = reuse(further, piece_length, record, store, staging, own=receipts, observe=observe, give=give)
    lacking = [span.file.path for span in further if span.file.path not in made.receipts]
    if lacking:
        raise DiskError(
            f"{', '.join(lacking[:10])} could not be made from the equal file beside it in {record.path}.",
            hint="Is there space, and does the disk work? The same command goes on from there and fetches nothing.",
            path=str(record.path / lacking[0]),
        )
    return made
