"""How the engine is set for each network: one table, with the reason beside each line.

Measured on libtorrent 2.1.1; `bench/fetch.py` and `bench/swarm.py` show the effect. Where no figure stands in a reason,
the line was chosen by thought. What depends on the call (port, caps) is added in `settings.session_settings`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import libtorrent as lt

from weightshare.swarm.networks import Network
from weightshare.units import MAX_INFO, MIB
from weightshare.version import __version__

Value = bool | int | str

ALERTS = int(
    lt.alert_category.error
    | lt.alert_category.status
    | lt.alert_category.storage
    | lt.alert_category.piece_progress
    | lt.alert_category.tracker
    | lt.alert_category.connect
    | lt.alert_category.port_mapping
    | lt.alert_category.dht_operation
)

DHT_NODES = "dht.libtorrent.org:25401,router.bittorrent.com:6881,dht.transmissionbt.com:6881"
"""By which the public DHT is entered: one of them may be down. Known for years, kept by three projects."""


@dataclass(frozen=True, slots=True)
class Line:
    """One setting of the engine: its name, its value on each network, and why."""

    name: str
    public: Value
    lan: Value
    local: Value
    why: str

    def on(self, network: Network) -> Value:
        """The value on this network."""
        return {Network.PUBLIC: self.public, Network.LAN: self.lan, Network.LOCAL: self.local}[network]


def _all(name: str, value: Value, why: str) -> Line:
    return Line(name, value, value, value, why)


def _cores() -> int:
    return max(1, os.cpu_count() or 1)


TABLE: tuple[Line, ...] = (
    # ---- who we are, and what we hear of
    _all("user_agent", f"weightshare/{__version__}", "what other clients list us as"),
    _all("peer_fingerprint", "-WS0100-", "the same, in the peer id (BEP 20)"),
    _all("alert_mask", ALERTS, "what the loop acts on; each further category costs time at every block"),
    _all("alert_queue_size", 100_000, "a piece_finished that is dropped would be a piece never proven"),
    # ---- how far it reaches
    Line("enable_dht", True, False, False, "asks strangers: for the public network alone"),
    Line("enable_lsd", True, True, False, "multicast stays on the LAN, and is how a cluster finds itself"),
    Line("enable_upnp", True, False, False, "asks the router to let peers in: the peer port, nothing else"),
    Line("enable_natpmp", True, False, False, "likewise"),
    Line(
        "webtorrent_stun_server", "stun.l.google.com:19302", "", "", "a packet to the outside at each start"
    ),
    Line("dht_bootstrap_nodes", DHT_NODES, "", "", "names to look up, even with the DHT off"),
    _all(
        "announce_to_all_trackers",
        True,
        "two who were given the same trackers must meet, if each reaches only one",
    ),
    _all("announce_to_all_tiers", True, "likewise"),
    _all("ssrf_mitigation", True, "no tracker or web seed makes us ask odd things of the local network"),
    _all("validate_https_trackers", True, "a certificate that does not hold is no tracker"),
    _all("allow_idna", False, "host names that look like others have no place in trackers"),
    Line(
        "allow_multiple_connections_per_ip",
        False,
        False,
        True,
        "with it, two who dial each other at the same moment both hang up, wait two seconds and do it again, and in a "
        "crowd that begins at once many do; here all share one address. In public one peer could pose as many",
    ),
    # ---- the carrier
    _all(
        "enable_outgoing_utp",
        False,
        "dialled, uTP is always tried before TCP, and on a fast path runs at a tenth of it (26 against 306 MiB/s)",
    ),
    Line("enable_incoming_utp", True, False, False, "some peers can only come by it; on a LAN none need to"),
    _all("mixed_mode_algorithm", int(lt.bandwidth_mixed_algo_t.prefer_tcp), "TCP is not held back for uTP"),
    Line(
        "out_enc_policy",
        int(lt.enc_policy.pe_enabled),
        int(lt.enc_policy.pe_disabled),
        int(lt.enc_policy.pe_disabled),
        "the offer to speak v2 to a hybrid's peers is only read in plain handshakes, and without v2 there are no "
        "piece layers: where SHA-1 is left out a piece could not be checked before its whole file is there",
    ),
    # ---- the crowd: one seeder, many that begin at once
    _all(
        "whole_pieces_threshold",
        0,
        "above 0 peers ask for whole runs of pieces and get many twice: a tenth of the release against a hundredth",
    ),
    _all(
        "request_queue_time",
        1,
        "seconds of requests kept with a peer; the least there is. What a neighbour has by now should not be "
        "queued elsewhere",
    ),
    _all("max_out_request_queue", 500, "only for peers that say nothing; the others' own word replaces it"),
    Line(
        "max_allowed_in_request_queue",
        64,
        16,
        500,
        "blocks that others may have queued with us: 16 each let eight peers finish at 1.1 times the bound, 500 at "
        "1.9, but 16 run a pair on loopback at six tenths. What is said to new peers follows the path "
        "(`request_queue.py`); this is what holds before anything is known",
    ),
    Line(
        "unchoke_slots_limit",
        20,
        -1,
        -1,
        "everybody is served at once, so that all finish together; among strangers so many that each still gets a "
        "whole piece to pass on in a minute at 10 Mbit/s",
    ),
    _all("initial_picker_threshold", 0, "rarest first from the first piece on: pieces at random come twice"),
    _all(
        "tick_interval",
        100,
        "a change of what is wanted is acted on in a tenth of a second and not in a half",
    ),
    # ---- finding and keeping peers
    _all("min_reconnect_time", 2, "a seeder that comes back is redialled in seconds, not in a minute"),
    _all("max_failcount", 20, "likewise"),
    _all("peer_connect_timeout", 7, "an address where nothing is holds up the others no longer than that"),
    _all(
        "close_redundant_connections",
        False,
        "while only the manifest is wanted the other side must not drop us as redundant: it costs a minute",
    ),
    _all(
        "listen_queue_size",
        128,
        "more than 5 dial a seeder in the same moment; one turned away waits a second",
    ),
    Line("connection_speed", 30, 200, 200, "dials a second: a cluster is complete within its first second"),
    _all(
        "max_metadata_size",
        MAX_INFO,
        "no release has a longer info dictionary; a peer cannot make us hold one",
    ),
    # ---- caps
    _all("ignore_limits_on_local_network", False, "the caps bind on loopback and on a LAN too"),
    # ---- the disk
    _all("hashing_threads", _cores(), "the default of one hashes at 1.4 GiB/s, two at 2.7"),
    _all("aio_threads", 4, "as much as one network thread can feed"),
    _all(
        "max_queued_disk_bytes",
        16 * MIB,
        "what may wait for the disk; more only takes memory (0.5 GB at 512 MiB)",
    ),
    _all("optimistic_disk_retry", 30, "space may be made while we wait; the default is ten minutes"),
)
"""Every setting that we take a stand on, the engine's default or not. The disk back end is no setting of a session: it
is 2.1's default, pread; mmap runs at half its speed, and takes the page cache for the process's own memory."""


def profile(network: Network) -> Mapping[str, Value]:
    """The engine's settings for a network, by name."""
    return {line.name: line.on(network) for line in TABLE}
