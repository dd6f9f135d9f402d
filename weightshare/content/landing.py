"""Where a fetch lands: files are staged, proven from disk piece by piece, and only then get their final names.

Every piece is read back once it can be, its leaves are hashed, and a file counts when the root over all its pieces is
the signed one. What the engine says of a piece is only the hint of when to look. What an earlier run had read back is
read again in this one, in the background, while the rest is on its way. A proven file is flushed to the disk (fsync),
renamed into place, and the folder is flushed too: no unproven file ever has a final name, not even after a power cut.

Of some files only pieces may be wanted (see `content.parts`). Each of those is proven alone, by the file's piece layer,
and the file stays in the staging folder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Protocol

from weightshare.content.digests import tree_length
from weightshare.content.journal import Journal
from weightshare.content.naming import GiveName, put_in_place, rename
from weightshare.content.parts import Parts
from weightshare.content.prover import Prover
from weightshare.content.recall import Recalled, recall, written
from weightshare.content.receipts import Receipt
from weightshare.content.rereading import Rereading
from weightshare.content.whole_files import WholeFiles
from weightshare.errors import DiskError
from weightshare.manifest.merkle import HASH_SIZE, file_root, split_layer
from weightshare.manifest.metainfo import TreeFile
from weightshare.manifest.pieces import PieceMap, Span
from weightshare.units import BLOCK

_READ_BACKS = 3
_PIECE = (1 << 32) - 1


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
        journal: records what was read back, and knows what an earlier run had.
        witness: told what the hashes show.
        parts: the files of which only pieces are wanted, which `want` names.

    Attributes:
        recalled: what an earlier run had, once `recall` was called.
        distrust: called with a file whose pieces are not the signed file, before they are looked at again.
    """

    def __init__(
        self,
        pieces: PieceMap,
        spans: Sequence[Span],
        staging: Path,
        prover: Prover,
        journal: Journal,
        witness: Witness | None = None,
        parts: Parts | None = None,
    ) -> None:
        self._pieces = pieces
        self._parts = parts or Parts({}, {})
        self._witness = witness
        self._staging = staging
        self._prover = prover
        self._journal = journal
        self.recalled = Recalled()
        self.distrust: Callable[[Span], None] = lambda _: None
        self._layers = {span.position: bytearray(HASH_SIZE * span.count) for span in spans}
        self._open = {span.position: set(self._parts.of(span)) for span in spans if span.count}
        self._spans = {span.position: span for span in spans}
        self._paths: dict[int, Path] = {}
        self._pending: dict[int, int] = {}  # pieces at the prover, with the key that counts
        self._keys = count()
        self._earlier = Rereading(pieces, self.recalled)
        self._sparse: set[int] = set()  # files whose holes were looked at
        self._proven_bytes = 0
        self._attempts: dict[int, int] = {}
        self._whole = WholeFiles()

    def __enter__(self) -> Landing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._whole.close(wait=error is None)

    # ---- before the transfer

    def recall(self) -> Recalled:
        """Find out what an earlier run left, without reading it; that comes while the rest is fetched."""
        self.recalled = recall(self._pieces, list(self._spans.values()), self._staging, self._journal)
        self._earlier = Rereading(self._pieces, self.recalled)
        # What an earlier run had of a file is held, proven again and offered, whatever is wanted of it now.
        self.want(
            [
                p
                for p in (*self.recalled.here, *self.recalled.withheld)
                if self._parts.has(self._pieces.span_of(p))
            ]
        )
        return self.recalled

    def want(self, pieces: Collection[int]) -> None:
        """These pieces are to land too, of files that were given as parts."""
        for piece in pieces:
            span = self._pieces.span_of(piece)
            if self._parts.want(span, piece):
                self._open[span.position].add(piece)
                self._whole.drop(span.position)

    def held(self) -> dict[int, tuple[int, ...]]:
        """The pieces that are wanted of each file of which not all are, by position."""
        return {
            position: tuple(sorted(self._parts.of(span)))
            for position, span in self._spans.items()
            if not self._parts.whole(span)
        }

    def known_layers(self) -> dict[bytes, bytes]:
        """The piece layers, by pieces root, of those files of which all pieces are known by an earlier run.

        An engine that has no layer for a file asks peers for it, and then holds the file's whole tree in memory.
        """
        layers = {}
        for span in self._spans.values():
            digests = [self._journal.known.get(piece, b"") for piece in span.pieces]
            if span.count < 2 or not all(digests):
                continue
            root = file_root(digests, self._pieces.piece_length)
            if root == span.file.pieces_root:
                layers[root] = b"".join(digests)
        return layers

    def brought(self, piece: int, digest: bytes) -> None:
        """Take in a piece that was put into its staged file from elsewhere on this machine, and read back from there.

        Only between `recall` and the transfer. It is offered to others from the start, and not read again.

        Args:
            piece: none that was recalled.
            digest: its hash, over what was read from the staged file.
        """
        span = self._pieces.span_of(piece)
        self.recalled.begun.pop(piece, None)
        if not self._accept(span, piece, digest):
            self.recalled.here.add(piece)

    # ---- the sink

    def readable(self, pieces: Collection[int]) -> None:
        """Read these pieces back and hash them, in the background; those of earlier runs have their turn anyway."""
        for piece in sorted(pieces):
            if piece not in self._earlier:
                self._submit(piece)

    def refused(self) -> Collection[int]:
        """Take in what was hashed; pieces whose bytes on the disk are not those that arrived, now or earlier."""
        while self._earlier.waiting and self._prover.hungry():
            # A few at a time, so that what has just arrived need not wait for all of them.
            piece = self._earlier.next()
            if piece is not None:
                self._submit(piece)
        again: list[int] = []
        for key, outcome in self._prover.drain():
            piece = key & _PIECE
            if self._pending.get(piece) != key:
                continue  # the file was lost after this was read
            del self._pending[piece]
            again.extend(self._take(piece, outcome))
        return again

    def on_disk(self, piece: int) -> bool:
        """Whether there are bytes in the place of a piece at all."""
        span, offset, length = self._pieces.byte_range(piece)
        try:
            return self._path(span).stat().st_size >= offset + length
        except OSError:
            return False

    def settled(self) -> bool:
        """Whether every file is proven and flushed to the disk, and still the file that was."""
        if any(self._open.values()) or self._whole.flushing:
            return False
        changed = self._whole.changed()
        for position in changed:
            self._reopen(self._spans[position], "was written to by another program while it was read back")
            for piece in self._parts.of(self._spans[position]):
                self._submit(piece)
        return not changed

    def busy(self) -> bool:
        """Whether pieces are being read back just now."""
        return bool(self._pending) or self._earlier.waiting or self._whole.flushing

    def doubted(self) -> bool:
        """Whether pieces of an earlier run are still to be proven before they may be offered to others."""
        return self._earlier.withheld

    def proven(self) -> int:
        """Bytes read back and hashed so far."""
        return self._proven_bytes

    def underway(self, finished: Collection[int], begun: Mapping[int, Sequence[bool]]) -> None:
        """Keep for the next run what cannot be read back yet.

        Args:
            finished: pieces that the engine has.
            begun: those that are not whole, with the blocks that are on the disk.
        """
        # Those of files that an earlier run wanted, and this one does not, are kept.
        others = (item for item in self._journal.blocks.items() if item[0] < self._pieces.total)
        blocks = {p: bits for p, bits in others if self._pieces.span_of(p).position not in self._spans}
        blocks |= {piece: list(bits) for piece, bits in begun.items()}
        for piece in (*finished, *self._pending):
            if piece not in self._journal.known:
                blocks[piece] = [True] * -(-self._pieces.byte_range(piece)[2] // BLOCK)
        self._journal.keep_blocks(blocks)

    def seal(self) -> None:
        """Nobody writes to the staged files any more: remember how they look."""
        for position, span in self._spans.items():
            with suppress(OSError):
                found = self._path(span).stat()
                if self._journal.believes(position, found):
                    self._journal.seal(position, found)

    def forget(self) -> None:
        """All has its final name: there is nothing to go on with."""
        self._journal.forget()

    # ---- the end

    def layer(self, position: int) -> bytes:
        """The proven piece layer of a file, empty for one no longer than a piece."""
        span = self._spans[position]
        return bytes(self._layers[position]) if span.count > 1 else b""

    def promote(
        self, destination: Path, names: Mapping[int, TreeFile] | None = None, give: GiveName = rename
    ) -> dict[str, Receipt]:
        """Give every whole file its final name under `destination`; only once `settled`.

        Args:
            destination: the release's folder.
            names: by position, the file as which one lands that was brought in the place of an equal one.
            give: how a file gets its name.

        Raises:
            DiskError: the disk refused; files already in place are proven, the others are still staged.
        """
        if not self.settled():
            raise AssertionError("files that are not proven have no final name")
        self._whole.wait()
        names = names or {}
        whole = [span for span in self._spans.values() if self._parts.whole(span)]
        files = [(names.get(span.position, span.file), self._path(span)) for span in whole]
        return put_in_place(files, destination, give)

    # ---- inside

    def _submit(self, piece: int) -> None:
        span, offset, length = self._pieces.byte_range(piece)
        if piece in self._open.get(span.position, ()) and piece not in self._pending:
            self._pending[piece] = key = next(self._keys) << 32 | piece
            tree = tree_length(span.file.size, self._pieces.piece_length)
            self._prover.submit(key, self._path(span), offset, length, tree_length=tree)

    def _take(self, piece: int, outcome: bytes | OSError) -> Collection[int]:
        """Take in what came of reading a piece; pieces that are not on the disk."""
        span = self._pieces.span_of(piece)
        if isinstance(outcome, OSError):
            return self._unreadable(span, piece, outcome)
        known = self._journal.known.get(piece, outcome)
        if self._earlier.done(piece) and known != outcome:
            self._journal.drop(piece)
            return (piece,)
        return self._accept(span, piece, outcome)

    def _accept(self, span: Span, piece: int, digest: bytes) -> Collection[int]:
        """Take in a piece's hash; all pieces of the file if it was the last and they are not the signed file."""
        if self._parts.refuses(span, piece, digest):
            self._journal.drop(piece)
            self._try_again(span, "reads back differently from what was written")
            return (piece,)
        self._journal.note(piece, digest)
        if not self._earlier.withheld_of(span.position):
            with suppress(OSError):
                self._journal.vouch(span.position, self._path(span).stat())
        at = (piece - span.first) * HASH_SIZE
        self._layers[span.position][at : at + HASH_SIZE] = digest
        self._open[span.position].discard(piece)
        self._proven_bytes += self._pieces.byte_range(piece)[2]
        if self._witness is not None:
            self._witness.hashed(span, piece, digest)
        return () if self._open[span.position] else self._close(span)

    def _close(self, span: Span) -> Collection[int]:
        """All pieces of a file are hashed: it is proven, or all of it is looked at again."""
        if not self._parts.whole(span):
            return self._proven(span, self._pieces.byte_range(max(self._parts.of(span)))[1])
        layer = self._layers[span.position]
        root = (
            bytes(layer)
            if span.count == 1
            else file_root(split_layer(bytes(layer)), self._pieces.piece_length)
        )
        if root != span.file.pieces_root:
            again = self._reopen(span, "reads back differently from what was written")
            self.distrust(span)
            return again
        return self._proven(span, span.file.size)

    def _proven(self, span: Span, least: int) -> Collection[int]:
        """All pieces that are wanted of a file are the signed ones; those that are lost after all.

        Args:
            span: the file.
            least: bytes that it must have on the disk.
        """
        try:
            receipt = Receipt.of(self._path(span), span.file.pieces_root)
        except OSError:
            return self._lose(span)
        if receipt.size < least:
            return self._lose(span)
        holes = set(self._parts.of(span)) - written(self._pieces, span, self._path(span), span.file.size)
        if holes and span.position not in self._sparse:
            # A file system that leaves out zeros, or somebody cut the file and it grew again.
            self._sparse.add(span.position)
            self._open[span.position] = holes
            self._proven_bytes -= sum(self._pieces.byte_range(piece)[2] for piece in holes)
            for piece in holes:
                self._submit(piece)
            return ()
        self._whole.add(span.position, self._path(span), receipt)
        if self._witness is not None:
            self._witness.proven(self._parts.of(span))
        return ()

    def _unreadable(self, span: Span, piece: int, error: OSError) -> Collection[int]:
        if not self.on_disk(piece):
            return self._lose(span)
        raise DiskError(
            f"{span.file.path} cannot be read back: {error.strerror or error}.",
            hint="Check the disk; the same command resumes.",
            path=str(self._path(span)),
        ) from error

    def _lose(self, span: Span) -> Collection[int]:
        """Somebody cut or removed a file: whatever was read of it before may be gone too."""
        for piece in self._parts.of(span):
            self._journal.drop(piece)
            self._earlier.done(piece)
            self._pending.pop(piece, None)
        return self._reopen(span, "was cut or removed by another program")

    def _reopen(self, span: Span, what: str) -> Collection[int]:
        self._try_again(span, what)
        pieces = self._parts.of(span)
        proven = pieces - self._open[span.position]
        self._proven_bytes -= sum(self._pieces.byte_range(piece)[2] for piece in proven)
        self._open[span.position] = set(pieces)
        self._whole.drop(span.position)
        return sorted(pieces)

    def _try_again(self, span: Span, what: str) -> None:
        tries = self._attempts[span.position] = self._attempts.get(span.position, 0) + 1
        if tries >= _READ_BACKS:
            raise DiskError(
                f"{span.file.path} {what}, {tries} times.",
                hint="The disk or memory is failing, or another program writes there. Nothing got its final name.",
                path=str(self._path(span)),
            )

    def _path(self, span: Span) -> Path:
        # Asked for several times a piece; a release may have 10,000 files.
        path = self._paths.get(span.position)
        if path is None:
            path = self._paths[span.position] = self._staging / span.file.path
        return path
