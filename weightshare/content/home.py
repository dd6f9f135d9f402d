"""Where weightshare keeps what is its own; `store` says what lies where in it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from weightshare.errors import DiskError

_STALE = 24 * 3600


@dataclass(frozen=True, slots=True)
class Home:
    """Where weightshare keeps what is its own."""

    path: Path

    @classmethod
    def default(cls, path: Path | None = None) -> Home:
        """The folder named, else `WEIGHTSHARE_HOME`, else the platform's place for a user's data."""
        if path is None:
            named = os.environ.get("WEIGHTSHARE_HOME")
            path = Path(named) if named else user_data_path("weightshare", appauthor=False)
        return cls(path.expanduser().absolute())

    @property
    def keys(self) -> Path:
        """Folder of signing keys."""
        return self.path / "keys"

    @property
    def known_publishers(self) -> Path:
        """The pin file."""
        return self.path / "known_publishers"

    @property
    def config(self) -> Path:
        """Defaults for options."""
        return self.path / "config.toml"

    @property
    def limits(self) -> Path:
        """Limits that hold over all else, at once; see `weightshare limits`."""
        return self.path / "limits.toml"

    @property
    def models(self) -> Path:
        """Where `fetch` puts files when no folder is named."""
        return self.path / "models"

    @property
    def found(self) -> Path:
        """Folders of links to files that other programs keep."""
        return self.path / "found"

    @property
    def findings(self) -> Path:
        """What `scan` remembers of files on this disk."""
        return self.path / "found.json"

    @property
    def releases(self) -> Path:
        """Folder of records."""
        return self.path / "releases"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for what has not passed the gate; it and all in it are gone afterwards.

        Raises:
            DiskError: it cannot be made.
        """
        root = self.path / "gate"
        try:
            root.mkdir(parents=True, exist_ok=True)
            _sweep(root)
            scratch = Path(tempfile.mkdtemp(dir=root))
        except OSError as error:
            raise DiskError(
                f"{root} cannot be written: {error.strerror or error}.",
                hint="Check the disk and the folder's permissions, or name another place with --home.",
                path=str(root),
            ) from error
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            with suppress(OSError):
                root.rmdir()


def cache_dir() -> Path:
    """The platform's place for what can be made again."""
    return user_cache_path("weightshare", appauthor=False)


def _sweep(root: Path) -> None:
    """Remove what a process that was killed in the gate left behind."""
    for folder in root.iterdir():
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _STALE:
                shutil.rmtree(folder, ignore_errors=True)
