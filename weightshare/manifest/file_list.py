"""The files that a statement lists, twice: in the predicate with all that is known of them, and as in-toto's subject.

There may be 10,000 of them, so this is where reading a manifest spends its time.
"""

from __future__ import annotations

import re

from weightshare.manifest.fields import Fields, field_error
from weightshare.manifest.model import MANIFEST_NAME, FileEntry
from weightshare.manifest.paths import check_paths
from weightshare.manifest.text import quoted
from weightshare.units import MAX_FILES, MAX_JSON_INTEGER

_MEDIA_TYPE = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.ASCII | re.IGNORECASE
)


def read_files(root: Fields, predicate: Fields) -> tuple[FileEntry, ...]:
    """The files of a statement, in their order.

    Raises:
        ManifestError: an entry breaks the format, they are not sorted, or the two lists differ.
        UnsafePathError: a path that no release may hold.
    """
    files = tuple(_file(entry) for entry in predicate.each("files", MAX_FILES))
    _check(files, root)
    return files


def _file(entry: Fields) -> FileEntry:
    size = entry.integer("size")
    if (size > 0) != entry.has("piecesRoot"):
        raise field_error(entry.at("piecesRoot"), "every file has one but an empty one")
    return FileEntry(
        path=entry.raw_text("path"),
        size=size,
        sha256=entry.digest("sha256"),
        pieces_root=entry.digest("piecesRoot") if size else None,
        media_type=entry.matching("mediaType", _MEDIA_TYPE, "a media type", "application/octet-stream"),
    )


def _check(files: tuple[FileEntry, ...], root: Fields) -> None:
    if not files:
        raise field_error("predicate.files", "it lists no file")
    # The manifest's own name is taken: it lies beside the files and cannot list itself.
    check_paths([*(entry.path for entry in files), MANIFEST_NAME])
    keys = [entry.path.encode() for entry in files]
    if keys != sorted(keys):
        raise field_error("predicate.files", "they are not sorted by the UTF-8 bytes of their paths")
    if sum(entry.size for entry in files) > MAX_JSON_INTEGER:
        raise field_error("predicate.files", "the sizes add up past 2^53-1")
    subject = root.items("subject", MAX_FILES)
    if len(subject) != len(files):
        raise field_error("subject", f"{len(subject)} entries for {len(files)} files")
    for index, entry in enumerate(files):
        if not _names(subject[index], entry):
            named = Fields(subject[index], "subject", index)
            named.raw_text("name")
            named.child("digest").digest("sha256")
            raise field_error(
                named.where, f"it differs from `predicate.files`, which has {quoted(entry.path)}"
            )


def _names(item: object, entry: FileEntry) -> bool:
    """Whether an entry of `subject` has the name and digest of a file."""
    if not isinstance(item, dict) or item.get("name") != entry.path:
        return False
    digest = item.get("digest")
    return isinstance(digest, dict) and digest.get("sha256") == entry.sha256.hex()
