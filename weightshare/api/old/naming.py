"""Whether a name means a torrent that nobody signed."""

from __future__ import annotations

from pathlib import Path

from weightshare.content.home import Home
from weightshare.content.store import Store
from weightshare.content.unsigned_store import UnsignedRecord, UnsignedStore
from weightshare.errors import (
    AmbiguousReleaseError,
    ReleaseNotFoundError,
    UnsignedError,
)
from weightshare.manifest.model import MANIFEST_NAME


def find_unsigned(query: str, *, home: Home | None = None) -> UnsignedRecord | None:
    """The unsigned torrent that a name means, None if it means a release, or nothing here.

    Raises:
        AmbiguousReleaseError: several do, or a release does as well.
    """
    home = home or Home.default()
    found = UnsignedStore(home).find(query)
    if (
        found is None or (Path(query).expanduser() / MANIFEST_NAME).is_file()
    ):  # somebody signed what lies there
        return None
    try:
        other = Store(home).find(query)
    except ReleaseNotFoundError:
        return found
    names = [other.release, f"{found.name} (unsigned)"]
    raise AmbiguousReleaseError(
        f"{query!r} could be any of: {', '.join(names)}.",
        hint="Give the name, or the folder.",
        release=query,
        candidates=names,
    )


def refuse_unsigned(query: str, home: Home) -> None:
    """Say that a name means a torrent that nobody signed, where a release is expected.

    Raises:
        UnsignedError: it does.
    """
    found = UnsignedStore(home).find(query)
    if found is not None:
        raise UnsignedError(
            f"{found.name} in {found.path} was fetched unsigned, so nothing of it can be proven.",
            hint="weightshare loads what it can prove: ask for a manifest that adopts this torrent, and fetch it with "
            "--manifest. `weightshare verify` tells whether it is as it arrived, and `seed --unsigned` serves it.",
        )
