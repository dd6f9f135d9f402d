"""What was given, by day and by release, kept in the home folder so that a budget outlives whoever spends it.

All processes of a home add to one file, each what it gave since it last wrote, under a lock and in one step: a process
that is killed loses what it had not written yet, and nobody else anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from weightshare.content.home import Home
from weightshare.content.locks import exclusive
from weightshare.errors import DiskError, StoreError, StoreLockedError
from weightshare.files import write_atomically

_VERSION = 1
_DAYS = 31
"""Days that are kept: more than one, so that a clock that is set back finds what it had counted."""


class Ledger:
    """What was given from a home.

    Args:
        home: whose.

    Raises:
        StoreError: the file is damaged.
    """

    def __init__(self, home: Home) -> None:
        self._path = home.path / "given.json"
        self._days: dict[str, int] = {}
        self._releases: dict[str, int] = {}
        self._new_days: dict[str, int] = {}
        self._new_releases: dict[str, int] = {}
        self._read()

    def add(self, day: date, release: str, count: int) -> None:
        """Count bytes that were given; `save` writes them.

        Args:
            day: the local day.
            release: its v2 info-hash in hex.
            count: file bytes.
        """
        self._new_days[day.isoformat()] = self._new_days.get(day.isoformat(), 0) + count
        self._new_releases[release] = self._new_releases.get(release, 0) + count

    def on(self, day: date) -> int:
        """Bytes given on a local day, by all of this home as far as they have said so."""
        key = day.isoformat()
        return self._days.get(key, 0) + self._new_days.get(key, 0)

    def of(self, release: str) -> int:
        """Bytes ever given of a release."""
        return self._releases.get(release, 0) + self._new_releases.get(release, 0)

    def releases(self) -> dict[str, int]:
        """Bytes ever given, by release."""
        return {name: self.of(name) for name in sorted({*self._releases, *self._new_releases})}

    @property
    def unwritten(self) -> bool:
        """Whether something was counted that is not written yet."""
        return bool(self._new_releases)

    def refresh(self) -> None:
        """Look at what others have written.

        Raises:
            StoreError: the file is damaged or cannot be read.
        """
        self._read()

    def save(self) -> bool:
        """Write what was counted; False if another process is writing just now, so that it must be tried again.

        Raises:
            StoreError: the disk refused, or the file is damaged; what was counted is still counted.
        """
        if not self.unwritten:
            return True
        try:
            with exclusive(self._path.with_suffix(".lock"), "the record of what was given"):
                self._read()
                self._write()
        except StoreLockedError:
            return False
        except OSError as error:
            raise DiskError(
                f"{self._path} cannot be written: {error.strerror or error}.",
                hint="Check the disk; upload budgets are counted in memory meanwhile.",
                path=str(self._path),
            ) from error
        return True

    def _read(self) -> None:
        try:
            body = json.loads(self._path.read_bytes())
            if body["version"] != _VERSION:
                raise ValueError
            days, releases = _counts(body["days"]), _counts(body["releases"])
        except FileNotFoundError:
            days, releases = {}, {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(self._path) from error
        self._days, self._releases = days, releases

    def _write(self) -> None:
        days, releases = _sum(self._days, self._new_days), _sum(self._releases, self._new_releases)
        kept = {day: days[day] for day in sorted(days)[-_DAYS:]}
        body = {"version": _VERSION, "days": kept, "releases": releases}
        write_atomically(self._path, json.dumps(body, indent=1, sort_keys=True).encode())
        self._days, self._releases = kept, releases
        self._new_days, self._new_releases = {}, {}


def _counts(value: object) -> dict[str, int]:
    if not isinstance(value, dict) or not all(type(count) is int and count >= 0 for count in value.values()):
        raise ValueError
    return dict(value)


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {*one, *other}}


def _damaged(path: Path) -> StoreError:
    return StoreError(
        f"The record of what was given, {path}, cannot be read.",
        hint="Delete it; upload budgets and ratios begin anew then.",
        path=str(path),
    )
