r"""Holding the bytes of a snapshot against what the Hub says of its commit.

A large file is known by its SHA-256 (Git LFS), which publishing computes anyway. A small one is known by its git blob
id, SHA-1 over `blob SIZE\0` and the bytes (Pro Git, 10.2), so it is read once more; both digests are taken of that one
reading, so that it is the file that was hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from weightshare.errors import CheckpointError, DiskError, HubMismatchError
from weightshare.hub.listing import HubFile, Listing
from weightshare.manifest.text import quoted

_CHUNK = 1 << 20
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Held:
    """A file that was hashed.

    Attributes:
        path: in the snapshot.
        location: where its bytes lie.
        size: bytes.
        sha256: of its bytes, raw.
    """

    path: str
    location: Path
    size: int
    sha256: bytes


def refuse_sizes(listing: Listing, sizes: Iterable[tuple[str, int]], *, repo: str, commit: str) -> None:
    """Refuse files that cannot be the Hub's by name or size, before any is read.

    Raises:
        HubMismatchError: naming them.
    """
    bad = {}
    for path, size in sizes:
        known = listing.get(path)
        if known is None:
            bad[path] = "is not in the repository"
        elif known.size != size:
            bad[path] = f"has {size} bytes, expected {known.size}"
    _refuse(bad, repo, commit)


def refuse_bytes(listing: Listing, files: Iterable[Held], *, repo: str, commit: str) -> int:
    """Refuse files whose bytes are not the Hub's; returns how many were compared.

    Raises:
        HubMismatchError: naming them.
        CheckpointError: a file changed after it was hashed.
        DiskError: one cannot be read.
    """
    bad, count = {}, 0
    for file in files:
        known = listing.get(file.path)
        reason = "is not in the repository" if known is None else _difference(known, file)
        if reason:
            bad[file.path] = reason
        count += 1
    _refuse(bad, repo, commit)
    return count


def git_blob_id(data: bytes) -> str:
    """The id that git gives to a file of these bytes, hex."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 - git's own


def _difference(known: HubFile, file: Held) -> str | None:
    if known.size != file.size:
        return f"has {file.size} bytes, expected {known.size}"
    if known.sha256 is not None:
        found, expected, kind = file.sha256.hex(), known.sha256, "SHA-256"
    else:
        found, expected, kind = _read_git_id(file), known.git, "git blob id"
    return f"has {kind} {found}, expected {expected}" if found != expected else None


def _read_git_id(file: Held) -> str:
    git = hashlib.sha1(b"blob %d\0" % file.size)  # noqa: S324 - git's own
    whole = hashlib.sha256()
    try:
        with file.location.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                git.update(chunk)
                whole.update(chunk)
    except OSError as error:
        raise DiskError(f"{file.path} cannot be read: {error.strerror}.", path=file.path) from error
    if whole.digest() != file.sha256:
        raise CheckpointError(
            f"Changed while it was being hashed: {file.path}.",
            hint="Publish again once nothing writes to the cache.",
            paths=[file.path],
        )
    return git.hexdigest()


def _refuse(bad: dict[str, str], repo: str, commit: str) -> None:
    if not bad:
        return
    shown = [f"{quoted(path)} {reason}" for path, reason in sorted(bad.items())[:_SHOWN]]
    more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    raise HubMismatchError(
        f"The cache does not hold what the Hub has of {repo} at commit {commit}: {'; '.join(shown)}{more}. "
        "Nothing was published.",
        hint=f"Something wrote into the cache. Bring the files anew: hf download {repo} --revision {commit} "
        "--force-download",
        paths=sorted(bad),
        repo=repo,
        revision=commit,
    )
