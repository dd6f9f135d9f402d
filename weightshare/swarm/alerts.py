"""The engine's alerts as plain events.

libtorrent's alert objects die at the next `pop_alerts`, so every value that is needed is copied out here and nothing
else of them is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import libtorrent as lt

from weightshare.manifest.text import escape

# Of libtorrent's error codes, `torrent_inconsistent_hashes` and `self_connection`.
_INCONSISTENT_HASHES = 217
_SELF_CONNECTION = 47
_LONGEST_REASON = 200  # characters of a tracker's own words


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to the torrent with this key (see `key_of`); an empty key is the session itself."""

    key: str


@dataclass(frozen=True, slots=True)
class MetadataReceived(Event):
    """The info dictionary is here."""


@dataclass(frozen=True, slots=True)
class MetadataRefused(Event):
    """A peer's metadata had the right hash, or not, and could not be used."""

    reason: str


@dataclass(frozen=True, slots=True)
class Checked(Event):
    """What is on disk was compared with the hashes; transfers may start."""


@dataclass(frozen=True, slots=True)
class PieceFinished(Event):
    """A piece arrived and passed its hash; its bytes may not be readable from disk yet."""

    piece: int


@dataclass(frozen=True, slots=True)
class PieceRefused(Event):
    """A piece failed its hash and is asked for again."""

    piece: int


@dataclass(frozen=True, slots=True)
class CacheFlushed(Event):
    """What was finished when the flush was asked for can be read from disk now."""


@dataclass(frozen=True, slots=True)
class Paused(Event):
    """The torrent takes and gives nothing any more, and what it took is written out."""


@dataclass(frozen=True, slots=True)
class ResumeSaved(Event):
    """The engine's resume data. Nothing goes on from it, but what the engine has learnt of hashes is in it."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ResumeFailed(Event):
    """There is no resume data just now."""


@dataclass(frozen=True, slots=True)
class FileFailed(Event):
    """The disk refused: `code` is an errno."""

    path: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class TorrentFailed(Event):
    """The engine gave the torrent up."""

    reason: str


@dataclass(frozen=True, slots=True)
class Contradicted(Event):
    """The v1 and v2 hashes of a piece were of different bytes; the engine gave the torrent up."""


@dataclass(frozen=True, slots=True)
class TrackerFailed(Event):
    """A tracker did not answer, or said no: in its own words, made safe to print, where it has some."""

    url: str
    reason: str

    @property
    def words(self) -> str:
        """Which tracker, without the path of its URL, where there may be a passkey; and why."""
        return f"tracker {escape(urlsplit(self.url).netloc.rpartition('@')[2])}: {self.reason}"


@dataclass(frozen=True, slots=True)
class HungUp(Event):
    """A peer was reached and ended the connection before it had said who it is."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class ReachedOurselves(Event):
    """A dialled address was our own. The engine bans it, and with it whoever else shares it with us."""


@dataclass(frozen=True, slots=True)
class TrackerReplied(Event):
    """A tracker took our announcement, whether or not it knows of peers."""

    url: str


@dataclass(frozen=True, slots=True)
class Scraped(Event):
    """A tracker said how many have all of a torrent; -1 where it does not say."""

    url: str
    seeds: int


@dataclass(frozen=True, slots=True)
class ListenFailed(Event):
    """An address or port could not be listened on."""

    endpoint: str
    reason: str


@dataclass(frozen=True, slots=True)
class PortMapped(Event):
    """A router said that it lets a port through to us: the protocol it was asked by, `TCP` or `UDP`, and the port."""

    by: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class PortRefused(Event):
    """No router let a port through, by this protocol."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class OutsideAddress(Event):
    """Others say that this is our address."""

    address: str


@dataclass(frozen=True, slots=True)
class DhtAnswered(Event):
    """A node of the DHT named these peers of an info-hash (20 bytes in hex)."""

    info_hash: str
    peers: tuple[tuple[str, int], ...]


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
