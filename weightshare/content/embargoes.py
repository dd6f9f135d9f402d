"""Which releases of a home are under embargo: a file `embargo.json` in the record's folder, written before the record.

It holds for a release wherever it lies: a second record of the same info-hash is under the first one's embargo. A file
that cannot be read is an embargo with nobody on its list, so damage never opens one. A seeder that runs looks again and
again, as it does at the limits; so an embargo is lifted by removing the file, and by nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from weightshare.content.store import Record, Store
from weightshare.errors import DiskError, StoreError
from weightshare.files import write_atomically

NAME = "embargo.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Embargo:
    """A release that is not announced yet.

    Attributes:
        allow: who may have it: addresses, ranges and host names.
        opens: Unix seconds at which it ends by itself; 0 for one that is ended by hand.
    """

    allow: tuple[str, ...] = ()
    opens: int = 0

    def over(self, now: float) -> bool:
        """Whether its time has come."""
        return bool(self.opens) and now >= self.opens

    def allowing(self, more: Iterable[str]) -> Embargo:
        """The same, with more on its list."""
        return Embargo(tuple(dict.fromkeys((*self.allow, *more))), self.opens)


def embargo_of(store: Store, info_hash_v2: str, now: float) -> Embargo | None:
    """The embargo that a release is under at that time, None if it is under none.

    Of several records of it, all lists together hold, and the latest opening.

    Args:
        store: of this home.
        info_hash_v2: in hex.
        now: Unix seconds.
    """
    found = [
        embargo
        for record in _records(store, info_hash_v2)
        if (embargo := _read(store.folder(record) / NAME)) is not None and not embargo.over(now)
    ]
    if not found:
        return None
    opens = 0 if any(not embargo.opens for embargo in found) else max(embargo.opens for embargo in found)
    return Embargo(opens=opens).allowing(entry for embargo in found for entry in embargo.allow)


def impose(store: Store, record: Record, embargo: Embargo) -> None:
    """Put a release under embargo, or change the one it is under. To be called before the record is kept.

    Raises:
        DiskError: the disk refused.
    """
    folder = store.folder(record)
    body = {"version": _VERSION, "allow": list(embargo.allow), "opens": embargo.opens}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / NAME, json.dumps(body, indent=1).encode())
    except OSError as error:
        raise _refused(folder, error) from error


def change(store: Store, info_hash_v2: str, embargo: Embargo) -> None:
    """Have another embargo hold wherever the release is under one.

    Raises:
        DiskError: the disk refused.
    """
    for record in _records(store, info_hash_v2):
        if (store.folder(record) / NAME).exists():
            impose(store, record, embargo)


def lift(store: Store, info_hash_v2: str) -> None:
    """End a release's embargo, wherever it lies.

    Raises:
        DiskError: the disk refused.
    """
    for record in _records(store, info_hash_v2):
        folder = store.folder(record)
        try:
            (folder / NAME).unlink(missing_ok=True)
        except OSError as error:
            raise _refused(folder, error) from error


def _records(store: Store, info_hash_v2: str) -> list[Record]:
    return [record for record in store.records() if record.info_hash_v2 == info_hash_v2]


def _read(path: Path) -> Embargo | None:
    with suppress(FileNotFoundError):
        try:
            body = json.loads(path.read_bytes())
            if body["version"] != _VERSION:
                raise ValueError
            return Embargo(tuple(str(entry) for entry in body["allow"]), int(body["opens"]))
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError):
            return Embargo()
    return None


def _refused(folder: Path, error: OSError) -> StoreError:
    return DiskError(
        f"The embargo in {folder} cannot be written: {error.strerror or error}.",
        hint="Check the disk and the folder's permissions. A release that is seeded stays under its embargo.",
        path=str(folder),
    )
