"""The local library of releases: where things are kept, and a record for each release.

    HOME/
      keys/                 signing keys, OpenSSH format
      known_publishers      whom this user trusts
      config.toml           defaults for options
      limits.toml           what `limits` set, over all else
      given.json            what was given, by day and by release
      gate/                 manifests that have not passed the gate; empty otherwise
      models/ORG/MODEL/V/   where `fetch` puts files when no folder is named
      found/ORG/MODEL/V/    links to files of other programs that are served from where they lie, see `scan`
      found.json            which files `scan` has hashed
      releases/<id>/        one folder a release and place:
        record.json           what this module reads and writes
        weightshare.json      the signed manifest, as it came
        release.torrent       with piece layers, once the release is whole
        adopted.torrent       instead of it, where the manifest adopts a v1 torrent
        receipts.json         which file was proven when
        layers                piece hashes, until they are in release.torrent
        hub-cache             of one that `fetch` put into a Hub cache: what is ours there
        resume, running       state of a fetch under way

A release that lies in two places has two records. Records are claims about the disk, not proof: bytes count only with a
receipt that still matches, or after they were hashed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from weightshare.content.home import Home
from weightshare.content.locks import exclusive
from weightshare.content.walk import hub_blobs
from weightshare.errors import AmbiguousReleaseError, DiskError, ReleaseNotFoundError, StoreError
from weightshare.files import write_atomically
from weightshare.manifest.model import MANIFEST_NAME

Kind = Literal["published", "fetched"]

STAGING = ".weightshare-staging"
_RECORD_VERSION = 1
_SHORTEST_PREFIX = 6


@dataclass(frozen=True, slots=True)
class Record:
    """A release at a place.

    Attributes:
        info_hash_v2: hex; empty for an adopted v1 torrent.
        info_hash_v1: hex, None for v2-only.
        release: `ORG/MODEL@VERSION`.
        publisher: fingerprint of the signer.
        kind: `published` files belong to the user and are never deleted; `fetched` ones are ours.
        path: the folder that holds the files.
        bytes: size of the files, the manifest not counted.
        complete: every file is there, proven.
        selected: the paths that were asked for, None for all.
        trackers: where to announce.
        web_seeds: BEP 19 URLs.
        created: RFC 3339, UTC.
    """

    info_hash_v2: str
    info_hash_v1: str | None
    release: str
    publisher: str
    kind: Kind
    path: Path
    bytes: int
    complete: bool
    created: str
    selected: tuple[str, ...] | None = None
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()

    @property
    def info_hash(self) -> str:
        """What names the release, in hex; with `path` it makes the record's id."""
        return self.info_hash_v2 or self.info_hash_v1 or ""

    @property
    def adopted(self) -> bool:
        """Whether its torrent is a v1 one that its manifest lies beside, and not in."""
        return not self.info_hash_v2

    @property
    def id(self) -> str:
        """Names the record's folder."""
        place = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:8]
        return f"{self.info_hash[:40]}-{place}"

    @property
    def staging(self) -> Path:
        """Where its files lie until they are proven: on the same file system.

        Not in a snapshot of a Hub cache, whose readers list it: beside the snapshots, in the repository's folder.
        """
        blobs = hub_blobs(self.path)
        return (blobs.parent if blobs else self.path) / STAGING / self.info_hash[:16]

    def finished(self) -> Record:
        """The same, complete."""
        return replace(self, complete=True, selected=None)

    def selecting(self, paths: tuple[str, ...]) -> Record:
        """The same, with just these files."""
        return replace(self, complete=False, selected=paths)


class Store:
    """The records of one home."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def records(self) -> list[Record]:
        """All records, oldest first. A record that cannot be read is an error, not a gap.

        Raises:
            StoreError: a record is damaged.
        """
        found = list(self._read_all())
        return sorted(found, key=lambda record: (record.created, record.id))

    def of_hash(self, info_hash: str) -> list[Record]:
        """All records of a release, by the info-hash that names it."""
        return [record for record in self.records() if record.info_hash == info_hash]

    def at(self, path: Path) -> list[Record]:
        """All records of releases that lie in a folder."""
        place = path.absolute()
        return [record for record in self.records() if record.path in (place, place.resolve())]

    def find(self, query: str) -> Record:
        """The one record that answers to a name.

        Args:
            query: `ORG/MODEL@VERSION`, `ORG/MODEL`, `MODEL`, a folder, or the first characters of an info-hash.

        Raises:
            ReleaseNotFoundError: none does.
            AmbiguousReleaseError: several releases do.
        """
        records = self.records()
        for matches in (
            [r for r in records if query == r.release],
            [r for r in records if query == r.release.partition("@")[0]],
            [r for r in records if query == r.release.partition("@")[0].rpartition("/")[2]],
            [r for r in records if _is_prefix(query, r)],
            [r for r in records if r.path in (Path(query).absolute(), Path(query).resolve())],
        ):
            if matches:
                return _only(query, matches)
        known = ", ".join(sorted({record.release for record in records}))
        raise ReleaseNotFoundError(
            f"No release {query!r} here.",
            hint=f"Known are: {known}." if known else "The store is empty; `weightshare fetch` fills it.",
            release=query,
        )

    def folder(self, record: Record) -> Path:
        """The record's own folder."""
        return self.home.releases / record.id

    def cached(self, record: Record) -> Path | None:
        """The notes on a release that `fetch` put into a Hub cache; None for any other."""
        notes = self.folder(record) / "hub-cache"
        return notes if record.kind == "fetched" and notes.exists() else None

    def shares(self, record: Record) -> bool:
        """Whether a release's files may be one with those of another: all are ours, and nobody edits them there."""
        return self.home.models in record.path.parents or self.cached(record) is not None

    def envelope(self, record: Record) -> bytes:
        """The signed manifest, as stored.

        Raises:
            StoreError: it is gone.
        """
        return self._read(record, MANIFEST_NAME)

    def torrent(self, record: Record) -> bytes | None:
        """The `.torrent` with piece layers, None while the release is not whole."""
        path = self.folder(record) / "release.torrent"
        return path.read_bytes() if path.exists() else None

    def keep(self, record: Record, *, envelope: bytes | None = None, torrent: bytes | None = None) -> None:
        """Write a record, and with it the manifest and torrent if given.

        Raises:
            DiskError: the disk refused.
        """
        folder = self.folder(record)
        body = {"version": _RECORD_VERSION, **asdict(record), "path": str(record.path)}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if envelope is not None:
                write_atomically(folder / MANIFEST_NAME, envelope)
            if torrent is not None:
                write_atomically(folder / "release.torrent", torrent)
            write_atomically(folder / "record.json", json.dumps(body, indent=1, sort_keys=True).encode())
        except OSError as error:
            raise DiskError(
                f"The store at {self.home.path} cannot be written: {error.strerror or error}.",
                hint="Check the disk, or name another place with --home.",
                path=str(folder),
            ) from error

    def forget(self, record: Record) -> None:
        """Remove a record and its state; the release's own files are not touched."""
        shutil.rmtree(self.folder(record), ignore_errors=True)

    def lock(self, record: Record) -> AbstractContextManager[None]:
        """Hold the record for one process.

        Raises:
            StoreLockedError: another process holds it.
        """
        return exclusive(self.home.releases / f"{record.id}.lock", f"{record.release} in {record.path}")

    def seeding_lock(self, record: Record) -> AbstractContextManager[None]:
        """Say that a process serves the record.

        Raises:
            StoreLockedError: another one does.
        """
        return exclusive(
            self.home.releases / f"{record.id}.seeding", f"{record.release} (it is being served)"
        )

    def _read(self, record: Record, name: str) -> bytes:
        try:
            return (self.folder(record) / name).read_bytes()
        except OSError as error:
            raise StoreError(
                f"The store lacks {name} of {record.release}: {error.strerror or error}.",
                hint=f"Fetch the release again, or forget it with `weightshare rm {record.release}`.",
                path=str(self.folder(record) / name),
            ) from error

    def _read_all(self) -> Iterator[Record]:
        try:
            folders = sorted(self.home.releases.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise DiskError(
                f"The store at {self.home.releases} cannot be read: {error.strerror or error}.",
                hint="Check the folder's permissions, or name another place with --home.",
                path=str(self.home.releases),
            ) from error
        for folder in folders:
            path = folder / "record.json"
            try:
                body = json.loads(path.read_bytes())
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:
                raise _damaged(path) from error
            yield _parse(path, body)


def _parse(path: Path, body: object) -> Record:
    try:
        if not isinstance(body, dict) or body.pop("version") != _RECORD_VERSION:
            raise ValueError
        selected = body.pop("selected")
        return Record(
            **{
                **body,
                "path": Path(body["path"]),
                "selected": None if selected is None else tuple(selected),
                "trackers": tuple(body["trackers"]),
                "web_seeds": tuple(body["web_seeds"]),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> StoreError:
    return StoreError(
        f"The record {path} is damaged.",
        hint="Delete that folder and fetch or publish the release again; files already there are re-used.",
        path=str(path),
    )


def _is_prefix(query: str, record: Record) -> bool:
    text = query.lower()
    hashes = [record.info_hash_v2, record.info_hash_v1 or ""]
    return len(text) >= _SHORTEST_PREFIX and any(known.startswith(text) for known in hashes)


def _only(query: str, matches: list[Record]) -> Record:
    """The newest of several records of one release; several releases are an error."""
    if len({record.info_hash for record in matches}) > 1:
        names = sorted(f"{record.release} ({record.info_hash[:12]})" for record in matches)
        raise AmbiguousReleaseError(
            f"{query!r} could be any of: {', '.join(names)}.",
            hint="Name the version, or the first characters of the info-hash.",
            release=query,
            candidates=names,
        )
    complete = [record for record in matches if record.complete]
    return (complete or matches)[-1]
