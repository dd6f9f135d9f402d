"""A release of a terabyte that takes no room: sparse files of zeros, whose hashes are known without reading them.

Every piece is the same but for the first of each file, which begins with its number: peers name a file by its Merkle
root when they ask for the hashes of its pieces, so no two may have the same. The publisher's store and folder, and a
user's in the state in which an earlier fetch would have left them, are written with the library's own parts; only the
hashing is left out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.builders_metainfo import hashed
from weightshare.content.home import Home
from weightshare.content.journal import Journal
from weightshare.content.receipts import Receipt, save_receipts
from weightshare.content.store import STAGING, Kind, Record, Store
from weightshare.files import write_atomically
from weightshare.manifest import merkle
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.metainfo import HashedFile, Info, build_info, build_torrent, parse_info
from weightshare.manifest.model import MANIFEST_NAME, FileEntry, Manifest, ModelFacts, Publisher, TorrentFacts
from weightshare.manifest.pieces import PieceMap
from weightshare.trust.keys import FileSigner
from weightshare.trust.signing import sign
from weightshare.units import BLOCK, MIB

CREATED = "2026-11-22T10:00:00+00:00"


@dataclass(frozen=True)
class Large:
    """The release.

    Attributes:
        manifest: what is signed.
        envelope: the manifest's bytes, signed.
        info: the torrent's.
        files: with their hashes.
        key: signed it.
    """

    manifest: Manifest
    envelope: bytes
    info: Info
    files: tuple[HashedFile, ...]
    key: FileSigner

    @property
    def pieces(self) -> PieceMap:
        """Where the pieces are."""
        return PieceMap(self.info)

    @property
    def magnet(self) -> str:
        """The link to it."""
        return str(Magnet(v2_hash=self.info.v2_hash, name=self.info.name))


def build(key: FileSigner, *, count: int, size: int, piece_length: int, digests: bool = False) -> Large:
    """A v2-only release of `count` files of `size` bytes, which must be whole pieces, more than one.

    Its SHA-256 of the files are made up, since a fetch does not look at them, unless `digests` are asked for.
    """
    leaf = hashlib.sha256(bytes(BLOCK)).digest()
    piece = merkle.root_of([leaf] * (piece_length // BLOCK))
    files = []
    for number in range(1, count + 1):
        own_leaf = hashlib.sha256(_first_block(number)).digest()
        first = merkle.root_of([own_leaf, *[leaf] * (piece_length // BLOCK - 1)])
        layer = [first, *[piece] * (size // piece_length - 1)]
        path = f"model-{number:05}-of-{count:05}.safetensors"
        files.append(HashedFile(path, size, merkle.file_root(layer, piece_length), b"".join(layer)))
    manifest = Manifest(
        files=tuple(
            FileEntry(file.path, size, _sha256(number, size) if digests else bytes(32), file.pieces_root)
            for number, file in enumerate(files, 1)
        ),
        publisher=Publisher("bench", (key.public_key.fingerprint,)),
        model=ModelFacts("bench/large", "1.0", 1, "2026-11-22T10:00:00Z", ""),
        torrent=TorrentFacts("large", piece_length, False),
    )
    envelope = sign(manifest, key).to_bytes()
    own = hashed(MANIFEST_NAME, envelope, piece_length, hybrid=False)
    info = parse_info(build_info("large", piece_length, [*files, own], hybrid=False))
    return Large(manifest, envelope, info, (*files, own), key)


def publish_at(release: Large, home: Home, folder: Path) -> None:
    """Leave behind what `publish` would: the files, the record, the torrent, and receipts."""
    _sparse(release, folder)
    write_atomically(folder / MANIFEST_NAME, release.envelope)
    store, record = Store(home), _record(release, "published", folder, complete=True)
    store.keep(record, envelope=release.envelope, torrent=build_torrent(release.info.raw, release.files))
    save_receipts(
        store.folder(record) / "receipts.json",
        {entry.path: Receipt.of(folder / entry.path, entry.pieces_root) for entry in release.manifest.files},
    )


def fetched_at(release: Large, home: Home, folder: Path, missing: Collection[int], *, stopped: bool) -> Path:
    """Leave behind what a fetch would that had all but some pieces; returns the folder of its state.

    Args:
        release: what was fetched.
        home: the user's.
        folder: where to.
        missing: the pieces that had not come, no file's first.
        stopped: whether it ended in order; killed otherwise.
    """
    store, record = Store(home), _record(release, "fetched", folder, complete=False)
    store.keep(record, envelope=release.envelope)
    state = store.folder(record)
    write_atomically(state / "info", release.info.raw)
    staging = folder / STAGING / record.info_hash_v2[:16] / release.info.name
    _sparse(release, staging)
    layers = {file.path: merkle.split_layer(file.piece_layer) for file in release.files}
    with Journal(state / "pieces") as journal:
        for span in release.pieces.spans:
            if span.file.path == MANIFEST_NAME:
                continue
            for piece in span.pieces:
                if piece not in missing:
                    journal.note(piece, layers[span.file.path][piece - span.first])
            found = (staging / span.file.path).stat()
            journal.vouch(span.position, found)
            if stopped:
                journal.seal(span.position, found)
    return state


def state_size(state: Path) -> int:
    """Bytes that are kept of a transfer, for its next run."""
    found = 0
    for name in ("pieces", "blocks", "resume"):
        with suppress(FileNotFoundError):
            found += (state / name).stat().st_size
    return found


def _record(release: Large, kind: Kind, folder: Path, *, complete: bool) -> Record:
    return Record(
        info_hash_v2=release.info.v2_hash.hex(),
        info_hash_v1=None,
        release=release.manifest.release,
        publisher=release.key.public_key.fingerprint,
        kind=kind,
        path=folder,
        bytes=release.manifest.size,
        complete=complete,
        created=CREATED,
    )


def _sparse(release: Large, folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, entry in enumerate(release.manifest.files, 1):
        (folder / entry.path).write_bytes(_first_block(number))
        os.truncate(folder / entry.path, entry.size)


def _first_block(number: int) -> bytes:
    return number.to_bytes(8, "little").ljust(BLOCK, b"\0")


def _sha256(number: int, size: int) -> bytes:
    digest, zeros = hashlib.sha256(_first_block(number)), bytes(MIB)
    size -= BLOCK
    for _ in range(size // MIB):
        digest.update(zeros)
    digest.update(zeros[: size % MIB])
    return digest.digest()
