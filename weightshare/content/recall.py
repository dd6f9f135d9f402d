"""What an earlier run left in the staging folder, found out without reading it.

Four kinds of pieces: `here`, in files that the journal vouches for, which may be counted and offered to others at once;
`withheld`, which the journal knows in files that it cannot vouch for (another boot, a file that changed), which are
neither asked for nor offered until they are proven; `begun`, of which blocks seem to be on the disk, to be checked
when they are whole; and the rest, which is fetched. What is here or withheld is read and hashed while the transfer
runs, so a wrong answer costs a piece and not a release.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

from weightshare.content.journal import Blocks, Journal
from weightshare.manifest.pieces import PieceMap, Span
from weightshare.units import BLOCK


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is on the disk, as it seems; see the module."""

    here: set[int] = field(default_factory=set)
    withheld: set[int] = field(default_factory=set)
    begun: Blocks = field(default_factory=dict)


def recall(pieces: PieceMap, spans: Sequence[Span], staging: Path, journal: Journal) -> Recalled:
    """Look at the staged files, by their status alone, and drop from the journal what cannot be there.

    Args:
        pieces: the torrent's pieces.
        spans: the files that are wanted.
        staging: the folder that holds the torrent's files.
        journal: what is known of them; it vouches for those that are as it left them, from now on.
    """
    found = Recalled()
    for span in spans:
        _look(pieces, span, staging / span.file.path, journal, found)
    return found


def data_ranges(path: Path, size: int) -> list[tuple[int, int]]:
    """Where a file holds data, as begin and end; all of it where the system cannot tell."""
    if not hasattr(os, "SEEK_DATA"):
        return [(0, size)]
    ranges: list[tuple[int, int]] = []
    handle = os.open(path, os.O_RDONLY)
    try:
        end = 0
        while end < size:
            begin = os.lseek(handle, end, os.SEEK_DATA)
            end = os.lseek(handle, begin, os.SEEK_HOLE)
            ranges.append((begin, end))
    except OSError as error:
        if error.errno != errno.ENXIO:  # no data from there on
            return [(0, size)]
    finally:
        os.close(handle)
    return ranges


def written(pieces: PieceMap, span: Span, path: Path, size: int) -> set[int]:
    """The pieces of a file that lie wholly in data and not in a hole."""
    whole: set[int] = set()
    length = pieces.piece_length
    for begin, end in data_ranges(path, size):
        first = -(-begin // length)
        last = span.count if end >= span.file.size else end // length
        whole.update(range(span.first + first, span.first + last))
    return whole


def _look(pieces: PieceMap, span: Span, path: Path, journal: Journal, found: Recalled) -> None:
    known = [piece for piece in span.pieces if piece in journal.known]
    status = None
    with suppress(OSError):
        status = path.stat()
    if status is None or not S_ISREG(status.st_mode):
        for piece in known:
            journal.drop(piece)
        return
    believed = journal.believes(span.position, status)
    count = span.count if status.st_size >= span.file.size else status.st_size // pieces.piece_length
    fits = span.pieces[:count]
    for piece in known:
        if piece not in fits:
            journal.drop(piece)
    (found.here if believed else found.withheld).update(piece for piece in known if piece in fits)
    open_pieces = set(fits).difference(known)
    if believed:
        found.begun.update({p: journal.blocks[p] for p in open_pieces if p in journal.blocks})
    if not believed or not journal.sealed(span.position):
        # A run that was killed knew more than it could write down.
        whole = open_pieces & written(pieces, span, path, status.st_size)
        found.begun.update({p: [True] * -(-pieces.byte_range(p)[2] // BLOCK) for p in whole})
    if believed:
        journal.vouch(span.position, status)
