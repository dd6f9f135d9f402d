"""A folder against its signed manifest: every byte hashed again, every difference named.

A file counts as sound only if its size, its whole-file SHA-256 and its Merkle root are all those that were
signed. Where the piece layer is known (it comes from the `.torrent` and is checked against the signed root),
the bad pieces of a bad file are named too, so that only they need to be fetched again. Nothing is written.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from weightshare.content.hashing import FileHashes, hash_each
from weightshare.content.padding import is_pad, pads_of
from weightshare.content.walk import is_hub_blob
from weightshare.errors import CheckpointError, CorruptError
from weightshare.manifest import merkle
from weightshare.manifest.model import MANIFEST_NAME, FileEntry
from weightshare.progress import Observer, Phase, ignore
from weightshare.trust.gate import VerifiedManifest

_OURS = ".weightshare"


@dataclass(frozen=True, slots=True)
class FileReport:
    """What is to say of one file.

    Attributes:
        path: in the release.
        ok: whether it is what was signed.
        problem: empty, `missing`, `wrong size`, `corrupt`, `extra`, `not a regular file` or `unreadable`.
        bad_pieces: indices of the pieces, within the file, that must be fetched again; empty if unknown.
        expected: what was signed, where that helps: a size, or the hex of a digest.
        found: what is there instead.
    """

    path: str
    ok: bool
    problem: str = ""
    bad_pieces: tuple[int, ...] = ()
    expected: str = ""
    found: str = ""


def check_folder(
    folder: Path,
    manifest: VerifiedManifest,
    *,
    layers: Mapping[bytes, bytes] | None = None,
    locations: Mapping[str, Path] | None = None,
    workers: int | None = None,
    observe: Observer = ignore,
    extras: bool = True,
) -> list[FileReport]:
    """Compare a folder with a manifest.

    Args:
        folder: where the files should be.
        manifest: what was signed.
        layers: pieces root to piece layer.
        locations: release path to the file that a link in its place may lead to. Other links are not followed,
            but for those of a Hub cache's snapshot into its own blobs.
        workers: processes; by default one per usable core.
        observe: told how far it is.
        extras: also report files that nobody signed, other than the pads that some clients write out.

    Returns:
        A report for each file of the manifest, in its order, then one for each extra file.

    Raises:
        CorruptError: a layer does not belong to its root.
        WorkerError: a worker process died.
    """
    layers, locations = layers or {}, locations or {}
    entries = manifest.manifest.files
    piece_length = manifest.manifest.torrent.piece_length
    real = folder.resolve()
    reports: dict[str, FileReport] = {}
    to_hash: list[tuple[FileEntry, Path, int]] = []
    for entry in entries:
        place = _place(real, entry, locations.get(entry.path))
        if isinstance(place, FileReport):
            reports[entry.path] = place
        else:
            to_hash.append((entry, *place))
    outcomes = hash_each(
        [(path, size) for _, path, size in to_hash],
        piece_length,
        hybrid=False,
        workers=workers,
        observe=observe,
        phase=Phase.VERIFYING,
    )
    for (entry, _, _), outcome in zip(to_hash, outcomes, strict=True):
        layer = _layer(entry, layers, piece_length)
        reports[entry.path] = _report(entry, outcome, layer)
    found = [reports[entry.path] for entry in entries]
    if extras:
        signed = {entry.path for entry in entries}
        pads = pads_of(manifest)
        found += [
            FileReport(path, False, "extra")
            for path in sorted(_files(real))
            if path not in signed and not (path in pads and is_pad(real / path, pads[path]))
        ]
    return found


def _place(real: Path, entry: FileEntry, location: Path | None) -> FileReport | tuple[Path, int]:
    """Where to read a file and how many bytes, or why not at all."""
    path = real / entry.path
    try:
        target = path.resolve()
        # A link, or a linked folder on the way, would have us vouch for bytes that lie elsewhere.
        known = target == path or is_hub_blob(real, path, target)
        if not known and (location is None or target != location.resolve()):
            return FileReport(entry.path, False, "not a regular file", found="a symbolic link")
        status = target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return FileReport(entry.path, False, "missing", expected=f"{entry.size} bytes")
    except (OSError, RuntimeError) as error:
        return FileReport(entry.path, False, "unreadable", found=getattr(error, "strerror", None) or "a loop")
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
        return FileReport(entry.path, False, "not a regular file", found=what)
    return target, status.st_size


def _layer(entry: FileEntry, layers: Mapping[bytes, bytes], piece_length: int) -> bytes:
    """The file's piece hashes, checked; empty if they are not known."""
    if entry.pieces_root is None:
        return b""
    if entry.size <= piece_length:
        return entry.pieces_root
    layer = layers.get(entry.pieces_root, b"")
    if not layer:
        return b""
    count = -(-entry.size // piece_length)
    if len(layer) != count * merkle.HASH_SIZE or (
        merkle.file_root(merkle.split_layer(layer), piece_length) != entry.pieces_root
    ):
        raise CorruptError(
            f"The piece layer given for {entry.path} is not the one that was signed.",
            path=entry.path,
            pieces=[],
            expected=entry.pieces_root.hex(),
        )
    return layer


def _report(entry: FileEntry, outcome: FileHashes | CheckpointError | OSError, layer: bytes) -> FileReport:
    if isinstance(outcome, FileNotFoundError):
        return FileReport(entry.path, False, "missing")
    if isinstance(outcome, OSError):
        return FileReport(entry.path, False, "unreadable", found=outcome.strerror or str(outcome))
    if isinstance(outcome, CheckpointError):
        return FileReport(entry.path, False, "unreadable", found=outcome.message)
    if outcome.size != entry.size:
        return FileReport(
            entry.path,
            False,
            "wrong size",
            _bad_pieces(outcome, layer),
            f"{entry.size} bytes",
            f"{outcome.size} bytes",
        )
    if outcome.pieces_root != entry.pieces_root or outcome.sha256 != entry.sha256:
        return FileReport(
            entry.path,
            False,
            "corrupt",
            _bad_pieces(outcome, layer),
            entry.sha256.hex(),
            outcome.sha256.hex(),
        )
    return FileReport(entry.path, True)


def _bad_pieces(found: FileHashes, layer: bytes) -> tuple[int, ...]:
    """The pieces of the signed file that the file on disk does not have."""
    ours = found.piece_layer or found.pieces_root or b""
    size = merkle.HASH_SIZE
    return tuple(
        index
        for index in range(len(layer) // size)
        if layer[index * size : (index + 1) * size] != ours[index * size : (index + 1) * size]
    )


def _files(real: Path) -> Iterator[str]:
    """Everything in a folder that is no folder, except the manifest and our own working files."""
    for folder, folders, names in os.walk(real):
        below = Path(folder).relative_to(real)
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith(_OURS)]
        for name in (*names, *links):
            path = (below / name).as_posix()
            if path != MANIFEST_NAME and not name.startswith(_OURS):
                yield path
