"""What was hashed for a release that is not signed yet, so that finishing it does not read every byte again.

A draft is found by the SHA-256 of the payload that is being signed. It is a memory, like a receipt: it counts only
for files whose status is still what it was when they were hashed, and the finished release is held against the
signed manifest like any other.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weightshare.content.gathering import FileHashes
from weightshare.content.walk import SourceFile
from weightshare.errors import DiskError, IntegrityError
from weightshare.files import write_atomically
from weightshare.manifest import bencode

_MAX_HASHES = 1 << 30
_FIELDS = ("sha256", "piece_layer", "v1_pieces", "v1_last_unpadded", "v1_twin")


@dataclass(frozen=True, slots=True)
class Kept:
    """A draft that was found again.

    Attributes:
        folder: the folder that was hashed.
        facts: what the publisher asked for, as it was put down.
    """

    folder: Path
    facts: Mapping[str, object]
    _hashes: Mapping[bytes, object]

    def hashes_of(self, file: SourceFile) -> FileHashes | None:
        """The digests of a file, if it is by all that its status shows the one that was hashed."""
        entry = self._hashes.get(file.path.encode())
        if not isinstance(entry, dict) or entry.get(b"stamp") != list(file.stamp):
            return None
        values = {name: entry[name.encode()] for name in _FIELDS}
        root = entry[b"root"]
        return FileHashes(size=file.size, pieces_root=root or None, **values)


def keep_draft(
    place: Path,
    folder: Path,
    facts: Mapping[str, object],
    files: Sequence[tuple[SourceFile, FileHashes]],
) -> None:
    """Write a draft down.

    Args:
        place: its folder, named for the payload.
        folder: the checkpoint.
        facts: what the publisher asked for; JSON values.
        files: what was hashed.

    Raises:
        DiskError: the disk refuses.
    """
    hashes = {
        file.path: {
            "stamp": list(file.stamp),
            "root": found.pieces_root or b"",
            **{name: getattr(found, name) for name in _FIELDS},
        }
        for file, found in files
    }
    try:
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / "hashes", bencode.encode(hashes))
        write_atomically(place / "draft.json", json.dumps({"folder": str(folder), **facts}).encode())
    except OSError as error:
        raise DiskError(
            f"The draft could not be written to {place}: {error.strerror}.", path=str(place)
        ) from error


def find_draft(place: Path) -> Kept | None:
    """A draft that was kept, None if there is none that can be read: then the files are hashed again."""
    try:
        facts = json.loads((place / "draft.json").read_bytes())
        hashes = bencode.decode((place / "hashes").read_bytes(), limit=_MAX_HASHES, what="draft")
        folder = Path(facts.pop("folder"))
    except (OSError, ValueError, KeyError, IntegrityError):
        return None
    return Kept(folder, facts, hashes) if isinstance(hashes, dict) else None


def forget_draft(place: Path) -> None:
    """Remove a draft that is finished."""
    shutil.rmtree(place, ignore_errors=True)
