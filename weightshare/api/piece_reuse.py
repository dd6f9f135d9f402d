"""Before the swarm is asked: single pieces of a new release that stand in other releases on this machine.

The new release's piece hashes come from its `.torrent`, from an earlier run, or from peers, before any data is asked
for. A hybrid's info dictionary has SHA-1 hashes, which tell where to look as well. Those of the releases that are here
come from their `.torrent` files in the store, or from the journal of a fetch that was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from stat import S_ISREG

from weightshare.content.journal import Journal
from weightshare.content.landing import Landing
from weightshare.content.piece_sources import (
    SHA1_SIZE,
    UNKNOWN,
    Hashed,
    Run,
    Source,
    Wanted,
    layer_of,
)
from weightshare.content.piece_taking import take, wipe
from weightshare.content.prover import Prover
from weightshare.content.receipts import load_receipts
from weightshare.content.store import Record, Store
from weightshare.errors import StoreError, WeightshareError
from weightshare.files import write_atomically
from weightshare.manifest import bencode, merkle
from weightshare.manifest.metainfo import Info, Torrent, parse_info, parse_torrent
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.pieces import PieceMap, Span, v1_hashes
from weightshare.progress import Observer, Phase, Progress
from weightshare.swarm.fetching import Transfer
from weightshare.swarm.piece_layers import await_layers
from weightshare.units import MAX_TORRENT

_PATIENCE = 3.0
_PATIENCE_WITH_V1 = 1.0  # a hybrid's peers may not speak v2 at all, and there is another way to look


@dataclass(frozen=True, slots=True)
class Found:
    """Pieces that were found on this machine, not looked at yet.

    Attributes:
        runs: where, in the order of the release.
        wanted: which hash each must have.
    """

    runs: tuple[Run, ...] = ()
    wanted: Wanted | None = None

    def by_release(self, span: Span) -> dict[str, int]:
        """The bytes of a file that surely are here, by the release that has them."""
        sizes: dict[str, int] = {}
        for run in self.runs:
            if run.span is span and run.source.sure and not run.guess:
                sizes[run.source.release] = sizes.get(run.source.release, 0) + run.size
        return sizes


NOTHING = Found()


class PieceReuse:
    """Looks for the pieces of one release.

    Args:
        info: its torrent.
        record: the release at its place; of what stands there, files that were found damaged are looked at.
        store: the releases on this machine.
        torrent: its `.torrent`, where the source gave one.
        live: the torrent among peers, where it has come through the gate just now.

    Attributes:
        layers: its piece layers by pieces root, as far as they are known; asked for when first needed.
    """

    def __init__(
        self, info: Info, record: Record, store: Store, torrent: Torrent | None, live: Transfer | None
    ) -> None:
        self._info = info
        self._record = record
        self._store = store
        self._live = live
        self.layers: Mapping[bytes, bytes] = torrent.piece_layers if torrent is not None else {}
        if not self.layers:
            self.layers = load_layers(store.folder(record), info) or _kept_layers(store, record)

    def find(self, spans: Sequence[Span], had: Mapping[int, bytes]) -> Found:
        """Look for the pieces of some files that are missing.

        Args:
            spans: the files.
            had: pieces of them that an earlier run had.

        Raises:
            NetworkError, StoreError: as of asking peers, and of reading the store.
        """
        others = [other for other in self._store.records() if other.id != self._record.id]
        damaged = self._damaged(spans)
        if not spans or not (damaged or any(True for other in others for _ in _files(self._store, other))):
            return NOTHING
        self.ask(spans)
        wanted = Wanted(self._info, spans, self.layers, had)
        # What nobody seems to have touched comes first, and of that the newest.
        touched = []
        for other in reversed(others):
            for source, look in _files(self._store, other):
                if source.sure:
                    wanted.look(source, look())
                elif other not in touched:
                    touched.append(other)
        for other in touched:
            for source, look in _files(self._store, other):
                if not source.sure:
                    wanted.look(source, look())
        for source, look in damaged:
            wanted.look(source, look())
        return Found(tuple(wanted.runs()), wanted)

    def _damaged(self, spans: Sequence[Span]) -> list[tuple[Source, Callable[[], Hashed]]]:
        """Those of these files that stand in their places all the same: most of their pieces may be sound."""
        missing = {self._record.path / span.file.path for span in spans}
        return [found for found in _files(self._store, self._record) if found[0].path in missing]

    @property
    def all_layers(self) -> Mapping[bytes, bytes] | None:
        """The layers, if none is missing."""
        files = self._info.files
        long = {f.pieces_root for f in files if f.size > self._info.piece_length}
        return self.layers if self.layers and long <= self.layers.keys() else None

    def take(
        self,
        found: Found,
        staging: Path,
        landing: Landing,
        prover: Prover,
        observe: Observer,
    ) -> set[int]:
        """Copy what was found into the staged files; the pieces that are in place and proven.

        Args:
            found: as of `find`.
            staging: the release's staging folder.
            landing: where the pieces go; it has recalled what is there and not begun.
            prover: the landing's.
            observe: told how it goes.

        Raises:
            NoSpaceError, DiskError: the staged files cannot be written; resumable.
        """
        wanted, pieces, folder = found.wanted, PieceMap(self._info), staging / self._info.name
        if wanted is None or not found.runs:
            return set()
        if self.layers:  # for the run that goes on after this one, which may meet no peer
            save_layers(self._store.folder(self._record), self.layers)

        def tick(done: int, total: int) -> None:
            observe(Progress(Phase.CHECKING, done, total))

        taken = take(found.runs, wanted, pieces, folder, prover, landing.brought, tick)
        doubtful = wanted.by_v1 & taken

        def distrust(span: Span) -> None:
            # Which of them is wrong cannot be told: all come anew that only SHA-1 had led to.
            bad = doubtful.intersection(span.pieces)
            doubtful.difference_update(bad)
            if bad:
                wipe(bad, span, self._info.piece_length, folder / span.file.path)

        landing.distrust = distrust
        return taken

    def ask(self, spans: Sequence[Span], *, alone: bool = False, patience: float | None = None) -> None:
        """Ask peers for the piece layers of these files that are not known yet, for a few seconds at most.

        Args:
            spans: the files.
            alone: wait for no others.
            patience: seconds without any further hash after which no more is waited for; None for a few.

        Raises:
            NetworkError, StoreError: the engine or the disk failed.
        """
        needed = {span.file.pieces_root or b"" for span in spans if span.count > 1}
        if self._live is not None and needed - self.layers.keys():
            if patience is None:
                patience = _PATIENCE_WITH_V1 if self._info.hybrid else _PATIENCE
            roots = needed if alone else None
            came = await_layers(self._live, self._info, patience=patience, roots=roots)
            self.layers = {**self.layers, **came}


def save_layers(state: Path, layers: Mapping[bytes, bytes]) -> None:
    """Keep piece layers beside a record that has no `.torrent` yet."""
    with suppress(OSError):
        write_atomically(state / "layers", bencode.encode(dict(layers)))


def load_layers(state: Path, info: Info) -> dict[bytes, bytes]:
    """What `save_layers` kept, as far as it leads to the roots of the release's files."""
    try:
        found = bencode.decode((state / "layers").read_bytes(), limit=MAX_TORRENT, what="piece layers")
    except (OSError, WeightshareError):
        return {}
    layers: dict[bytes, bytes] = {}
    for file in info.files:
        layer = found.get(file.pieces_root) if isinstance(found, dict) else None
        if not isinstance(layer, bytes) or not file.pieces_root or file.size <= info.piece_length:
            continue
        whole = len(layer) == merkle.HASH_SIZE * -(-file.size // info.piece_length)
        if whole and merkle.file_root(merkle.split_layer(layer), info.piece_length) == file.pieces_root:
            layers[file.pieces_root] = layer
    return layers


def _kept_layers(store: Store, record: Record) -> Mapping[bytes, bytes]:
    """The layers of a release that was whole once, from its `.torrent` in the store."""
    with suppress(OSError, WeightshareError):
        raw = store.torrent(record)
        return parse_torrent(raw).piece_layers if raw is not None else {}
    return {}


def _files(store: Store, record: Record) -> Iterator[tuple[Source, Callable[[], Hashed]]]:
    """The files of a release that are on this machine, each with what gives its hashes, which are many."""
    state = store.folder(record)
    try:
        raw = store.torrent(record)
        torrent = parse_torrent(raw) if raw is not None else None
        info = torrent.info if torrent is not None else parse_info((state / "info").read_bytes())
        receipts = load_receipts(state / "receipts.json")
    except (OSError, StoreError, WeightshareError):  # nothing but a hint
        return
    layers = torrent.piece_layers if torrent is not None else load_layers(state, info)
    v1 = v1_hashes(info)
    begun = {} if torrent is not None else Journal(state / "pieces").known
    for span in PieceMap(info).spans:
        path = span.file.path
        if path == MANIFEST_NAME or not span.count:
            continue
        place, staged = record.path / path, record.staging / info.name / path
        if _stands(place, span.file.size):
            sure = path in receipts and receipts[path].still_holds(place)
            layer = partial(layer_of, span, info.piece_length, layers)
        elif begun and _stands(staged, span.file.size):
            place, sure = staged, True  # nobody else writes there
            layer = partial(_journalled, span, info.piece_length, begun)
        else:
            continue
        hashes = v1[span.first * SHA1_SIZE : (span.first + span.count) * SHA1_SIZE]
        yield Source(place, span.file.size, record.release, sure), partial(_hashed, info, layer, hashes)


def _hashed(info: Info, layer: Callable[[], bytes], v1: bytes) -> Hashed:
    return Hashed(info.piece_length, layer(), v1)


def _journalled(span: Span, piece_length: int, known: Mapping[int, bytes]) -> bytes:
    """The nodes of a file that an interrupted fetch began, as far as it came."""
    if span.count == 1:
        return layer_of(span, piece_length, {}) if span.first in known else UNKNOWN
    return b"".join(known.get(piece, UNKNOWN) for piece in span.pieces)


def _stands(place: Path, size: int) -> bool:
    try:
        found = place.stat()
    except OSError:
        return False
    return S_ISREG(found.st_mode) and found.st_size == size
