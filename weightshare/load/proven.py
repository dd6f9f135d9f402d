"""Small files, read once and proven: the bytes returned are the bytes that were hashed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from weightshare.errors import CheckpointError, CorruptError, DiskError
from weightshare.load.opened import REPAIR, open_file
from weightshare.units import MIB, format_size

if TYPE_CHECKING:
    from weightshare.manifest.model import FileEntry

MAX_SMALL = 256 * MIB
"""Largest file that is read whole into memory: tokenizers reach tens of MiB, indexes a few."""


def read_proven(
    entry: FileEntry, folder: Path, locations: Mapping[str, Path] | None = None, *, limit: int = MAX_SMALL
) -> bytes:
    """The bytes of a small file of a release, after their SHA-256 was compared with the signed one.

    Args:
        entry: the file, from a verified manifest.
        folder: the release's folder.
        locations: where files really lie that the folder only links to.
        limit: bytes; a longer file is refused before it is read.

    Raises:
        CheckpointError: longer than `limit`.
        CorruptError: the bytes are not those that were signed.
        DiskError: they cannot be read.
    """
    if entry.size > limit:
        raise CheckpointError(
            f"{entry.path}: {format_size(entry.size)}, and at most {format_size(limit)} are read as one.",
            hint="A configuration or tokenizer file of this size is not one.",
            path=entry.path,
        )
    file = open_file(entry, folder, locations or {})
    try:
        with os.fdopen(os.dup(file.fd), "rb") as stream:
            data = stream.read(entry.size + 1)
    except OSError as error:
        raise DiskError(
            f"{entry.path}: cannot be read: {error.strerror}.",
            hint="The disk reports a fault. Check it, then repair the release.",
            path=str(file.location),
        ) from error
    finally:
        file.close()
    found = hashlib.sha256(data).digest()
    if found != entry.sha256:
        raise CorruptError(
            f"{entry.path}: SHA-256 is {found.hex()}, signed is {entry.sha256.hex()}.",
            hint=REPAIR,
            path=entry.path,
            pieces=[],
            expected=entry.sha256.hex(),
            found=found.hex(),
        )
    return data
