"""Torrents that carry no manifest, of whatever version: their files under safe names, and what names the torrent.

Nobody signed them, so their hashes say only that the bytes are those which somebody put into a torrent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from weightshare.errors import MetainfoError
from weightshare.manifest import bencode
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.metainfo import parse_info, parse_torrent
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.v1_info import V1Info, parse_v1_info
from weightshare.units import MAX_INFO, MAX_TORRENT

_TRACKERS = ("udp://", "http://", "https://", "ws://", "wss://")
_WEB = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A file: its path below the torrent's folder, or its name in a single-file torrent, and its size in bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Plain:
    """What a torrent holds, every path safe.

    Attributes:
        name: the torrent's.
        files: without pads, in the engine's order.
        raw: the info dictionary.
        v1: it as a plain v1 torrent, None for one with a v2 half.
        v1_hash: SHA-1 of the dictionary, None where it has no v1 half.
        v2_hash: SHA-256 of it, None where it has no v2 half.
        signed: whether it carries a manifest, and so can be proven.
    """

    name: str
    files: tuple[PlainFile, ...]
    raw: bytes
    v1: V1Info | None
    v1_hash: bytes | None
    v2_hash: bytes | None
    signed: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def info_hash(self) -> str:
        """What names it, in hex: the v2 info-hash where there is one."""
        return (self.v2_hash or self.v1_hash or b"").hex()


@dataclass(frozen=True, slots=True)
class PlainTorrent:
    """A `.torrent`: what it holds, and where it says to ask. Entries there that are no URLs are left out."""

    plain: Plain
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    layers: Mapping[bytes, bytes] = field(default_factory=dict)

    @property
    def magnet(self) -> Magnet:
        """The link that names it."""
        plain = self.plain
        return Magnet(plain.v2_hash, plain.v1_hash, plain.name, self.trackers, self.web_seeds)


def read_plain(raw: bytes) -> Plain:
    """Read an info dictionary of unknown origin and version.

    Raises:
        MetainfoError: it breaks the format or a limit.
        UnsafePathError: its name or a path breaks a rule.
    """
    decoded = bencode.decode(raw, limit=MAX_INFO, what="info dictionary")
    if isinstance(decoded, dict) and (b"meta version" in decoded or b"file tree" in decoded):
        info = parse_info(raw)
        files = tuple(PlainFile(file.path, file.size) for file in info.files)
        signed = any(file.path == MANIFEST_NAME for file in files)
        return Plain(info.name, files, raw, None, info.v1_hash, info.v2_hash, signed)
    v1 = parse_v1_info(raw)
    listed = tuple(PlainFile(file.path, file.size) for file in v1.files)
    return Plain(v1.name, listed, raw, v1, v1.v1_hash, None)


def read_plain_torrent(raw: bytes) -> PlainTorrent:
    """Read a `.torrent` of unknown origin and version.

    Raises:
        MetainfoError: it breaks the format.
        UnsafePathError: its name or a path breaks a rule.
    """
    document = bencode.decode(raw, limit=MAX_TORRENT, what="torrent file")
    if not isinstance(document, dict) or not isinstance(document.get(b"info"), dict):
        raise MetainfoError(
            "The torrent file, field `info`: a dictionary is expected.",
            hint="Is this a .torrent file at all?",
            field="info",
        )
    # Strict decoding makes this the very bytes that were read.
    plain = read_plain(bencode.encode(document[b"info"]))
    layers = parse_torrent(raw, allow_missing_layers=True).piece_layers if plain.v2_hash else {}
    tiers = document.get(b"announce-list")
    told = (
        [url for tier in tiers if isinstance(tier, list) for url in tier] if isinstance(tiers, list) else []
    )
    seeds = document.get(b"url-list", [])
    return PlainTorrent(
        plain,
        _urls([document.get(b"announce"), *told], _TRACKERS),
        _urls(seeds if isinstance(seeds, list) else [seeds], _WEB),
        layers,
    )


def check_named(plain: Plain, magnet: Magnet) -> None:
    """Prove that an info dictionary is the one that a link names.

    Raises:
        MetainfoError: it is another one.
    """
    v1, v2 = hashlib.sha1(plain.raw, usedforsecurity=False).digest(), hashlib.sha256(plain.raw).digest()
    for expected, found in ((magnet.v1_hash, v1), (magnet.v2_hash, v2)):
        if expected is not None and expected != found:
            raise MetainfoError(
                f"The info dictionary has the hash {found.hex()}, not the link's {expected.hex()}.", field=""
            )


def build_plain_torrent(
    info: bytes, *, trackers: tuple[str, ...] = (), web_seeds: tuple[str, ...] = ()
) -> bytes:
    """The `.torrent` around an info dictionary that others made; its bytes are not touched."""
    document: dict[bytes, object] = {b"info": bencode.Encoded(info)}
    if trackers:
        document[b"announce"] = trackers[0]
    if len(trackers) > 1:
        document[b"announce-list"] = [[tracker] for tracker in trackers]
    if web_seeds:
        document[b"url-list"] = list(web_seeds)
    return bencode.encode(document)


def _urls(values: list[object], schemes: tuple[str, ...]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in values:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
        if text.lower().startswith(schemes) and text.isprintable() and " " not in text:
            found[text] = None
    return tuple(found)
