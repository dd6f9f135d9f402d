"""Whom a session may speak to: everybody, this network, or this machine alone.

`local` sends nothing outside loopback and `lan` nothing outside private ranges. Addresses are filtered inside the
engine; trackers, web seeds and peers given by name are filtered here, before a name is ever looked up: the look-up
itself would leave the network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Range = tuple[str, str]


class Network(StrEnum):
    """How far a session reaches."""

    PUBLIC = "public"
    LAN = "lan"
    LOCAL = "local"


_LOOPBACK: tuple[Range, ...] = (("127.0.0.0", "127.255.255.255"), ("::1", "::1"))
# RFC 1918, RFC 6598 (shared), RFC 3927 and RFC 4291 (link-local), RFC 4193 (unique local), RFC 2544 (benchmarks).
_PRIVATE: tuple[Range, ...] = (
    *_LOOPBACK,
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
)
_LAN_SUFFIXES = (".local", ".lan", ".internal", ".home.arpa")


def allowed_ranges(network: Network) -> tuple[Range, ...] | None:
    """The address ranges, first and last, that may be spoken to; None means all."""
    return {Network.PUBLIC: None, Network.LAN: _PRIVATE, Network.LOCAL: _LOOPBACK}[network]


def allows_host(network: Network, host: str) -> bool:
    """Whether a host, by name or address, may be contacted. A name that only public DNS could know is not on a LAN."""
    if network is Network.PUBLIC:
        return True
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return network is Network.LAN and ("." not in name or name.endswith(_LAN_SUFFIXES))
    ranges = allowed_ranges(network) or ()
    return any(_within(address, *pair) for pair in ranges)


def _within(address: Address, first: str, last: str) -> bool:
    low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
    return address.version == low.version and int(low) <= int(address) <= int(high)


def allowed_urls(network: Network, urls: Iterable[str]) -> tuple[str, ...]:
    """Those of the tracker or web-seed URLs whose host may be contacted; a URL without a host is dropped."""
    kept = []
    for url in urls:
        try:
            host = urlsplit(url).hostname
        except ValueError:
            continue
        if host and allows_host(network, host):
            kept.append(url)
    return tuple(kept)
