"""`publish --oms-key`: a `model.sig` for those who check with OpenSSF Model Signing tools.

It is made of the digests that publishing has anyway, so no byte is read twice, and is itself a file of the release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from weightshare.api.asking import Intent
from weightshare.api.drafting import HashedCheckpoint, hash_bytes
from weightshare.content.checkpoint import Checkpoint
from weightshare.content.gathering import FileHashes
from weightshare.content.walk import SourceFile, source_file
from weightshare.errors import CheckpointError, DiskError, UnsafeNameError
from weightshare.files import write_atomically
from weightshare.manifest.kinds import media_type
from weightshare.manifest.metainfo import tree_order
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.paths import fold
from weightshare.trust import oms
from weightshare.trust.oms_keys import EcSigner
from weightshare.trust.oms_statement import GIT_PATHS, whole_files
from weightshare.units import MAX_FILES

SIGNATURE_NAME = "model.sig"
"""Where the signature lies in the folder; the name that model_signing writes too."""


def prepare(
    checkpoint: Checkpoint, key: str | Path, passphrase: Callable[[], str] | None, *, writable: bool
) -> tuple[Checkpoint, EcSigner]:
    """Load the key and make room for a signature, before anything is hashed.

    Args:
        checkpoint: as it was read.
        key: path of a PEM private key.
        passphrase: asked if the key is encrypted.
        writable: whether the folder may be written to.

    Returns:
        The checkpoint without an older signature, and the key.

    Raises:
        KeyFileError: no key that OpenSSF Model Signing knows.
        DiskError: the signature could not be put into the folder.
        UnsafeNameError: another file stands where the signature must go.
        CheckpointError: there is nothing to sign, or no room for one more file.
    """
    signer = EcSigner.load(Path(key).expanduser(), passphrase)
    if not writable:
        raise DiskError(
            f"{SIGNATURE_NAME} cannot be put into {checkpoint.root}: the folder may not be written to.",
            hint="Publish a copy of it, or leave out --oms-key.",
            path=str(checkpoint.root),
        )
    files = tuple(file for file in checkpoint.files if file.path != SIGNATURE_NAME)
    in_the_way = [file.path for file in files if fold(file.path.partition("/")[0]) == SIGNATURE_NAME]
    if in_the_way:
        raise UnsafeNameError(
            f"{in_the_way[0]} stands where {SIGNATURE_NAME} must go.",
            hint="Rename it, or leave out --oms-key.",
            paths=in_the_way,
        )
    if all(file.path.partition("/")[0] in GIT_PATHS for file in files):
        raise CheckpointError(f"{checkpoint.root} holds no files for {SIGNATURE_NAME} to sign.", paths=[])
    if len(files) >= MAX_FILES:
        raise CheckpointError(
            f"{checkpoint.root} holds {len(files)} files, and with {SIGNATURE_NAME} {MAX_FILES} at most.",
            hint="Publish it in parts, or pack the small files.",
            paths=[],
        )
    warnings = checkpoint.warnings
    if any(file.location != checkpoint.root.resolve() / file.path for file in files):
        warnings += (
            f"{SIGNATURE_NAME} holds for the files as they will be fetched; in this folder, where some are links, "
            "tools for OpenSSF Model Signing will refuse them.",
        )
    return replace(checkpoint, files=files, warnings=warnings), signer


def add_signature(hashed: HashedCheckpoint, intent: Intent, signer: EcSigner) -> HashedCheckpoint:
    """Sign the digests, and add the signature to the files of the release; nothing is written yet.

    The statement leaves out the files that come with git, as the standard has it, and `weightshare.json`, which is
    made later and signs `model.sig` in turn.
    """
    statement = whole_files(
        intent.name.rpartition("/")[2],
        {file.path: found.sha256 for file, found in hashed.files},
        GIT_PATHS | {SIGNATURE_NAME, MANIFEST_NAME},
    )
    data = oms.sign(statement, signer)
    made = hash_bytes(SIGNATURE_NAME, data, intent.piece_length)
    found = FileHashes(
        len(data),
        hashlib.sha256(data).digest(),
        made.pieces_root,
        made.piece_layer,
        made.v1_pieces if intent.hybrid else b"",
        made.v1_last_unpadded if intent.hybrid else b"",
    )
    location = hashed.checkpoint.root.resolve() / SIGNATURE_NAME
    file = SourceFile(SIGNATURE_NAME, location, len(data), media_type(SIGNATURE_NAME), (0, 0, 0, 0, 0))
    files = sorted((*hashed.files, (file, found)), key=lambda pair: tree_order(pair[0].path))
    return replace(hashed, files=tuple(files), late={**hashed.late, SIGNATURE_NAME: data})


def write_late(hashed: HashedCheckpoint) -> HashedCheckpoint:
    """Put what was made of the other files' digests into the folder, and look at it there.

    What is there with the same bytes is left as it is.

    Raises:
        OSError: the disk refuses.
    """
    files = []
    for file, found in hashed.files:
        data = hashed.late.get(file.path)
        if data is None:
            files.append((file, found))
            continue
        if not _holds(file.location, data):
            write_atomically(file.location, data)
        files.append((source_file(file.path, file.location), found))
    return replace(hashed, files=tuple(files))


def _holds(path: Path, data: bytes) -> bool:
    return (
        path.is_file()
        and not path.is_symlink()
        and path.stat().st_size == len(data)
        and path.read_bytes() == data
    )
