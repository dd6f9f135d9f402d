"""Limits as the engine's settings, and what it gave in the end.

Rates and connections are the session's own settings; they bind on a LAN and on loopback because the session puts those
peers into no class of their own (`ignore_limits_on_local_network` off). An end of uploads is no rate of 0, which the
engine takes for none, but no unchoke slots: whoever is connected stays, hears metadata and piece hashes, and gets no
piece.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import libtorrent as lt

from weightshare.limits import Effective
from weightshare.swarm.torrent import Torrent

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
    """

    def __init__(self, settings: Mapping[str, object]) -> None:
        # A piece that may be taken by whoever is choked would go out without a slot.
        self.settings = {**settings, "allowed_fast_set_size": 0}
        engine: dict[str, object] = dict(lt.default_settings())
        self._base = {name: settings.get(name, engine[name]) for name in _DEFAULTS}
        self._applied: dict[str, object] = {}
        self._counted: dict[str, int] = {}  # by torrent
        self._given: dict[str, int] = {}  # by release
        self._sizes: dict[str, int] = {}

    def of(self, limits: Effective) -> dict[str, object]:
        """The engine's settings for these limits."""
        self._applied = {
            "download_rate_limit": min(limits.max_down, _MOST),
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

    def sized(self, release: str, size: int) -> None:
        """Say how large a release is that is served whole; a twin of it has the same files."""
        self._sizes.setdefault(release, size)

    def count(self, torrent: Torrent) -> None:
        """Count what a torrent gave since it was counted last."""
        given = torrent.uploaded()
        more = given - self._counted.get(torrent.key, 0)
        self._counted[torrent.key] = given
        self._given[torrent.release] = self._given.get(torrent.release, 0) + more

    def remove(self, torrent: Torrent) -> None:
        """Count a torrent for the last time; one that is added again begins at 0."""
        self.count(torrent)
        del self._counted[torrent.key]

    def given(self) -> dict[str, Given]:
        """What was given, by release."""
        return {name: Given(count, self._sizes.get(name)) for name, count in self._given.items()}
