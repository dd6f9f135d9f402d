"""Whom a session may speak to: everybody, this network, or this machine alone.

`local` sends nothing outside loopback and `lan` nothing outside private ranges. Addresses are filtered inside the
engine; trackers, web seeds and peers given by name are filtered here, before a name is ever looked up: the look-up
itself would leave the network. On a LAN a name is looked up where this machine's own list of hosts has it, or where
every name server that it asks is on the LAN too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
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
_HOSTS, _RESOLVER = Path("/etc/hosts"), Path("/etc/resolv.conf")
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
        if network is not Network.LAN or ("." in name and not name.endswith(_LAN_SUFFIXES)):
            return False
        return name in _own_hosts() or looks_names_up(network)
    return any(_within(address, *pair) for pair in allowed_ranges(network) or ())


def looks_names_up(network: Network) -> bool:
    """Whether asking this machine's name servers keeps within the network; its own list of hosts always does."""
    if network is Network.LAN:
        return _asks_within(_PRIVATE)
    return network is Network.PUBLIC


def is_inside(host: str) -> bool:
    """Whether an address is this machine's or this network's, where a stranger's URL has no business; False for a name.

    An IPv4 address in IPv6's clothes (RFC 4291, 2.5.5.2) is what it is underneath; 0.0.0.0 and :: are this machine.
    """
    try:
        address: Address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified or address.is_multicast or _within(address, "0.0.0.0", "0.255.255.255"):  # noqa: S104
        return True
    return any(_within(address, *pair) for pair in _PRIVATE)


def _own_hosts() -> frozenset[str]:
    """The names that this machine can look up in its own file (hosts(5)); none where there is no such file."""
    lines = (line.partition("#")[0].split() for line in _lines(_HOSTS))
    return frozenset(name.lower() for words in lines for name in words[1:])


def _asks_within(ranges: Iterable[Range]) -> bool:
    """Whether every name server that the resolver asks (resolv.conf(5)) lies within these ranges.

    Without any it asks the one on this machine.
    """
    words = (line.split() for line in _lines(_RESOLVER))
    servers = [entry[1].partition("%")[0] for entry in words if len(entry) > 1 and entry[0] == "nameserver"]
    try:
        addresses = [ipaddress.ip_address(server) for server in servers]
    except ValueError:
        return False
    return all(any(_within(address, *pair) for pair in ranges) for address in addresses)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


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


def allowed_trackers(network: Network, urls: Iterable[str]) -> tuple[str, ...]:
    """Those of the announce URLs that may be asked.

    A link's trackers are a stranger's choice. On the public network one that names an address inside this network is
    asked for an announce and nothing else. The engine sees to that for loopback addresses, whatever name led there.
    """
    return tuple(
        url
        for url in allowed_urls(network, urls)
        if network is not Network.PUBLIC or not _leads_inside(url) or urlsplit(url).path.endswith("/announce")
    )


def allowed_web_seeds(network: Network, urls: Iterable[str]) -> tuple[str, ...]:
    """Those of the web seeds that may be asked: on the public network none that names an address inside this one."""
    return tuple(
        url for url in allowed_urls(network, urls) if network is not Network.PUBLIC or not _leads_inside(url)
    )


def _leads_inside(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return False
    host = (parts.hostname or "").rstrip(".")
    return host == "localhost" or host.endswith(".localhost") or is_inside(host)
