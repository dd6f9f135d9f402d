"""A session that is sealed: it speaks to those on a list, and nobody else hears of what it has.

No tracker, no DHT, no search of the LAN, no exchange of peers, no word to the router. The engine drops a connection
from anybody else before a byte is read or sent; what a dialler sees is the kernel's greeting and a hang-up.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import libtorrent as lt

from weightshare.errors import UsageError
from weightshare.swarm.lookup import Lookup
from weightshare.swarm.networks import Network, Range, allows_host
from weightshare.swarm.settings import address_filter

SEALED: dict[str, object] = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,  # a datagram from anybody would be answered
    "dht_bootstrap_nodes": "",
    "webtorrent_stun_server": "",
}
"""What a sealed session sets otherwise than its network says, by the engine's names."""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_BLOCKED = 1
_AGAIN = (2.0, 6.0, 15.0, 40.0)  # seconds after a seal was lifted: a DHT takes a while to be entered


def check_allowed(text: str) -> str:
    """An entry of an allow-list as it is kept: an address, a range in CIDR notation, or a host's name.

    Raises:
        UsageError: it is none of these.
    """
    entry = text.strip().strip("[]").lower()
    if range_of(entry) is not None or (_NAME.fullmatch(entry) and not re.fullmatch(r"[0-9./]+", entry)):
        return entry
    raise UsageError(
        f"{text!r} is no address, no range such as 192.0.2.0/24 and no host name.",
        hint="Ports have no place here: whoever comes from an allowed address may come from any port.",
    )


def range_of(entry: str) -> Range | None:
    """First and last address of an entry; None for a host's name, which has to be looked up."""
    try:
        network = ipaddress.ip_network(entry.partition("%")[0], strict=False)
    except ValueError:
        return None
    return str(network.network_address), str(network.broadcast_address)


def ranges_of(
    entries: Iterable[str], network: Network, addresses: Callable[[str], Sequence[str] | None]
) -> tuple[Range, ...]:
    """The ranges that an allow-list means now, as far as the network reaches.

    Args:
        entries: as `check_allowed` returns them.
        network: what lies outside it stays closed.
        addresses: looks a name up; None while it is being looked up.
    """
    found: dict[Range, None] = {}
    for entry in entries:
        span = range_of(entry)
        if span is not None:
            if allows_host(network, span[0]) and allows_host(network, span[1]):
                found[span] = None
            continue
        for address in addresses(entry) or ():
            known = range_of(address)
            if known is not None:
                found[known] = None
    return tuple(found)


def filter_of(ranges: Iterable[Range]) -> lt.ip_filter:
    """The engine's filter that lets these ranges in and nobody else."""
    rules = lt.ip_filter()
    rules.add_rule("0.0.0.0", "255.255.255.255", _BLOCKED)  # noqa: S104 - a range, not a place to bind
    rules.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", _BLOCKED)
    for first, last in ranges:
        rules.add_rule(first, last, 0)
    return rules


class Seal:
    """The engine's filter of a session that is sealed, following a list and the addresses of the names on it.

    Args:
        session: the engine's; its other settings are `SEALED` already.
        network: how far it may reach at most.
        allowed: who may be spoken to.
    """

    def __init__(self, session: lt.session, network: Network, allowed: Sequence[str]) -> None:
        self._session = session
        self._network = network
        self._lookup = Lookup(network)
        self._ranges: tuple[Range, ...] | None = None
        self.allow(allowed)

    def allow(self, allowed: Sequence[str]) -> None:
        """Have another list hold; whoever is not on it is cut off."""
        self._allowed = tuple(allowed)
        self.look()

    def look(self) -> None:
        """Follow the addresses of names."""
        ranges = ranges_of(self._allowed, self._network, self._lookup.addresses)
        if ranges != self._ranges:
            self._ranges = ranges
            self._session.set_ip_filter(filter_of(ranges))

    def lift(self, usual: Mapping[str, object]) -> None:
        """Set the session as its network has it: all of `usual` that `SEALED` had replaced, and the filter."""
        self._session.apply_settings(cast("Any", {name: usual[name] for name in SEALED}))
        self._session.set_ip_filter(address_filter(self._network) or lt.ip_filter())


def repeated(announce: Callable[[], object]) -> Callable[[], None]:
    """A chore that announces a few times more after a seal was lifted."""
    began = time.monotonic()
    due = list(_AGAIN)

    def chore() -> None:
        if due and time.monotonic() - began >= due[0]:
            due.pop(0)
            announce()

    return chore
