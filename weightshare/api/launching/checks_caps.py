"""Whether what may be uploaded lets a launch finish: at its beginning everybody waits for the first copies."""

from __future__ import annotations

from weightshare.api.doctoring.checks import Check, ok, warn
from weightshare.limits import Effective
from weightshare.units import format_duration, format_rate, format_size

_DAY = 24 * 3600.0
_COPIES = 2  # what a seeder gives at least until a swarm lives by itself


def upload_cap(size: int, limits: Effective) -> Check:
    """How long the first copies take under the limits that hold.

    Args:
        size: of the release in bytes.
        limits: as `config.toml` and `weightshare limits` have them now.
    """
    if not limits.uploads:
        return warn("upload cap", "the budget for today is used up: nothing is given until midnight", _ADVICE)
    seconds = 0.0
    terms = []
    if limits.max_up:
        seconds = size / limits.max_up
        terms.append(f"at {format_rate(limits.max_up)}")
    if limits.budget.per_day:
        seconds = max(seconds, size / limits.budget.per_day * _DAY)
        terms.append(f"with {format_size(limits.budget.per_day)} a day")
    ratio = limits.budget.ratio
    if ratio and ratio < _COPIES:
        return warn("upload cap", f"it leaves the swarm once {ratio:g} of its size was given", _ADVICE)
    if not terms:
        return ok("upload cap", "none")
    said = f"one copy takes {format_duration(seconds)} {' and '.join(terms)}"
    return warn("upload cap", said, _ADVICE) if seconds > _DAY else ok("upload cap", said)


_ADVICE = "Until others have a copy everybody waits for yours: `weightshare limits` raises it, mirrors help."
