"""Limits as the engine's settings, and what it gave in the end.

Rates and connections are the session's own settings; they bind on a LAN and on loopback because the session puts those
peers into no class of their own (`ignore_limits_on_local_network` off). An end of uploads is no rate of 0, which the
engine takes for none, but no unchoke slots: whoever is connected stays, hears metadata and piece hashes, and gets no
piece.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import libtorrent as lt

from weightshare.limits import Effective
from weightshare.swarm.alerts import key_of

_MOST = 2**31 - 1
_DEFAULTS = ("unchoke_slots_limit", "connections_limit", "connections_slack")


@dataclass(frozen=True, slots=True)
class Given:
    """File bytes given of a release; `size` is what it has in all where it is served whole, else None."""

    uploaded: int
    size: int | None


class Capping:
    """The settings of one session, limits among them, and its count of what was given.

    Args:
        settings: the session's settings without limits.

    Attributes:
        others: what is left of the cap on what comes in to what comes past the engine, bytes a second.
    """

    def __init__(self, settings: Mapping[str, object]) -> None:
        # A piece that may be taken by whoever is choked would go out without a slot.
        self.settings = {**settings, "allowed_fast_set_size": 0}
        engine: dict[str, object] = dict(lt.default_settings())
        self._base = {name: settings.get(name, engine[name]) for name in _DEFAULTS}
        self._applied: dict[str, object] = {}
        self.others = 0
        self._counted: dict[str, int] = {}  # by torrent
        self._given: dict[str, int] = {}  # by release
        self._releases: dict[str, str] = {}  # of torrents that have no v2 info-hash themselves
        self._sizes: dict[str, int] = {}  # by release
        self._resting: set[str] = set()  # torrents

    def of(self, limits: Effective) -> dict[str, object]:
        """The engine's settings for these limits."""
        down = max(1, limits.max_down - self.others) if limits.max_down else 0
        self._applied = {
            "download_rate_limit": min(down, _MOST),
            "upload_rate_limit": min(limits.pace, _MOST),
            **self._base,
        }
        if not limits.uploads:
            self._applied["unchoke_slots_limit"] = 0
        if limits.max_connections:
            self._applied["connections_limit"] = min(limits.max_connections, _MOST)
            self._applied["connections_slack"] = 0
        return self._applied

    def changed(self, limits: Effective) -> dict[str, object]:
        """Those settings that these limits change."""
        before = self._applied
        return {name: value for name, value in self.of(limits).items() if before.get(name) != value}

    def serves(self, handle: lt.torrent_handle, size: int, release: str) -> None:
        """Say that a torrent is served whole, how large it is, and what it counts for, if not for itself."""
        key = key_of(handle.info_hashes())
        self._releases[key] = release or key
        self._sizes.setdefault(release or key, size)

    def count(self, handles: Iterable[lt.torrent_handle]) -> None:
        """Count what torrents gave since they were counted last."""
        for handle in handles:
            key, given = key_of(handle.info_hashes()), handle.status(0).total_payload_upload
            release = self._releases.get(key, key)
            self._given[release] = self._given.get(release, 0) + given - self._counted.get(key, 0)
            self._counted[key] = given

    def gone(self, handle: lt.torrent_handle) -> None:
        """Count a torrent for the last time; one that is added again begins at 0, and takes part."""
        self.count([handle])
        key = key_of(handle.info_hashes())
        del self._counted[key]
        self._resting.discard(key)

    def given(self) -> dict[str, Given]:
        """What was given, by release."""
        return {name: Given(count, self._sizes.get(name)) for name, count in self._given.items()}

    def rest(self, handles: Iterable[lt.torrent_handle], releases: Collection[str]) -> None:
        """Pause the torrents of these releases, and take those up again that were paused here before."""
        for handle in handles:
            key = key_of(handle.info_hashes())
            rests = self._releases.get(key, key) in releases
            if rests and key not in self._resting:
                self._resting.add(key)
                handle.pause()
            elif not rests and key in self._resting:
                self._resting.discard(key)
                handle.resume()
