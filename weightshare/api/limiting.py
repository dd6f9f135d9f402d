"""Limits on a running session: said anywhere, changed at any time, spent budgets kept.

A governor looks twice a second at `limits.toml` and `config.toml` and at the wall clock, counts what was given, and has
the session follow. A file that cannot be read changes nothing: what held goes on to hold, and one warning is given.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from weightshare.config import Config, read_config, read_limits
from weightshare.content.home import Home
from weightshare.content.ledger import Ledger
from weightshare.errors import StoreError, UsageError
from weightshare.limits import Effective, Limits, Rules, effective
from weightshare.swarm.session import Session

T = TypeVar("T")
Warn = Callable[[str], None]

_LOOK_EVERY = 0.5
_SAVE_EVERY = 5.0
_LAST_SAVE = 3.0


def _unheard(_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Held:
    """What holds for a session just now.

    Attributes:
        limits: the limits, with what was given today.
        resting: the releases that were given as often as their ratio allows, by v2 info-hash in hex.
    """

    limits: Effective
    resting: tuple[str, ...] = ()


class Governor:
    """Has limits hold for one session.

    Args:
        home: whose limits and budgets.
        call: what the call itself says, over `config.toml`.
        changed: told what holds when anything is limited, and when that changes: other limits, or an end of uploads.
        warn: told once of a file that cannot be read or written.
        clock: the local time.

    Raises:
        UsageError: a file says something it cannot, at the start.
    """

    def __init__(
        self,
        home: Home,
        call: Limits,
        *,
        changed: Callable[[Held], None] = _unheard,
        warn: Warn = _unheard,
        clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._changed = changed
        self._warn = warn
        self._clock = clock
        self._call = call
        self._config: _Watched[Config] = _Watched(home.config, read_config)
        self._live: _Watched[Limits] = _Watched(home.limits, read_limits)
        self._ledger: Ledger | None = None
        self._home = home
        self._troubles: set[str] = set()
        self._counted: dict[str, int] = {}
        self._unkept: dict[str, int] = {}  # by day, while the ledger cannot be read
        self._due = self._save_due = 0.0
        self.held = Held(self._effective())
        self._told = Held(Effective())

    def start(self, session: Session) -> None:
        """Have the limits hold for this session from now on."""
        session.attend(lambda: self.look(session))

    def look(self, session: Session) -> None:
        """Follow what has changed, if it is time to look again."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _LOOK_EVERY
        self._poll(self._config)
        self._poll(self._live)
        self._count(session)
        if now >= self._save_due:
            self._save_due = now + _SAVE_EVERY
            self._keep()
        limits = self._effective()
        session.limit(limits)
        resting = self._spent(session, limits)
        session.rest(resting)
        self.held = Held(limits, resting)
        before, self._told = self._told, self.held
        if (before.limits.terms, before.resting) != (limits.terms, resting):
            self._changed(self.held)

    def finish(self, session: Session) -> None:
        """Count what was given to the last and write it down."""
        self._count(session)
        deadline = time.monotonic() + _LAST_SAVE
        while not self._keep() and time.monotonic() < deadline:
            time.sleep(0.02)  # another process of this home is writing

    # ---- what is said

    def _effective(self) -> Effective:
        config, now = self._config.value, self._clock()
        rules = Rules(self._live.value, self._call, config.limits, config.schedule)
        return effective(rules, self._today(now), now)

    def _poll(self, file: _Watched[T]) -> None:
        try:
            file.look()
        except UsageError as error:
            self._warn(f"{error.message} What held before goes on to hold.")

    # ---- what was given

    def _open(self) -> Ledger | None:
        if self._ledger is None:
            with self._trouble():
                self._ledger = Ledger(self._home)
        return self._ledger

    def _today(self, now: datetime) -> int:
        ledger = self._open()
        own = self._unkept.get(now.date().isoformat(), 0)
        return own + (ledger.on(now.date()) if ledger is not None else 0)

    def _count(self, session: Session) -> None:
        today = self._clock().date()
        ledger = self._open()
        for release, given in session.given().items():
            more = given.uploaded - self._counted.get(release, 0)
            if not more:
                continue
            self._counted[release] = given.uploaded
            if ledger is not None:
                ledger.add(today, release, more)
            else:
                self._unkept[today.isoformat()] = self._unkept.get(today.isoformat(), 0) + more

    def _spent(self, session: Session, limits: Effective) -> tuple[str, ...]:
        if not limits.budget.ratio:
            return ()
        ever = self._ledger.of if self._ledger is not None else lambda release: self._counted.get(release, 0)
        return tuple(
            release
            for release, given in session.given().items()
            if given.size is not None and limits.budget.spent_on(ever(release), given.size)
        )

    def _keep(self) -> bool:
        """Write what was counted, or see what others wrote; False if it must be tried again at once."""
        ledger = self._ledger
        if ledger is None:
            return True
        with self._trouble():
            if ledger.unwritten:
                return ledger.save()
            ledger.refresh()
        return True

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            if error.message not in self._troubles:
                self._troubles.add(error.message)
                self._warn(f"{error.message} {error.hint}")


@contextmanager
def governed(session: Session, governor: Governor) -> Iterator[None]:
    """While inside, the governor's limits hold for the session; afterwards what it gave is written down."""
    governor.start(session)
    try:
        yield
    finally:
        with contextlib.suppress(StoreError):
            governor.finish(session)


class _Watched(Generic[T]):
    """A file whose meaning is followed while it changes.

    Args:
        path: the file; it may be absent.
        read: makes sense of it, raising UsageError where there is none.
    """

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self._path = path
        self._read = read
        self._known = self._seen = self._look()
        self.value = read(path)

    def look(self) -> None:
        """Take up what the file says now, once it has stood still from one look to the next.

        Raises:
            UsageError: it says something it cannot; said once for each such state of the file.
        """
        now = self._look()
        before, self._seen = self._seen, now
        if now == self._known or now != before:
            return
        self._known = now
        self.value = self._read(self._path)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
