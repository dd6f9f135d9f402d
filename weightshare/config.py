"""`config.toml` and `limits.toml` in the home folder: what the user wants without saying it each time.

`config.toml` is one flat table, each key a long option without its dashes, and any number of `[[schedule]]` tables with
alternative speed limits. `limits.toml` is written by `weightshare limits` and holds limits alone. An unknown key is
refused in both, since a typing error in a limit must not pass for a limit. Nothing that weakens a check may stand here.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path

from weightshare.errors import UsageError
from weightshare.limits import DAYS, Limits, Schedule, Window
from weightshare.units import parse_size

LIMITS: dict[str, tuple[type, ...]] = {
    "max-down": (str, int),
    "max-up": (str, int),
    "max-connections": (int,),
    "upload-per-day": (str, int),
    "ratio": (int, float),
}
"""The limits, and what may stand for each."""
SETTINGS: dict[str, tuple[type, ...]] = {
    "network": (str,),
    "port": (int,),
    "dht-nodes": (str,),
    **LIMITS,
    "timeout": (int, float),
    "sources": (str,),
    "key": (str,),
    "license": (str,),
}
"""What `config.toml` may set in its flat table."""
_WINDOW = ("from", "to", "days", "max-down", "max-up")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_TIMES = 'Write times as "23:00", and the end of a day as "24:00".'


@dataclass(frozen=True, slots=True)
class Config:
    """What `config.toml` says.

    Attributes:
        settings: the flat table, as it stands there.
        limits: the limits in it.
        schedule: the alternative speed limits.
    """

    settings: Mapping[str, object] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    schedule: Schedule = field(default_factory=Schedule)


def read_config(path: Path) -> Config:
    """What the file says; nothing if there is none.

    Raises:
        UsageError: it is no TOML, or says something it cannot.
    """
    table = _table(path)
    windows = table.pop("schedule", [])
    _check(path, table, SETTINGS, " and [[schedule]] tables")
    if not isinstance(windows, list) or not all(isinstance(entry, dict) for entry in windows):
        raise _refused(
            path, "sets 'schedule' to something else than tables.", "Begin each window with [[schedule]]."
        )
    schedule = Schedule(tuple(_window(path, number, entry) for number, entry in enumerate(windows, 1)))
    return Config(table, _limits(path, table), schedule)


def read_limits(path: Path) -> Limits:
    """What the file of live limits says; nothing if there is none.

    Raises:
        UsageError: it is no TOML, or says something it cannot.
    """
    try:
        table = _table(path)
        _check(path, table, LIMITS)
        return _limits(path, table)
    except UsageError as error:
        error.hint = f"{error.hint} `weightshare limits --reset` removes the file.".lstrip()
        raise


def limits_text(limits: Limits) -> str:
    """The file of live limits that says this."""
    lines = [f"{name.replace('_', '-')} = {value}" for name, value in limits.said().items()]
    head = "# Written by `weightshare limits`; `weightshare limits --reset` takes it back."
    return "\n".join([head, *lines, ""])


def _table(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}.", path=str(path)) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error


def _check(
    path: Path, table: Mapping[str, object], known: Mapping[str, tuple[type, ...]], more: str = ""
) -> None:
    for name, value in table.items():
        if name not in known:
            raise _refused(
                path, f"sets {name!r}, which is no setting.", f"It may set {', '.join(known)}{more}."
            )
        if not isinstance(value, known[name]) or isinstance(value, bool):
            kinds = " or ".join("text" if kind is str else "a number" for kind in known[name][:2])
            if kinds == "a number or a number":
                kinds = "a number"
            raise _refused(path, f"sets {name!r} to {value!r}; expected {kinds}.")


def _limits(path: Path, table: Mapping[str, object], where: str = "") -> Limits:
    found: dict[str, int | float] = {}
    for name in LIMITS:
        value = table.get(name)
        if value is None:
            continue
        try:
            if name == "ratio":
                found[name] = _not_negative(float(str(value)))
            elif name == "max-connections":
                found[name] = int(_not_negative(int(str(value))))
            else:
                found[name] = parse_size(str(value))
        except UsageError as error:
            raise _refused(path, f"sets {name!r}{where} to {value!r}; {error.message}", error.hint) from error
        except ValueError as error:
            raise _refused(
                path, f"sets {name!r}{where} to {value!r}; expected 0 for no limit, or more."
            ) from error
    return Limits(**{name.replace("-", "_"): value for name, value in found.items()})  # type: ignore[arg-type]


def _not_negative(value: float) -> float:
    if value < 0 or not math.isfinite(value):
        raise ValueError
    return value


def _window(path: Path, number: int, table: Mapping[str, object]) -> Window:
    where = f" in [[schedule]] number {number}"
    for name in table:
        if name not in _WINDOW:
            raise _refused(
                path,
                f"sets {name!r}{where}, which is no setting there.",
                f"A window has {', '.join(_WINDOW)}.",
            )
    for name in ("from", "to"):
        if name not in table:
            raise _refused(path, f"lacks {name!r}{where}.", _TIMES)
    for name in ("max-down", "max-up"):
        if not isinstance(table.get(name, 0), (str, int)) or isinstance(table.get(name), bool):
            raise _refused(path, f"sets {name!r}{where} to {table[name]!r}; expected text or a number.")
    limits = _limits(path, table, where)
    if not limits.said():
        raise _refused(path, f"limits nothing{where}.", "Give the window a max-down, a max-up, or both.")
    return Window(
        begin=_time(path, "from", table["from"], where),
        end=_time(path, "to", table["to"], where),
        days=_days(path, table.get("days", ["mon-sun"]), where),
        max_down=limits.max_down,
        max_up=limits.max_up,
    )


def _time(path: Path, name: str, value: object, where: str) -> time:
    """A time of day, as text or as TOML's local time; 24:00, where something may end, is 0:00."""
    if isinstance(value, time):
        return value
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        hour, minute = int(match[1]), int(match[2])
        if (hour, minute) == (24, 0) and name == "to":
            return time(0, 0)
        if hour < 24 and minute < 60:
            return time(hour, minute)
    raise _refused(path, f"sets {name!r}{where} to {value!r}, which is no time of day.", _TIMES)


def _days(path: Path, value: object, where: str) -> frozenset[int]:
    """Days by name and ranges of them, such as `["mon-fri", "sun"]`; a range may go over the end of the week."""
    entries = [value] if isinstance(value, str) else value
    found: set[int] = set()
    if isinstance(entries, list):
        for entry in entries:
            first, dash, last = entry.lower().partition("-") if isinstance(entry, str) else ("", "", "")
            if first not in DAYS or (dash and last not in DAYS):
                break
            begin, end = DAYS.index(first), DAYS.index(last or first)
            found.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
        else:
            if found:
                return frozenset(found)
    raise _refused(
        path,
        f"sets 'days'{where} to {value!r}; expected some of {', '.join(DAYS)}.",
        'Ranges are fine: days = ["mon-fri", "sun"]. Without days, a window holds on all of them.',
    )


def _refused(path: Path, what: str, hint: str = "") -> UsageError:
    return UsageError(f"{path} {what}", hint=hint, path=str(path))
