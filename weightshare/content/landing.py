"""Where a fetch lands: files are staged, proven from disk piece by piece, and only then get their final names.

Every piece is read back once it can be, its leaves are hashed, and a file counts when the root over all its pieces is
the signed one. What the engine says of a piece is only the hint of when to look. A proven file is flushed to the
disk (fsync), renamed into place, and the folder is flushed too: no unproven file ever has a final name, not even
after a power cut.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol

from weightshare.content.digests import tree_length
from weightshare.content.journal import Journal
from weightshare.content.locks import exclusive
from weightshare.content.prover import Prover
from weightshare.content.receipts import Receipt
from weightshare.errors import DiskError, StoreLockedError
from weightshare.files import sync_folder
from weightshare.manifest.merkle import HASH_SIZE, file_root, split_layer
from weightshare.manifest.pieces import PieceMap, Span

_READ_BACKS = 3
_TICK = 0.1
_FILE_MODE = 0o444


class Witness(Protocol):
    """Who wants to know which pieces were read back, and which are proven by it."""

    def hashed(self, span: Span, piece: int, digest: bytes) -> None:
        """A piece of a file was read back and has this hash; whether it is the signed one, its file will show."""

    def proven(self, pieces: Collection[int]) -> None:
        """These pieces were read back, and the root over their file is the signed one."""


class Landing:
    """The staged files of one fetch. It is the sink of a swarm transfer.

    Args:
        pieces: the torrent's pieces.
        spans: the files that are to land.
        staging: the folder that holds the torrent's files while they are incomplete.
        prover: reads pieces back and hashes them.
        keep_resume: writes the engine's resume data.
        journal: records what was read back, and knows what an earlier run had.
        witness: told what the hashes show.

    Attributes:
        distrust: called with a file whose pieces are not the signed file, before they are looked at again.
    """

    def __init__(
        self,
        pieces: PieceMap,
        spans: Sequence[Span],
        staging: Path,
        prover: Prover,
        keep_resume: Callable[[bytes], None],
        journal: Journal,
        witness: Witness | None = None,
    ) -> None:
        self._pieces = pieces
        self._witness = witness
        self._staging = staging
        self._prover = prover
        self._keep_resume = keep_resume
        self._journal = journal
        self.distrust: Callable[[Span], None] = lambda _: None
        self._layers = {span.position: bytearray(HASH_SIZE * span.count) for span in spans}
        self._open = {span.position: set(span.pieces) for span in spans if span.count}
        self._spans = {span.position: span for span in spans}
        self._pending: set[int] = set()
        self._proven_bytes = 0
        self._attempts: dict[int, int] = {}
        self._syncs: dict[int, Future[None]] = {}
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="fsync")

    def __enter__(self) -> Landing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._syncer.shutdown(wait=error is None, cancel_futures=True)

    # ---- the sink

    def readable(self, pieces: Collection[int]) -> None:
        """Read these pieces back and hash them, in the background."""
        for piece in sorted(pieces):
            span, offset, length = self._pieces.byte_range(piece)
            if piece in self._open.get(span.position, ()) and piece not in self._pending:
                self._pending.add(piece)
                tree = tree_length(span.file.size, self._pieces.piece_length)
                self._prover.submit(piece, self._path(span), offset, length, tree_length=tree)

    def refused(self) -> Collection[int]:
        """Take in what was hashed; the pieces of a file whose bytes on disk are not those that arrived."""
        again: list[int] = []
        for piece, outcome in self._prover.drain():
            self._pending.discard(piece)
            span, _, length = self._pieces.byte_range(piece)
            if isinstance(outcome, OSError):
                raise DiskError(
                    f"{span.file.path} cannot be read back: {outcome.strerror or outcome}.",
                    hint="Check the disk; the same command resumes.",
                    path=str(self._path(span)),
                ) from outcome
            self._journal.note(piece, outcome)
            again.extend(self._accept(span, piece, length, outcome))
        return again

    def recover(self, tick: Callable[[int, int], None]) -> set[int]:
        """The pieces that an earlier run had read back and that are still on the disk, by the journal.

        Args:
            tick: told now and then how many bytes were looked at, and of how many.
        """
        known = {piece: digest for piece, digest in self._journal.known.items() if self._is_open(piece)}
        total = sum(self._pieces.byte_range(piece)[2] for piece in known)
        done = 0
        here: set[int] = set()
        self.readable(known)
        while self._pending:
            for piece, outcome in self._prover.drain(_TICK):
                self._pending.discard(piece)
                span, _, length = self._pieces.byte_range(piece)
                done += length
                if outcome == known[piece]:
                    here.add(piece)
                    here.difference_update(self._accept(span, piece, length, known[piece]))
            tick(done, total)
        return here

    def settled(self) -> bool:
        """Whether every file is proven."""
        return not any(self._open.values())

    def busy(self) -> bool:
        """Whether pieces are being read back just now."""
        return bool(self._pending)

    def proven(self) -> int:
        """Bytes read back and hashed so far."""
        return self._proven_bytes

    def resume_data(self, data: bytes) -> None:
        """Keep the engine's resume data."""
        self._keep_resume(data)

    # ---- the end

    def layer(self, position: int) -> bytes:
        """The proven piece layer of a file, empty for one no longer than a piece."""
        span = self._spans[position]
        return bytes(self._layers[position]) if span.count > 1 else b""

    def promote(self, destination: Path) -> dict[str, Receipt]:
        """Give every file its final name under `destination`; only once `settled`.

        Raises:
            DiskError: the disk refused; files already in place are proven, the others are still staged.
        """
        if not self.settled():
            raise AssertionError("files that are not proven have no final name")
        receipts = {}
        touched = {destination}
        for span in self._spans.values():
            source, target = self._path(span), destination / span.file.path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                if span.count:
                    self._syncs[span.position].result()
                else:
                    source.parent.mkdir(parents=True, exist_ok=True)
                    source.touch()
                source.chmod(_FILE_MODE)
                source.replace(target)
                receipts[span.file.path] = Receipt.of(target, span.file.pieces_root)
            except OSError as error:
                raise DiskError(
                    f"{target} could not be put in place: {error.strerror or error}.",
                    hint="Everything is kept; mend the disk or the folder's permissions and run the same command.",
                    path=str(target),
                ) from error
            touched.update(_parents(target, destination))
        for folder in touched:
            sync_folder(folder)
        return receipts

    # ---- inside

    def _is_open(self, piece: int) -> bool:
        return piece < self._pieces.total and piece in self._open.get(
            self._pieces.byte_range(piece)[0].position, ()
        )

    def _accept(self, span: Span, piece: int, length: int, digest: bytes) -> Collection[int]:
        """Take in a piece's hash; all pieces of the file if it was the last and they are not the signed file."""
        at = (piece - span.first) * HASH_SIZE
        self._layers[span.position][at : at + HASH_SIZE] = digest
        self._open[span.position].discard(piece)
        self._proven_bytes += length
        if self._witness is not None:
            self._witness.hashed(span, piece, digest)
        return () if self._open[span.position] else self._close(span)

    def _close(self, span: Span) -> Collection[int]:
        """All pieces of a file are hashed: it is proven, or all of it is looked at again."""
        layer = self._layers[span.position]
        root = (
            bytes(layer)
            if span.count == 1
            else file_root(split_layer(bytes(layer)), self._pieces.piece_length)
        )
        if root == span.file.pieces_root:
            self._syncs[span.position] = self._syncer.submit(_sync, self._path(span))
            if self._witness is not None:
                self._witness.proven(span.pieces)
            return ()
        tries = self._attempts[span.position] = self._attempts.get(span.position, 0) + 1
        if tries >= _READ_BACKS:
            raise DiskError(
                f"{span.file.path} reads back differently from what was written, {tries} times.",
                hint="The disk or memory is failing, or another program writes there. Nothing got its final name.",
                path=str(self._path(span)),
            )
        self.distrust(span)
        self._open[span.position] = set(span.pieces)
        self._proven_bytes -= span.file.size
        return span.pieces

    def _path(self, span: Span) -> Path:
        return self._staging / span.file.path


def staging_lock(staging: Path, what: str) -> AbstractContextManager[None]:
    """Hold a staging folder for one process, whoever's: two users may fetch into one folder, each with their own store.

    Raises:
        StoreLockedError: another process holds it.
        DiskError: the folder cannot be written.
    """
    return exclusive(_lock_of(staging), what, passing=True)


def clear_staging(staging: Path) -> None:
    """Remove a staging folder, and the folder around it if that is empty then."""
    shutil.rmtree(staging, ignore_errors=True)
    if _lock_of(staging).exists():  # left behind by a process that was killed, or held by us
        with suppress(StoreLockedError, DiskError), staging_lock(staging, staging.name):
            pass
    with suppress(OSError):  # another release may be staged there
        staging.parent.rmdir()


def _lock_of(staging: Path) -> Path:
    return staging.with_name(f"{staging.name}.lock")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _parents(path: Path, root: Path) -> list[Path]:
    """The folders from `root` down to the one that holds `path`."""
    depth = len(root.parts)
    return [folder for folder in path.parents if len(folder.parts) >= depth]
