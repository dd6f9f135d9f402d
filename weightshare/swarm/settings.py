"""The engine's settings, each with its reason. Measured on libtorrent 2.1.1; `bench/fetch.py` shows the effect."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import libtorrent as lt

from weightshare.swarm.networks import Network, allowed_ranges
from weightshare.units import MIB
from weightshare.version import __version__

DEFAULT_PORT = 6881
_METADATA_CAP = (
    32 * MIB
)  # above our own 8 MiB limit, so that an oversize info dict is refused by name and not by time

SKIP_V1_HASHES = 1 << 25
"""`torrent_flags.disable_v1_hashes` of libtorrent 2.1, which its Python binding does not name.

A hybrid's pieces are then checked by SHA-256 alone, which saves the SHA-1: a third of the hashing. Where peers may be
strangers it is not set: a swarm of v1-only clients has no piece layers to give, and only SHA-1 could check its pieces.
The proof of a file is by the signed SHA-256 root either way.
"""

ALERTS = (
    lt.alert_category.error
    | lt.alert_category.status
    | lt.alert_category.storage
    | lt.alert_category.piece_progress
    | lt.alert_category.file_progress
    | lt.alert_category.tracker
    | lt.alert_category.connect
)


DHT_NODES = (("dht.libtorrent.org", 25401), ("router.bittorrent.com", 6881), ("dht.transmissionbt.com", 6881))
"""By which the public DHT is entered: one of them may be down. Known for years, kept by three projects."""


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
    public = network is Network.PUBLIC
    return {
        "user_agent": f"weightshare/{__version__}",
        "peer_fingerprint": "-WS0100-",
        "alert_mask": ALERTS,
        "alert_queue_size": 100_000,
        "listen_interfaces": listen_interfaces(network, port),
        # A port that was asked for is the one that must work.
        "max_retry_port_bind": 0 if port else 10,
        # On a fast path uTP runs at a tenth of TCP. Peers behind NATs may still come in by it.
        "enable_outgoing_utp": False,
        "enable_incoming_utp": public,
        # libtorrent reads a hybrid peer's offer to speak v2 in plain handshakes only. Without v2 there are no piece
        # layers, and with SHA-1 left out a piece could not be checked before its whole file is there.
        **({} if public else {"out_enc_policy": int(lt.enc_policy.pe_disabled)}),
        "enable_dht": public,
        "enable_upnp": public,
        "enable_natpmp": public,
        # Two who were given the same trackers must meet, even if each can reach only one of them.
        "announce_to_all_trackers": True,
        "announce_to_all_tiers": True,
        # The engine's defaults, held to: certificates are checked, and nobody's tracker or web seed makes it a client
        # of what listens on this machine or this network.
        "validate_https_trackers": True,
        "ssrf_mitigation": True,
        "enable_lsd": network is not Network.LOCAL,
        "webtorrent_stun_server": "stun.l.google.com:19302" if public else "",
        "dht_bootstrap_nodes": ",".join(map(_host_and_port, dht_nodes or DHT_NODES)) if public else "",
        # While only the manifest is wanted the other side must not drop us as redundant: it costs a minute.
        "close_redundant_connections": False,
        # A seeder that comes back is redialled in seconds, not in a minute.
        "min_reconnect_time": 2,
        "max_failcount": 20,
        "peer_connect_timeout": 7,
        "allow_multiple_connections_per_ip": network is not Network.PUBLIC,
        # The limits (`capping`) bind on loopback and on a LAN too.
        "ignore_limits_on_local_network": False,
        "unchoke_slots_limit": -1,
        # Half a second of latency at each change of what is wanted becomes a tenth.
        "tick_interval": 100,
        "max_out_request_queue": 2000,
        "max_allowed_in_request_queue": 5000,
        # What is wanted first is asked for first: not behind seconds of requests, four random pieces or a run of them.
        "request_queue_time": 1,
        "initial_picker_threshold": 0,
        "whole_pieces_threshold": 0,
        "max_queued_disk_bytes": 16 * MIB,
        "hashing_threads": max(1, os.cpu_count() or 1),
        "aio_threads": 4,
        "max_metadata_size": _METADATA_CAP,
        # Space may be made while we wait; the default is ten minutes.
        "optimistic_disk_retry": 30,
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
