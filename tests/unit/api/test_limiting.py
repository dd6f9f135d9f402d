"""A governor over a real session: it follows files and the clock, and keeps what was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.integration.waiting import until
from weightshare.api.limiting import Governor, Held
from weightshare.api.limits import change_limits, show_limits
from weightshare.content.home import Home
from weightshare.content.ledger import Ledger
from weightshare.errors import UsageError
from weightshare.limits import Limits
from weightshare.swarm.networks import Network
from weightshare.swarm.session import Session
from weightshare.units import GIB, MIB

EVENING = datetime(2026, 11, 25, 23, 59, 50)
NIGHT = datetime(2026, 11, 26, 0, 0, 10)


class Watched:
    """A governor with all it has to say, and a clock that says what it is told."""

    def __init__(self, home: Home, session: Session, call: Limits) -> None:
        self.now = EVENING
        self.warnings: list[str] = []
        self.changes: list[Held] = []
        self.session = session
        self.governor = Governor(
            home, call, changed=self.changes.append, warn=self.warnings.append, clock=lambda: self.now
        )

    def until(self, what: Callable[[], object]) -> None:
        """Let it look until something is seen."""

        def look() -> object:
            self.governor.look(self.session)
            return what()

        until(look, "the governor to follow", within=5)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(network=Network.LOCAL) as session:
        yield session


def test_the_budget_is_of_the_day_and_no_clock_gives_it_twice(home: Home, session: Session) -> None:
    spent = Ledger(home)
    spent.add(EVENING.date(), "aa", GIB)
    spent.save()
    watched = Watched(home, session, Limits(upload_per_day=GIB))
    watched.until(lambda: not session.limits.uploads)
    watched.now = NIGHT
    watched.until(lambda: session.limits.uploads)
    watched.now = EVENING  # the clock was wrong, and is set back
    watched.until(lambda: not session.limits.uploads)
    assert [held.limits.uploads for held in watched.changes] == [False, True, False]


def test_what_others_of_this_home_give_counts(home: Home, session: Session) -> None:
    watched = Watched(home, session, Limits(upload_per_day=GIB))
    watched.until(lambda: session.limits.uploads)
    other = Ledger(home)
    other.add(EVENING.date(), "aa", GIB)
    other.save()
    watched.governor._save_due = 0
    watched.until(lambda: not session.limits.uploads)


def test_live_limits_come_and_go(home: Home, session: Session) -> None:
    watched = Watched(home, session, Limits(max_up=5 * MIB))
    watched.until(lambda: session.limits.max_up == 5 * MIB)
    change_limits(Limits(max_up=MIB), home=home)
    watched.until(lambda: session.limits.max_up == MIB)
    change_limits(Limits(max_down=2 * MIB), home=home)
    watched.until(lambda: (session.limits.max_up, session.limits.max_down) == (MIB, 2 * MIB))
    change_limits(Limits(), reset=True, home=home)
    watched.until(lambda: (session.limits.max_up, session.limits.max_down) == (5 * MIB, 0))
    assert not watched.warnings


def test_a_bad_file_is_said_once_and_changes_nothing(home: Home, session: Session) -> None:
    change_limits(Limits(max_up=MIB), home=home)
    watched = Watched(home, session, Limits())
    home.limits.write_text("max-up = fast")
    watched.until(lambda: watched.warnings)
    looks = iter(range(4))
    watched.until(lambda: next(looks) == 3 or None)
    assert len(watched.warnings) == 1
    assert "limits.toml" in watched.warnings[0]
    assert session.limits.max_up == MIB
    home.limits.write_text("max-up = 2048")
    watched.until(lambda: session.limits.max_up == 2048)


def test_a_bad_file_at_the_start_is_refused(home: Home) -> None:
    home.limits.write_text("max-up = fast")
    with pytest.raises(UsageError, match=r"limits\.toml"):
        Governor(home, Limits())
    change_limits(Limits(), reset=True, home=home)
    assert Governor(home, Limits()).held.limits.max_up == 0


def test_a_damaged_record_warns_and_budgets_are_counted_all_the_same(home: Home, session: Session) -> None:
    (home.path / "given.json").write_text("{")
    watched = Watched(home, session, Limits(upload_per_day=GIB))
    watched.until(lambda: session.limits.budget.per_day)
    assert len(watched.warnings) == 1
    assert "given.json" in watched.warnings[0]


def test_a_schedule_is_followed_by_the_clock(home: Home, session: Session) -> None:
    home.config.write_text('max-up = "1M"\n[[schedule]]\nfrom = "00:00"\nto = "06:00"\nmax-up = 0\n')
    watched = Watched(home, session, Limits())
    watched.until(lambda: session.limits.max_up == MIB)
    watched.now = NIGHT
    watched.until(lambda: session.limits.max_up == 0)
    assert show_limits(home=home, now=NIGHT).limits.window is not None
    assert show_limits(home=home, now=EVENING).limits.window is None


def test_the_engine_follows(session: Session) -> None:
    engine = session._session
    before: dict[str, object] = dict(engine.get_settings())
    governor = Governor(Home(Path("nowhere")), Limits(MIB, 2 * MIB, 7))
    session.limit(governor.held.limits)
    now: dict[str, object] = dict(engine.get_settings())
    assert (now["download_rate_limit"], now["upload_rate_limit"]) == (MIB, 2 * MIB)
    assert (now["connections_limit"], now["connections_slack"]) == (7, 0)
    session.limit(Governor(Home(Path("nowhere")), Limits(1 << 40)).held.limits)
    now = dict(engine.get_settings())
    assert (now["download_rate_limit"], now["upload_rate_limit"]) == (2**31 - 1, 0)
    names = ("connections_limit", "connections_slack", "unchoke_slots_limit")
    assert [now[name] for name in names] == [before[name] for name in names]
