"""What a rehearsal is about: a release that is here, its link, its torrent and its embargo, read once."""

from __future__ import annotations

import time
from dataclasses import dataclass

from weightshare.api.launching.embargo import public_magnet, quiet_magnet
from weightshare.api.offering import Located, locate
from weightshare.api.trusting import Trustee
from weightshare.content.embargoes import Embargo, embargo_of
from weightshare.content.home import Home
from weightshare.content.store import Record, Store
from weightshare.errors import StoreError
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.metainfo import Torrent, parse_torrent
from weightshare.manifest.model import Manifest


@dataclass(frozen=True, slots=True)
class Standing:
    """A release that is whole and here.

    Attributes:
        record: what the store knows of it.
        located: its verified manifest and where its files lie.
        raw: its `.torrent`.
        torrent: the same, read.
        twin: whether a plain v1 torrent was made beside it.
        magnet: the link that is posted.
        embargo: who alone may have it just now.
    """

    record: Record
    located: Located
    raw: bytes
    torrent: Torrent
    twin: bool
    magnet: Magnet
    embargo: Embargo | None

    @property
    def manifest(self) -> Manifest:
        """Its manifest; the signature holds."""
        return self.located.verified.manifest

    @property
    def link(self) -> Magnet:
        """What can be given away just now: the posted link, or under embargo that for mirrors."""
        return quiet_magnet(self.magnet, self.embargo) if self.embargo is not None else self.magnet


def standing_of(home: Home, release: str) -> Standing:
    """Read a release of the store.

    Raises:
        StoreError: it is not here, not the only one of that name, or not whole.
        TrustError, IntegrityError: it cannot be believed.
    """
    store = Store(home)
    located = locate(store, Trustee(home, ()), release)
    record = located.record
    raw = store.torrent(record) if record is not None else None
    if record is None or raw is None or not record.complete:
        raise StoreError(
            f"{release} is not a whole release of the store.",
            hint="`weightshare publish` it, or run its `fetch` again; a folder is taken in by `weightshare seed`.",
            path=str(located.folder),
        )
    return Standing(
        record=record,
        located=located,
        raw=raw,
        torrent=parse_torrent(raw),
        twin=(store.folder(record) / "twin.torrent").exists(),
        magnet=public_magnet(store, record),
        embargo=embargo_of(store, record.info_hash_v2, time.time()),
    )
