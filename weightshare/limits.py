"""Limits on what seeders and fetches may use, what stands behind each, and when: pure, with the wall clock passed in.

A limit may be said in five places. The first that says something holds:

    `weightshare limits`  >  flag or environment  >  the schedule's window  >  config.toml  >  the default, none

The schedule is a part of `config.toml`: while a window holds, its speeds stand in place of the file's. It and the
day's budget go by the local wall clock, so they follow daylight saving time and a clock that was set; nothing here
waits, and nothing is remembered between two looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, time
from enum import StrEnum
from types import MappingProxyType

from weightshare.units import GIB, KIB

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LANDING = 4 * GIB
_SLOWEST_LANDING = 512 * KIB
_LANDING_TIME = 4  # seconds; libtorrent gives a line that was idle up to three seconds of its rate at once


@dataclass(frozen=True, slots=True)
class Limits:
    """What one place says: None where it says nothing, 0 for no limit.

    Attributes:
        max_down: bytes a second that come in.
        max_up: bytes a second that go out.
        max_connections: connections to peers at a time.
        upload_per_day: file bytes that may be given in a day, from midnight to midnight.
        ratio: how many times its own size a release may be given.
    """

    max_down: int | None = None
    max_up: int | None = None
    max_connections: int | None = None
    upload_per_day: int | None = None
    ratio: float | None = None

    def over(self, other: Limits) -> Limits:
        """These, and where they say nothing the others."""
        mine, theirs = self.said(), other.said()
        return Limits(**(theirs | mine))  # type: ignore[arg-type]

    def said(self) -> dict[str, int | float]:
        """What is said, by name."""
        return {name: value for name in NAMES if (value := getattr(self, name)) is not None}


NAMES = tuple(entry.name for entry in fields(Limits))


@dataclass(frozen=True, slots=True)
class Window:
    """Alternative speed limits for some hours of some days.

    Attributes:
        begin: when it begins, local time.
        end: when it ends; not after `begin` means on the next day, and 0:00 is the end of a day.
        days: the weekdays on which it begins, Monday is 0.
        max_down: bytes a second that come in, None for what holds otherwise, 0 for no limit.
        max_up: likewise, for what goes out.
    """

    begin: time
    end: time
    days: frozenset[int] = frozenset(range(7))
    max_down: int | None = None
    max_up: int | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it holds at this local time."""
        clock, today = now.time(), now.weekday()
        if self.begin < self.end:
            return today in self.days and self.begin <= clock < self.end
        if clock >= self.begin:
            return today in self.days
        return clock < self.end and (today - 1) % 7 in self.days

    @property
    def limits(self) -> Limits:
        """What it says."""
        return Limits(max_down=self.max_down, max_up=self.max_up)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Windows of alternative speed limits; where two hold at once, the first decides."""

    windows: tuple[Window, ...] = ()

    def at(self, now: datetime) -> Window | None:
        """The window that holds at this local time."""
        return next((window for window in self.windows if window.holds(now)), None)


@dataclass(frozen=True, slots=True)
class Rules:
    """All that is said about limits: by `weightshare limits`, by the call itself, and by `config.toml`."""

    live: Limits = field(default_factory=Limits)
    call: Limits = field(default_factory=Limits)
    config: Limits = field(default_factory=Limits)
    schedule: Schedule = field(default_factory=Schedule)


class Source(StrEnum):
    """Where a limit was said."""

    LIVE = "limits"
    CALL = "flag"
    SCHEDULE = "schedule"
    CONFIG = "config"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be given; 0 is no limit.

    Attributes:
        per_day: file bytes a day.
        ratio: times its own size that a release may be given.
    """

    per_day: int = 0
    ratio: float = 0.0

    def left(self, today: int) -> int | None:
        """Bytes that may still be given today, None for any number."""
        return max(0, self.per_day - today) if self.per_day else None

    def spent_on(self, given: int, size: int) -> bool:
        """Whether a release of this size was given as often as it may."""
        return bool(self.ratio) and given >= self.ratio * size


@dataclass(frozen=True, slots=True)
class Effective:
    """What holds at a moment; 0 is no limit.

    Attributes:
        max_down: bytes a second that come in.
        max_up: bytes a second that go out.
        max_connections: connections to peers at a time.
        budget: how much may be given.
        given_today: file bytes given today.
        window: the window of the schedule that holds, whether or not it decides.
        sources: where each limit was said, by name.
    """

    max_down: int = 0
    max_up: int = 0
    max_connections: int = 0
    budget: Budget = field(default_factory=Budget)
    given_today: int = 0
    window: Window | None = None
    sources: Mapping[str, Source] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def uploads(self) -> bool:
        """Whether anything may be given now."""
        return self.budget.left(self.given_today) != 0

    @property
    def pace(self) -> int:
        """Bytes a second that may go out just now: `max_up`, and slower and slower towards the end of a day's budget.

        Whoever looks every second then cannot overdraw the budget by more than a trickle, however fast the line is. It
        stays slow at the end, as the engine takes a second to choke everybody.
        """
        left = self.budget.left(self.given_today)
        if left is None or left > _LANDING:
            return self.max_up
        landing = max(left // _LANDING_TIME, _SLOWEST_LANDING)
        return min(self.max_up, landing) if self.max_up else landing

    @property
    def terms(self) -> tuple[object, ...]:
        """What a person is told of when it changes: all but the count of bytes."""
        return (self.max_down, self.max_up, self.max_connections, self.budget, self.uploads, self.window)


def effective(rules: Rules, given_today: int, now: datetime) -> Effective:
    """What holds now.

    Args:
        rules: all that is said.
        given_today: file bytes given since midnight.
        now: the local time.
    """
    window = rules.schedule.at(now)
    places = (
        (Source.LIVE, rules.live),
        (Source.CALL, rules.call),
        (Source.SCHEDULE, window.limits if window else Limits()),
        (Source.CONFIG, rules.config),
    )
    values: dict[str, int | float] = {}
    sources: dict[str, Source] = {}
    for source, limits in places:
        for name, value in limits.said().items():
            if name not in values:
                values[name], sources[name] = value, source
    return Effective(
        max_down=int(values.get("max_down", 0)),
        max_up=int(values.get("max_up", 0)),
        max_connections=int(values.get("max_connections", 0)),
        budget=Budget(int(values.get("upload_per_day", 0)), float(values.get("ratio", 0.0))),
        given_today=given_today,
        window=window,
        sources=MappingProxyType({name: sources.get(name, Source.DEFAULT) for name in NAMES}),
    )
