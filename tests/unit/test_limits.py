"""Which limit holds, by whom and when: with a clock that says what it is told."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightshare.limits import NAMES, Budget, Effective, Limits, Rules, Schedule, Source, Window, effective
from weightshare.units import GIB, MIB

NOW = datetime(2026, 11, 25, 12, 0)  # a Wednesday
WED, THU = 2, 3


def at(clock: str, day: int = 25) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return datetime(2026, 11, day, hour, minute)


# ---- which of the places decides


@pytest.mark.parametrize("name", NAMES)
def test_each_place_beats_the_next(name: str) -> None:
    def says(value: int) -> Limits:
        return Limits(**{name: value})

    rules = Rules(live=says(1), call=says(2), config=says(3))
    assert effective(rules, 0, NOW).sources[name] is Source.LIVE
    assert effective(Rules(call=says(2), config=says(3)), 0, NOW).sources[name] is Source.CALL
    assert effective(Rules(config=says(3)), 0, NOW).sources[name] is Source.CONFIG
    assert effective(Rules(), 0, NOW).sources[name] is Source.DEFAULT


def test_a_window_stands_between_the_call_and_the_file() -> None:
    schedule = Schedule((Window(time(9), time(17), max_up=5),))
    config = Limits(max_up=7, max_down=9)
    held = effective(Rules(config=config, schedule=schedule), 0, NOW)
    assert (held.max_up, held.max_down) == (5, 9)
    assert held.sources["max_up"] is Source.SCHEDULE
    assert effective(Rules(call=Limits(max_up=8), config=config, schedule=schedule), 0, NOW).max_up == 8
    assert effective(Rules(live=Limits(max_up=1), call=Limits(max_up=8)), 0, NOW).max_up == 1
    assert effective(Rules(config=config, schedule=schedule), 0, at("17:00")).max_up == 7


def test_no_limit_can_be_said_over_a_limit() -> None:
    """0 is a word of its own: a window that opens the line at night, a flag that takes a cap away."""
    night = Schedule((Window(time(0), time(6), max_up=0),))
    config = Limits(max_up=MIB)
    assert effective(Rules(config=config, schedule=night), 0, at("03:00")).max_up == 0
    assert effective(Rules(call=Limits(max_up=0), config=config), 0, NOW).max_up == 0


@given(st.builds(Limits, st.none() | st.integers(0), st.none() | st.integers(0)), st.builds(Limits))
def test_over_keeps_what_is_said(mine: Limits, other: Limits) -> None:
    assert mine.over(other).said() == other.said() | mine.said()


# ---- the schedule


def test_a_window_holds_from_its_begin_up_to_its_end() -> None:
    window = Window(time(9), time(17))
    held = [clock for clock in ("08:59", "09:00", "16:59", "17:00") if window.holds(at(clock))]
    assert held == ["09:00", "16:59"]


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    window = Window(time(23), time(6), days=frozenset({WED}))
    assert window.holds(at("23:00", 25))
    assert window.holds(at("05:59", 26))
    assert not window.holds(at("06:00", 26))
    assert not window.holds(at("05:59", 25))  # that would be Tuesday's
    assert not window.holds(at("23:30", 26))


def test_a_window_over_midnight_and_the_end_of_the_week() -> None:
    window = Window(time(22), time(2), days=frozenset({6}))
    assert window.holds(at("22:00", 29))
    assert window.holds(at("01:59", 30))
    assert not window.holds(at("22:00", 30))


def test_whole_days() -> None:
    weekend = Window(time(0), time(0), days=frozenset({5, 6}))
    hours = [datetime(2026, 11, 23) + timedelta(hours=hour) for hour in range(7 * 24)]
    assert [hour for hour in hours if weekend.holds(hour)] == hours[5 * 24 :]


def test_the_first_of_two_windows_decides() -> None:
    schedule = Schedule((Window(time(9), time(17), max_up=1), Window(time(0), time(0), max_up=2)))
    assert schedule.at(at("10:00")) == schedule.windows[0]
    assert schedule.at(at("20:00")) == schedule.windows[1]


def berlin(month: int, day: int) -> datetime:
    """Noon there."""
    try:
        zone = ZoneInfo("Europe/Berlin")
    except ZoneInfoNotFoundError:
        pytest.skip("this system has no time zone data")
    return datetime(2026, month, day, 12, tzinfo=zone)


def minutes_held(window: Window, first: datetime, hours: int) -> int:
    """Real minutes for which a window holds, on a clock that keeps Berlin's time."""
    began = first.timestamp()
    clock = [datetime.fromtimestamp(began + 60 * step, first.tzinfo) for step in range(60 * hours)]
    return sum(window.holds(now) for now in clock)


def test_the_hour_that_there_is_twice_and_the_one_that_there_is_not() -> None:
    window = Window(time(2), time(3))
    assert minutes_held(window, berlin(10, 24), 24) == 120  # to standard time
    assert minutes_held(window, berlin(3, 28), 24) == 0  # to summer time
    assert minutes_held(window, berlin(6, 1), 24) == 60
    night = Window(time(23), time(6))
    assert minutes_held(night, berlin(10, 24), 24) == 8 * 60
    assert minutes_held(night, berlin(3, 28), 24) == 6 * 60


def test_a_clock_that_is_set_is_followed_either_way() -> None:
    rules = Rules(config=Limits(max_up=7), schedule=Schedule((Window(time(9), time(17), max_up=5),)))
    looks = [at("16:59"), at("17:00"), at("12:00", 20), at("18:00", 30), at("09:00")]
    assert [effective(rules, 0, now).max_up for now in looks] == [5, 7, 5, 7, 5]


# ---- the budget


def test_the_days_budget() -> None:
    rules = Rules(config=Limits(upload_per_day=GIB))
    assert effective(rules, GIB - 1, NOW).uploads
    assert not effective(rules, GIB, NOW).uploads
    assert not effective(rules, 2 * GIB, NOW).uploads
    assert effective(Rules(), 1 << 50, NOW).uploads


def test_a_budget_that_was_raised_gives_again() -> None:
    config = Limits(upload_per_day=GIB)
    assert not effective(Rules(config=config), GIB, NOW).uploads
    assert effective(Rules(live=Limits(upload_per_day=2 * GIB), config=config), GIB, NOW).uploads
    assert effective(Rules(live=Limits(upload_per_day=0), config=config), GIB, NOW).uploads


@pytest.mark.parametrize("line", [10 * MIB, 100 * MIB, 2000 * MIB])
def test_the_last_of_a_budget_is_not_overdrawn_whatever_the_line_gives(line: int) -> None:
    """A look every half second, and between two as many bytes as the pace allows, a burst of three seconds first."""
    rules, given_today, looks, saved = Rules(config=Limits(upload_per_day=GIB)), 0, 0, 3.0
    while (held := effective(rules, given_today, NOW)).uploads:
        given_today += int(min(line / 2, (0.5 + saved) * held.pace))
        looks, saved = looks + 1, 0.0
    assert GIB <= given_today <= GIB + MIB // 2
    assert looks < 2 * (GIB / line + 40)


def test_the_pace_is_never_above_the_cap() -> None:
    budget = Budget(per_day=GIB)
    assert Effective(max_up=5 * MIB, budget=budget).pace == 5 * MIB
    assert Effective(max_up=5 * MIB, budget=budget, given_today=GIB - 4 * MIB).pace == MIB
    assert Effective(max_up=1000, budget=budget, given_today=GIB - 1).pace == 1000
    assert Effective(budget=budget).pace == GIB // 4
    assert Effective(budget=Budget(per_day=1 << 40)).pace == 0
    assert Effective().pace == 0
    assert 0 < Effective(budget=budget, given_today=GIB).pace < MIB  # requests and hashes still go out


def test_ratio() -> None:
    budget = Budget(ratio=1.5)
    assert not budget.spent_on(149, 100)
    assert budget.spent_on(150, 100)
    assert not Budget().spent_on(1 << 60, 1)


def test_counting_bytes_is_no_news() -> None:
    rules = Rules(config=Limits(upload_per_day=GIB, max_up=MIB))
    assert effective(rules, 1, NOW).terms == effective(rules, 2, NOW).terms
    assert effective(rules, 1, NOW).terms != effective(rules, GIB, NOW).terms
