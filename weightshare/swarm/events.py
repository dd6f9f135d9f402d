"""What happens in a session, as plain values: the engine's own are gone after the next look."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from weightshare.manifest.text import escape


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
