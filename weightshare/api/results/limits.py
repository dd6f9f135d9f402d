"""What `limits` shows."""

from __future__ import annotations

from dataclasses import dataclass

from weightshare.limits import DAYS, NAMES, Effective, Schedule, Window


@dataclass(frozen=True, slots=True)
class GivenRelease:
    """What was given of a release; `bytes` is its size."""

    release: str
    given: int
    bytes: int

    @property
    def ratio(self) -> float:
        """How many times its own size it was given."""
        return self.given / self.bytes if self.bytes else 0.0


@dataclass(frozen=True, slots=True)
class LimitsShown:
    """The limits of a home as they hold for a seeder or fetch that says none itself."""

    limits: Effective
    schedule: Schedule
    releases: tuple[GivenRelease, ...]

    def to_json(self) -> dict[str, object]:
        """What `limits --json` prints."""
        return limits_json(self.limits) | {
            "schedule": [
                window_json(window) | {"holds": window == self.limits.window}
                for window in self.schedule.windows
            ],
            "releases": [
                {
                    "release": entry.release,
                    "given": entry.given,
                    "bytes": entry.bytes,
                    "ratio": round(entry.ratio, 3),
                }
                for entry in self.releases
            ],
        }


def limits_json(limits: Effective) -> dict[str, object]:
    """What holds, for a program; 0 is no limit."""
    values = {
        "max_down": limits.max_down,
        "max_up": limits.max_up,
        "max_connections": limits.max_connections,
        "upload_per_day": limits.budget.per_day,
        "ratio": limits.budget.ratio,
    }
    return {
        **values,
        "sources": {name: str(limits.sources[name]) for name in NAMES if name in limits.sources},
        "given_today": limits.given_today,
        "uploads": limits.uploads,
    }


def window_json(window: Window) -> dict[str, object]:
    """A window of the schedule, for a program."""
    return {
        "from": window.begin.isoformat("minutes"),
        "to": window.end.isoformat("minutes"),
        "days": [DAYS[day] for day in sorted(window.days)],
        "max_down": window.max_down,
        "max_up": window.max_up,
    }
