"""`limits`: show and change, from outside, what seeders and fetches of a home may use."""

from __future__ import annotations

from datetime import datetime

from weightshare.api.results import GivenRelease, LimitsShown
from weightshare.config import limits_text, read_config, read_limits
from weightshare.content.home import Home
from weightshare.content.ledger import Ledger
from weightshare.content.store import Store
from weightshare.errors import DiskError
from weightshare.files import write_atomically
from weightshare.limits import Limits, Rules, effective


def show_limits(*, home: Home | None = None, now: datetime | None = None) -> LimitsShown:
    """What holds now for a seeder or fetch of this home that says nothing itself, and what was given.

    Args:
        home: whose.
        now: the local time; None is now.

    Raises:
        UsageError: `config.toml` or the file of live limits says something it cannot.
        StoreError: the record of what was given is damaged.
    """
    home = home or Home.default()
    now = now or datetime.now()
    config = read_config(home.config)
    ledger = Ledger(home)
    rules = Rules(live=read_limits(home.limits), config=config.limits, schedule=config.schedule)
    given = ledger.releases()
    known = {record.info_hash: record for record in Store(home).records() if record.info_hash in given}
    return LimitsShown(
        limits=effective(rules, ledger.on(now.date()), now),
        schedule=config.schedule,
        releases=tuple(
            GivenRelease(record.release, given[release], record.bytes) for release, record in known.items()
        ),
    )


def change_limits(limits: Limits, *, reset: bool = False, home: Home | None = None) -> None:
    """Have limits hold at once for all that runs and will run in this home, over flags and `config.toml`.

    Args:
        limits: what to set; None leaves one as it was, 0 is no limit.
        reset: take back first what was set before.
        home: whose.

    Raises:
        UsageError: the file of live limits says something it cannot, and was not to be reset.
        DiskError: the disk refused.
    """
    home = home or Home.default()
    before = Limits() if reset else read_limits(home.limits)
    after = limits.over(before)
    try:
        if not after.said():
            home.limits.unlink(missing_ok=True)
            return
        home.path.mkdir(parents=True, exist_ok=True)
        write_atomically(home.limits, limits_text(after).encode())
    except OSError as error:
        raise DiskError(
            f"{home.limits} cannot be written: {error.strerror or error}.",
            hint="Check the disk and the folder's permissions, or name another place with --home.",
            path=str(home.limits),
        ) from error
