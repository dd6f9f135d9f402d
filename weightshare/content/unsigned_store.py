"""What was fetched although nobody signed it: kept apart from the releases, and never taken for one.

    HOME/unsigned/<info-hash>/
      record.json       what this module reads and writes, with the SHA-256 of each file as it arrived
      SHA256SUMS        the same for `sha256sum -c`
      plain.torrent     what names the files; of a v2 one, once it is whole
      files/            where the files go when no folder is named

The digests were taken when the files arrived. They tell a file that changed since; they do not tell who made it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from weightshare.content.home import Home
from weightshare.content.locks import exclusive
from weightshare.content.store import STAGING
from weightshare.errors import AmbiguousReleaseError, DiskError, StoreError
from weightshare.files import write_atomically

_VERSION = 1
_SHORTEST_PREFIX = 6
_TORRENT, _SUMS = "plain.torrent", "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class ArrivedFile:
    """A file as it arrived: its path in the torrent, its size in bytes, its SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class UnsignedRecord:
    """A torrent that nobody signed.

    Attributes:
        info_hash: hex; the v2 one where there is one.
        name: the torrent's.
        path: the folder that holds the files.
        bytes: size of all files.
        created: RFC 3339, UTC.
        files: as they arrived; empty until they are all here.
        trackers: where to announce.
        web_seeds: BEP 19 URLs.
    """

    info_hash: str
    name: str
    path: Path
    bytes: int
    created: str
    files: tuple[ArrivedFile, ...] = ()
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all of it has arrived. A kill may have left some of it staged, for the next fetch to put in place."""
        return bool(self.files)

    @property
    def staging(self) -> Path:
        """Where its files lie until all are here: on the same file system."""
        return self.path / STAGING / self.info_hash[:16]

    def finished(self, files: Sequence[ArrivedFile]) -> UnsignedRecord:
        """The same, with all files here."""
        return replace(self, files=tuple(files))


class UnsignedStore:
    """The torrents of one home that nobody signed."""

    def __init__(self, home: Home) -> None:
        self._root = home.path / "unsigned"

    def folder(self, info_hash: str) -> Path:
        """What is kept of a torrent."""
        return self._root / info_hash

    def files(self, info_hash: str) -> Path:
        """Where its files go when no folder is named."""
        return self.folder(info_hash) / "files"

    def records(self) -> list[UnsignedRecord]:
        """All of them, oldest first.

        Raises:
            StoreError: a record is damaged, or cannot be read.
        """
        if not self._root.is_dir():
            return []
        found = [self._read(folder) for folder in sorted(self._root.iterdir())]
        return sorted((one for one in found if one is not None), key=lambda one: (one.created, one.info_hash))

    def get(self, info_hash: str) -> UnsignedRecord | None:
        """The one of this info-hash."""
        return self._read(self.folder(info_hash))

    def find(self, query: str) -> UnsignedRecord | None:
        """The one that answers to a name, a folder or the first characters of an info-hash.

        Raises:
            AmbiguousReleaseError: several do.
        """
        records, text = self.records(), query.lower()
        place = Path(query).expanduser().absolute()
        for matches in (
            [one for one in records if one.name == query],
            [one for one in records if len(text) >= _SHORTEST_PREFIX and one.info_hash.startswith(text)],
            [one for one in records if one.path in (place, place.resolve())],
        ):
            if len(matches) > 1:
                names = [f"{one.name} ({one.info_hash[:12]})" for one in matches]
                raise AmbiguousReleaseError(
                    f"{query!r} could be any of: {', '.join(names)}.",
                    hint="Give the first characters of the info-hash.",
                    release=query,
                    candidates=names,
                )
            if matches:
                return matches[0]
        return None

    def torrent(self, record: UnsignedRecord) -> bytes | None:
        """Its `.torrent`, None if it is not known yet; of a v2 one, while it is not whole."""
        path = self.folder(record.info_hash) / _TORRENT
        return path.read_bytes() if path.exists() else None

    def keep(self, record: UnsignedRecord, *, torrent: bytes | None = None) -> None:
        """Write a record, its list of digests, and its `.torrent` if given.

        Raises:
            DiskError: the disk refused.
        """
        folder = self.folder(record.info_hash)
        body = {"version": _VERSION, **asdict(record), "path": str(record.path)}
        sums = "".join(f"{file.sha256}  {file.path}\n" for file in record.files)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if torrent is not None:
                write_atomically(folder / _TORRENT, torrent)
            if record.files:
                write_atomically(folder / _SUMS, sums.encode())
            write_atomically(folder / "record.json", json.dumps(body, indent=1, sort_keys=True).encode())
        except OSError as error:
            raise DiskError(
                f"{folder} cannot be written: {error.strerror or error}.",
                hint="Check the disk, or name another place with --home.",
                path=str(folder),
            ) from error

    def forget(self, record: UnsignedRecord) -> None:
        """Remove what is kept of it; files in a folder of the user's are not touched."""
        shutil.rmtree(self.folder(record.info_hash), ignore_errors=True)

    def lock(self, info_hash: str) -> AbstractContextManager[None]:
        """Hold a torrent for one process.

        Raises:
            StoreLockedError: another process holds it.
        """
        return exclusive(self._root / f"{info_hash}.lock", f"The unsigned torrent {info_hash[:12]}")

    def _read(self, folder: Path) -> UnsignedRecord | None:
        path = folder / "record.json"
        try:
            body = json.loads(path.read_bytes())
            if body.pop("version") != _VERSION:
                raise ValueError
            return UnsignedRecord(
                **{
                    **body,
                    "path": Path(body["path"]),
                    "files": tuple(ArrivedFile(**file) for file in body["files"]),
                    "trackers": tuple(body["trackers"]),
                    "web_seeds": tuple(body["web_seeds"]),
                }
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"The record {path} is damaged.",
                hint="Delete that folder and fetch it again.",
                path=str(path),
            ) from error
