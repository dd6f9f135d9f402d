"""The engine's alerts as plain events.

libtorrent's alert objects die at the next `pop_alerts`, so every value that is needed is copied out here and nothing
else of them is kept.
"""

from __future__ import annotations

from collections.abc import Iterable

import libtorrent as lt

from weightshare.manifest.text import escape
from weightshare.swarm.events import (
    CacheFlushed,
    Checked,
    Contradicted,
    DhtAnswered,
    Event,
    FileFailed,
    HungUp,
    ListenFailed,
    MetadataReceived,
    MetadataRefused,
    OutsideAddress,
    Paused,
    PieceFinished,
    PieceRefused,
    PortMapped,
    PortRefused,
    ReachedOurselves,
    ResumeFailed,
    ResumeSaved,
    Scraped,
    TorrentFailed,
    TrackerFailed,
    TrackerReplied,
)

# Of libtorrent's error codes, `torrent_inconsistent_hashes` and `self_connection`.
_INCONSISTENT_HASHES = 217
_SELF_CONNECTION = 47
_LONGEST_REASON = 200  # characters of a tracker's own words


def key_of(hashes: lt.info_hash_t) -> str:
    """The key of a torrent: its v2 info-hash in hex, or the v1 one where there is no other."""
    return str(hashes.v2) if hashes.has_v2() else str(hashes.v1)


def translate(alerts: Iterable[lt.alert]) -> list[Event]:
    """Events for those alerts that matter here, in their order."""
    events = []
    for alert in alerts:
        event = _translate(alert)
        if event is not None:
            events.append(event)
    return events


def _translate(alert: lt.alert) -> Event | None:
    match alert:
        case lt.listen_failed_alert():
            return ListenFailed("", f"{alert.address}:{alert.port}", alert.error.message())
        case lt.piece_finished_alert():
            return PieceFinished(_key(alert), int(alert.piece_index))
        case lt.hash_failed_alert():
            return PieceRefused(_key(alert), int(alert.piece_index))
        case lt.cache_flushed_alert():
            return CacheFlushed(_key(alert))
        case lt.metadata_received_alert():
            return MetadataReceived(_key(alert))
        case lt.metadata_failed_alert():
            return MetadataRefused(_key(alert), alert.error.message())
        case lt.torrent_checked_alert():
            return Checked(_key(alert))
        case lt.torrent_paused_alert():
            return Paused(_key(alert))
        case lt.save_resume_data_alert():
            return ResumeSaved(_key(alert), bytes(lt.write_resume_data_buf(alert.params)))
        case lt.save_resume_data_failed_alert():
            return ResumeFailed(_key(alert))
        case lt.file_error_alert():
            return FileFailed(_key(alert), alert.filename(), alert.error.value(), alert.error.message())
        case lt.torrent_error_alert() if alert.error.value() == _INCONSISTENT_HASHES:
            return Contradicted(_key(alert))
        case lt.torrent_error_alert():
            return TorrentFailed(_key(alert), alert.error.message())
        case lt.peer_disconnected_alert() if alert.error.value() == _SELF_CONNECTION:
            return ReachedOurselves(_key(alert))
        case lt.peer_disconnected_alert():
            if alert.op == lt.operation_t.connect or not alert.pid.is_all_zeros():
                return None
            return HungUp(_key(alert), str(alert.endpoint[0]), int(alert.endpoint[1]))
        case lt.tracker_reply_alert():
            return TrackerReplied(_key(alert), alert.url)
        case lt.tracker_error_alert():
            said = escape(alert.failure_reason().strip())[:_LONGEST_REASON]
            return TrackerFailed(_key(alert), alert.url, said or alert.error.message().rstrip("."))
        case lt.scrape_reply_alert():
            return Scraped(_key(alert), alert.url, int(alert.complete))
        case lt.portmap_alert():
            protocol = "TCP" if alert.map_protocol == lt.portmap_protocol.tcp else "UDP"
            return PortMapped("", _router(alert.map_transport), protocol, int(alert.external_port))
        case lt.portmap_error_alert():
            return PortRefused("", _router(alert.map_transport), alert.error.message().rstrip("."))
        case lt.external_ip_alert():
            return OutsideAddress("", str(alert.external_address))
        case lt.dht_get_peers_reply_alert():
            found = tuple((str(host), int(port)) for host, port in alert.peers())
            return DhtAnswered("", str(alert.info_hash), found)
        case _:
            return None


def _router(transport: object) -> str:
    return "UPnP" if transport == lt.portmap_transport.upnp else "NAT-PMP or PCP"


def _key(alert: lt.torrent_alert) -> str:
    return key_of(alert.handle.info_hashes()) if alert.handle.is_valid() else ""
