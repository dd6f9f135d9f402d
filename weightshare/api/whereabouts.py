"""Where a release is that is to be fetched, or where it goes: the folder named, the Hub's cache, or the store."""

from __future__ import annotations

from weightshare.api.gating import Passed, Wish
from weightshare.api.records import default_folder, new_record
from weightshare.api.sources import Target
from weightshare.content.store import Record, Store
from weightshare.hub.cache_layout import Cached


class Places:
    """The places of one release.

    Args:
        store: what is here already.
        wish: what the user asked for.
        target: what the source names.

    Attributes:
        cached: where in the Hub's cache it goes, once `new` has decided for it.
    """

    def __init__(self, store: Store, wish: Wish, target: Target) -> None:
        self._store = store
        self._wish = wish
        self._target = target
        self.cached: Cached | None = None

    def earlier(self) -> Record | None:
        """What an earlier run began or finished: in the folder named, or anywhere if none was."""
        records = [
            record
            for record in self._store.of_hash(self._target.v2_hash.hex())
            if (
                self._wish.hub_cache.fits(self._store, record)
                if self._wish.directory is None
                else record.kind == "fetched" and record.path == self._wish.directory
            )
        ]
        complete = [record for record in records if record.complete]
        best = complete or records
        return best[-1] if best else None

    def elsewhere(self) -> Record | None:
        """The whole release at another place than the one asked for: what the gate needs of it need not come again."""
        records = self._store.of_hash(self._target.v2_hash.hex()) if self._wish.directory is None else []
        return next((record for record in records if record.complete), None)

    def new(self, passed: Passed) -> Record:
        """The record of a release that is not here yet, at the place where it goes."""
        verified = passed.decision.verified
        place = self._wish.directory
        if place is None:
            self.cached = self._wish.hub_cache.place(self._store, verified)
            place = self.cached.snapshot if self.cached is not None else None
        if place is None:
            place = default_folder(self._store, verified.manifest, passed.info.v2_hash.hex())
        return new_record(
            verified.manifest,
            verified.fingerprint,
            place,
            passed.info,
            "fetched",
            trackers=self._target.magnet.trackers,
            web_seeds=self._target.magnet.web_seeds,
        )
