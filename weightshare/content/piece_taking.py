"""Takes pieces of a new release from where they stand on this disk into its staged files, and proves each one there.

Nothing is believed of the place they come from: a piece counts once the bytes that lie in the staged file have the hash
that it must have. Otherwise the hint was wrong, or the file has changed meanwhile, and the piece is fetched.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from weightshare.content.piece_copying import Copier, SourceLostError
from weightshare.content.piece_sources import Run, Wanted
from weightshare.content.prover import Prover
from weightshare.errors import DiskError, NoSpaceError
from weightshare.manifest.pieces import PieceMap, Span
from weightshare.units import MIB

_STEP = 16 * MIB  # bytes copied at once; a piece if that is longer
_AHEAD = 256 * MIB  # bytes copied and not yet hashed: while they are still in memory
_TICK = 0.1
_ZEROS = bytes(MIB)


def take(
    runs: Sequence[Run],
    wanted: Wanted,
    pieces: PieceMap,
    staging: Path,
    prover: Prover,
    accept: Callable[[int, bytes], None],
    tick: Callable[[int, int], None],
) -> set[int]:
    """Copy what was found; returns the pieces that are in place and proven.

    Args:
        runs: what was found, and where.
        wanted: which hash each piece must have.
        pieces: the new release's pieces.
        staging: the folder that holds its files while they are incomplete.
        prover: hashes what was copied; it must have nothing else to do.
        accept: given each piece that is in place as soon as it is proven, and its hash as a Landing has it.
        tick: told now and then how many bytes were looked at, and of how many.

    Raises:
        NoSpaceError, DiskError: the staged files cannot be written; resumable.
    """
    taken: set[int] = set()
    total = sum(run.size for run in runs)
    done = waiting = 0

    def prove(limit: int) -> None:
        """Take in what was hashed, until no more than so many bytes wait for it."""
        nonlocal done, waiting
        while waiting > limit:
            for piece, outcome in prover.drain(_TICK):
                span, _, length = pieces.byte_range(piece)
                waiting -= length
                done += length
                if outcome == wanted.digest(piece) and span.file.pieces_root is not None:
                    taken.add(piece)
                    accept(piece, span.file.pieces_root if span.count == 1 else outcome)
            tick(done, total)

    for run in runs:
        for part in _copied(run, pieces, staging):
            for piece in part:
                span, offset, length = pieces.byte_range(piece)
                prover.submit(piece, staging / span.file.path, offset, length, pieces.piece_length)
                waiting += length
            prove(_AHEAD)
    prove(0)
    return taken


def wipe(pieces: Collection[int], span: Span, piece_length: int, staged: Path) -> None:
    """Overwrite pieces of a staged file with zeros, so that whoever looks at them takes them for missing.

    Raises:
        OSError: the file cannot be written.
    """
    with staged.open("r+b", buffering=0) as file:
        for piece in pieces:
            offset = (piece - span.first) * piece_length
            left = min(piece_length, span.file.size - offset)
            file.seek(offset)
            while left:
                left -= file.write(_ZEROS[:left]) or 0


def _copied(run: Run, pieces: PieceMap, staging: Path) -> Iterator[range]:
    """Copy a run in steps; the pieces of each."""
    staged = staging / run.span.file.path
    end = run.first + run.count
    step = max(1, _STEP // pieces.piece_length)
    try:
        staged.parent.mkdir(parents=True, exist_ok=True)
        with Copier(run.source.path, staged, run.span.file.size) as copier:
            for first in range(run.first, end, step):
                part = range(first, min(first + step, end))
                at = pieces.byte_range(first)[1]
                length = sum(pieces.byte_range(piece)[2] for piece in part)
                copier.copy(run.offset + (first - run.first) * pieces.piece_length, at, length)
                yield part
    except SourceLostError:  # nothing but a hint
        return
    except OSError as error:
        hint = "Mend that; what is there is kept, and the same command resumes."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(
                f"The disk is full: {staged} could not be written.", hint=hint, path=str(staged)
            ) from error
        raise DiskError(
            f"{staged} cannot be written: {error.strerror or error}.", hint=hint, path=str(staged)
        ) from error
