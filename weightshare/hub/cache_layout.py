"""One repository at one commit in the cache that huggingface_hub keeps, and everything reads.

    CACHE/models--ORG--MODEL/
      blobs/<etag>             the bytes; see `etags` for their names
      snapshots/<commit>/…     relative links to them, under the names of the files
      refs/main                the commit that `main` was when somebody asked, without a line's end
      trees/<commit>.json      the Hub's list of the commit's files
    CACHE/.locks/…             see `cache_locks`

Where links cannot be made the bytes lie in the snapshot themselves. A blob may be a link too, into a store that all
repositories of the cache share. (Hub docs, "Understand caching"; huggingface_hub 2.4.)
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from weightshare.files import write_atomically
from weightshare.hub.cache import COMMIT, Snapshot, kept_listing
from weightshare.hub.listing import HubFile, Listing

MAIN = "main"
_TAG = "CACHEDIR.TAG"
_TAG_TEXT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This file is a cache directory tag created by weightshare.\n"
    b"# For information about cache directory tags see https://bford.info/cachedir/\n"
)
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Cached:
    """A commit of a repository of models in a cache; whether or not it is there yet.

    Attributes:
        cache: the cache's folder.
        repo: `ORG/MODEL`.
        commit: 40 hex digits.
    """

    cache: Path
    repo: str
    commit: str

    @property
    def name(self) -> str:
        """The name of the repository's folder."""
        return "--".join(("models", *self.repo.split("/")))

    @property
    def folder(self) -> Path:
        """The repository's folder."""
        return self.cache / self.name

    @property
    def blobs(self) -> Path:
        """The folder of its blobs."""
        return self.folder / "blobs"

    @property
    def snapshot(self) -> Path:
        """The folder of the commit's files."""
        return self.folder / "snapshots" / self.commit

    def make(self) -> None:
        """Make what every repository of a cache has.

        Raises:
            OSError: it cannot be made.
        """
        new = not self.cache.exists()
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.snapshot.mkdir(parents=True, exist_ok=True)
        if new:  # backups skip such folders
            with suppress(OSError):
                (self.cache / _TAG).write_bytes(_TAG_TEXT)

    def links_work(self, disabled: bool = False) -> bool:
        """Whether symbolic links can be made here.

        Args:
            disabled: the user wants none (`HF_HUB_DISABLE_SYMLINKS`).
        """
        if disabled:
            return False
        trial = self.folder / f".weightshare-link-{os.getpid()}"
        try:
            trial.symlink_to("blobs")
        except OSError:
            return False
        finally:
            with suppress(OSError):
                trial.unlink()
        return True

    def link(self, path: str, blob: str) -> None:
        """Put a link to a blob under a file's name, in one step in the place of what is there.

        Raises:
            OSError: it cannot be made.
        """
        target = self.snapshot / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the snapshots: whoever lists one while we work sees links to blobs, and nothing else.
        trial = self.folder / f".weightshare-link-{os.getpid()}"
        with suppress(FileNotFoundError):
            trial.unlink()
        trial.symlink_to(os.path.relpath(self.blobs / blob, target.parent))
        trial.replace(target)

    def blob_of(self, file: Path) -> str | None:
        """The blob that a file of one of the repository's snapshots is a link to, None if it is none."""
        try:
            target = Path(os.path.normpath(file.parent / os.readlink(file)))  # noqa: PTH115
        except OSError:
            return None
        return target.name if target.parent == self.blobs and _HEX.fullmatch(target.name) else None

    def blobs_in_use(self) -> frozenset[str]:
        """The blobs that any snapshot of the repository leads to."""
        return frozenset(blob for file in self._links() if (blob := self.blob_of(file)))

    def stamp(self) -> tuple[tuple[str, int], ...]:
        """What changes when a link is made or taken away in any snapshot."""
        walk = os.walk(self.folder / "snapshots")
        return tuple((folder, Path(folder).stat().st_mtime_ns) for folder, _, _ in walk)

    def other_commits(self) -> list[Path]:
        """The snapshots of other commits."""
        with suppress(OSError):
            return [
                one for one in sorted(self.snapshot.parent.iterdir()) if one != self.snapshot and one.is_dir()
            ]
        return []

    def ref(self, name: str = MAIN) -> str | None:
        """The commit that a branch or tag leads to in this cache; None if that is not known."""
        try:
            return (self.folder / "refs" / name).read_text(encoding="ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def point(self, commit: str | None, name: str = MAIN) -> None:
        """Let a branch lead to a commit, in one step; None takes it away.

        Raises:
            OSError: it cannot be written.
        """
        place = self.folder / "refs" / name
        if commit is None:
            with suppress(FileNotFoundError):
                place.unlink()
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, commit.encode("ascii"))

    def listing(self) -> Listing:
        """The Hub's list of the commit's files, if huggingface_hub has left one that can be read; else nothing."""
        found = kept_listing(Snapshot(self.repo, self.commit, self.snapshot)) or {}
        return {path: file for path, file in found.items() if _HEX.fullmatch(etag_of(file))}

    def prune(self) -> None:
        """Remove what is empty now: folders of the snapshot, then of the repository.

        A branch that would lead to a commit which is gone goes with it: huggingface_hub takes the whole repository for
        damaged otherwise.
        """
        _prune(self.snapshot)
        if not self.snapshot.exists():
            # What huggingface_hub keeps of a commit that is not here would be all that is left of the repository.
            with suppress(OSError):
                (self.folder / "trees" / f"{self.commit}.json").unlink()
            shutil.rmtree(self.folder / ".no_exist" / self.commit, ignore_errors=True)
            for place in self._refs():
                with suppress(OSError, UnicodeDecodeError):
                    if place.read_text(encoding="ascii").strip() == self.commit:
                        place.unlink()
        _prune(self.folder)

    def _refs(self) -> Iterator[Path]:
        for folder, _, names in os.walk(self.folder / "refs"):
            yield from (Path(folder) / name for name in names)

    def _links(self) -> Iterator[Path]:
        for folder, folders, names in os.walk(self.folder / "snapshots"):
            for name in (*names, *folders):
                if (Path(folder) / name).is_symlink():
                    yield Path(folder) / name


def possible(repo: str, commit: str) -> bool:
    """Whether a repository can have a folder of its own in a cache: `--` in its name could be another's."""
    parts = repo.split("/")
    return (
        len(parts) in (1, 2)
        and all(part and "--" not in part and ".." not in part for part in parts)
        and COMMIT.fullmatch(commit) is not None
    )


def wants_no_links(env: Mapping[str, str] | None = None) -> bool:
    """Whether the user wants no symbolic links in the cache (`HF_HUB_DISABLE_SYMLINKS`)."""
    env = os.environ if env is None else env
    return env.get("HF_HUB_DISABLE_SYMLINKS", "").upper() in ("1", "ON", "YES", "TRUE")


def etag_of(file: HubFile) -> str:
    """With which ETag the Hub serves a file, and so what its blob is called."""
    return file.sha256 or file.git


def _prune(root: Path) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()
