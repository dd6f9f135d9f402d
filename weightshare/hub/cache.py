"""What the Hub's cache on this machine holds of a repository, read and never written.

    models--ORG--MODEL/refs/REVISION            the commit that a branch or tag was at when it was last asked for
    models--ORG--MODEL/snapshots/COMMIT/PATH    links into blobs/
    models--ORG--MODEL/blobs/ETAG               the bytes, or (2.x) a link to blobs/XX/HASH of the whole cache
    models--ORG--MODEL/blobs/ETAG….incomplete   a download that runs, or was cut short
    models--ORG--MODEL/trees/COMMIT.json        the Hub's listing of the commit, since 2.x

Source: huggingface_hub's guide "Manage the huggingface_hub cache-system", and `_tree_cache.py` of 2.4.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from weightshare.errors import DiskError, UsageError
from weightshare.hub.listing import HubFile, Listing
from weightshare.hub.settings import HubSettings
from weightshare.manifest.text import quoted

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A commit's full name."""
_REPO = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9._+-]+(/[A-Za-z0-9._+-]+)*")
_TREE_FORMAT = 1
_MAX_TREE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository of models at a revision: a branch, a tag or a commit."""

    repo: str
    revision: str = "main"

    @classmethod
    def parse(cls, text: str) -> HubName:
        """Read `ORG/MODEL` or `ORG/MODEL@REV`.

        Raises:
            UsageError: it is neither.
        """
        repo, at, revision = text.partition("@")
        revision = revision if at else "main"
        parts = (*repo.split("/"), *revision.split("/"))
        dots = any(".." in part or "--" in part for part in repo.split("/")) or {"", ".", ".."} & set(parts)
        if not _REPO.fullmatch(repo) or not _REVISION.fullmatch(revision) or dots or len(revision) > 255:
            raise UsageError(
                f"{quoted(text)} names no repository of the Hub.",
                hint="It looks like ORG/MODEL or ORG/MODEL@REV, with a branch, a tag or a commit of 40 hex digits.",
            )
        return cls(repo, revision)

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A commit of a repository in the cache.

    Attributes:
        repo: `ORG/MODEL`.
        commit: 40 hex.
        folder: `snapshots/COMMIT`.
    """

    repo: str
    commit: str
    folder: Path

    @property
    def repository(self) -> Path:
        """The repository's folder."""
        return self.folder.parent.parent

    def present(self) -> frozenset[str]:
        """The paths that are there, `/`-separated; a link whose blob is gone is not.

        Raises:
            DiskError: the cache cannot be read.
        """
        found = set()
        try:
            for folder, _, names in os.walk(self.folder, onerror=_raise):
                for name in names:
                    place = Path(folder, name)
                    if place.is_file():
                        found.add(place.relative_to(self.folder).as_posix())
        except OSError as error:
            raise DiskError(
                f"{error.filename} cannot be read: {error.strerror}.", path=str(error.filename)
            ) from error
        return frozenset(found)


def commit_of(settings: HubSettings, name: HubName) -> str | None:
    """The commit that the cache knows a revision as; None if it has never been asked for.

    Raises:
        DiskError: the cache cannot be read.
    """
    if COMMIT.fullmatch(name.revision):
        return name.revision
    place = settings.repository(name.repo) / "refs" / name.revision
    try:
        with place.open("rb") as file:
            text = file.read(64).decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise DiskError(f"{place} cannot be read: {error.strerror}.", path=str(place)) from error
    return text if COMMIT.fullmatch(text) else None


def find(settings: HubSettings, name: HubName) -> Snapshot | None:
    """The snapshot of a revision, whole or not; None if the cache has none.

    Raises:
        DiskError: the cache cannot be read.
    """
    commit = commit_of(settings, name)
    return at_commit(settings, name.repo, commit) if commit is not None else None


def at_commit(settings: HubSettings, repo: str, commit: str) -> Snapshot | None:
    """The snapshot of a commit; None if the cache has none."""
    folder = settings.repository(repo) / "snapshots" / commit
    return Snapshot(repo, commit, folder) if folder.is_dir() else None


def commits(settings: HubSettings, repo: str) -> tuple[str, ...]:
    """The commits of which the cache has a snapshot, for messages."""
    try:
        names = [place.name for place in (settings.repository(repo) / "snapshots").iterdir()]
    except OSError:
        return ()
    return tuple(sorted(name for name in names if COMMIT.fullmatch(name)))


def unfinished(settings: HubSettings, repo: str) -> tuple[str, ...]:
    """The blobs of a repository of which only a part is there: a download that runs, or was cut short."""
    blobs = settings.repository(repo) / "blobs"
    try:
        names = [place.name for place in blobs.iterdir()]
    except OSError:
        return ()
    etags = {name.split(".")[0] for name in names if name.endswith(".incomplete")}
    return tuple(sorted(etag for etag in etags if not (blobs / etag).is_file()))


def kept_listing(snapshot: Snapshot) -> Listing | None:
    """The Hub's listing of the commit as the cache has kept it; None without one that can be read.

    It says which files belong to the commit, and proves nothing: whoever writes the cache writes it too.
    """
    try:
        with (snapshot.repository / "trees" / f"{snapshot.commit}.json").open("rb") as file:
            table = json.loads(file.read(_MAX_TREE))
        if table["format_version"] != _TREE_FORMAT:
            return None
        return {
            str(path): HubFile(int(entry["size"]), str(entry["blob_id"]), entry.get("lfs_sha256"))
            for path, entry in table["files"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _raise(error: OSError) -> None:
    raise error
