"""Checks of a release that is on this machine."""

from __future__ import annotations

from collections.abc import Iterator

from weightshare.api.doctoring.checks import Asked, Check, ok, warn
from weightshare.api.launching.rehearsing import rehearse
from weightshare.content.store import Store


def checks(asked: Asked) -> Iterator[Check]:
    """Whether the release is whole.

    Raises:
        StoreError: no such release, several, or a record that is damaged.
    """
    record = Store(asked.home).find(asked.source)
    if record.complete:
        yield ok("files", f"{record.release} is whole, in {record.path}")
        yield from rehearse(asked)
    else:
        yield warn("files", f"{record.release} is not whole yet", f"weightshare fetch {record.info_hash_v2}")
