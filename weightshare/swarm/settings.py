"""The engine's settings of one session: its network's profile, and what this call asks for."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import libtorrent as lt

from weightshare.swarm.networks import Network, allowed_ranges
from weightshare.swarm.profiles import profile

DEFAULT_PORT = 6881

SKIP_V1_HASHES = 1 << 25
"""`torrent_flags.disable_v1_hashes` of libtorrent 2.1, which its Python binding does not name.

A hybrid's pieces are then checked by SHA-256 alone, which saves the SHA-1: a third of the hashing. Where peers may be
strangers it is not set: a swarm of v1-only clients has no piece layers to give, and only SHA-1 could check its pieces.
The proof of a file is by the signed SHA-256 root either way.
"""


def _host_and_port(node: tuple[str, int]) -> str:
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen_interfaces(network: Network, port: int | None) -> str:
    """Where to listen. `None` is any free port, except for the public network, which begins at the customary one.

    The same port on every interface: of port 0 the engine makes another one for each, and tells the others on the LAN,
    and us, only the first, which may be that of the loopback device.
    """
    if network is Network.LOCAL:
        return f"127.0.0.1:{port or 0}"
    number = port if port is not None else (DEFAULT_PORT if network is Network.PUBLIC else 0)
    number = number or _free_port()
    return f"0.0.0.0:{number},[::]:{number}"


def _free_port() -> int:
    """A port that is free just now, for TCP and UDP, over IPv4 and IPv6; 0 where none was found."""
    for _ in range(20):
        with ExitStack() as stack, suppress(OSError):
            number = 0
            for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    try:
                        one = stack.enter_context(socket.socket(family, kind))
                    except OSError:
                        continue  # a machine without IPv6
                    if family is socket.AF_INET6:
                        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    one.bind((host, number))
                    number = int(one.getsockname()[1])
            return number
    return 0


def session_settings(
    network: Network, *, port: int | None = None, dht_nodes: Sequence[tuple[str, int]] = ()
) -> dict[str, object]:
    """Settings for one session.

    Args:
        network: how far it may reach.
        port: the port to listen on, or None for the default of the network.
        dht_nodes: by which to enter the DHT, where the network has one; none for the public ones.
    """
    return {
        **profile(network),
        "listen_interfaces": listen_interfaces(network, port),
        # A port that was asked for is the one that must work.
        "max_retry_port_bind": 0 if port else 10,
        **(
            {"dht_bootstrap_nodes": ",".join(map(_host_and_port, dht_nodes))}
            if dht_nodes and network is Network.PUBLIC
            else {}
        ),
    }


def address_filter(network: Network) -> lt.ip_filter | None:
    """The engine's address filter for a network, None where everybody may be spoken to."""
    ranges = allowed_ranges(network)
    if ranges is None:
        return None
    blocked = 1
    rules = lt.ip_filter()
    rules.add_rule("0.0.0.0", "255.255.255.255", blocked)  # noqa: S104 - a range, not a place to bind
    rules.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", blocked)
    for first, last in ranges:
        rules.add_rule(first, last, 0)
    return rules
