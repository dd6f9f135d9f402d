"""Magnet links (BEP 9), with the three parameters that are ours.

`x.wsk` is the publisher's fingerprint, 32 bytes in base64url without padding. It proves nothing, since
whoever writes the link writes it; but a release signed by another key is refused. `xs` is a URL of the
`.torrent`, so that a link works before the first peer does. `x.wse` says that the release is under embargo:
whoever fetches it tells no tracker, DHT or neighbour of it, until that time in Unix seconds, or, at 0, until
told that it is over. A link is somebody's word: its name is escaped before it is kept, and its URLs may not
hold what a URL cannot.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, unquote_plus

from weightshare.errors import MagnetError
from weightshare.manifest.text import escape, quoted, unsafe_character

MAX_LINK = 64 * 1024
"""Characters in a link."""

QUOTE_HINT = "Quote the link: the shell cuts an unquoted one at its first `&`."

# ASCII, since the Kelvin sign is a `k` and the long s an `s` to a pattern that ignores case.
_V2 = re.compile(r"(?:1220)?([0-9a-f]{64})", re.ASCII | re.IGNORECASE)
_V1 = re.compile(r"[0-9a-f]{40}", re.ASCII | re.IGNORECASE)
_V1_BASE32 = re.compile(r"[a-z2-7]{32}", re.ASCII | re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9]{1,15})?\]")
_BTMH, _BTIH = "urn:btmh:", "urn:btih:"
_SCHEMES = {
    "tr": ("udp://", "http://", "https://", "ws://", "wss://"),
    "ws": ("http://", "https://"),
    "xs": ("http://", "https://"),
}


@dataclass(frozen=True, slots=True)
class Magnet:
    """What a magnet link says.

    Attributes:
        v2_hash: SHA-256 of the info dictionary (32 bytes), None if the link lacks it.
        v1_hash: SHA-1 of it (20 bytes), for hybrids and v1 torrents.
        name: what to call it until the manifest is in; safe to print, not to be used as a path.
        trackers: announce URLs.
        web_seeds: URLs of the files (`ws`).
        sources: URLs of the `.torrent` (`xs`).
        peers: host and port of peers (`x.pe`); an IPv6 host without brackets.
        publisher: fingerprint of the publisher's key (32 bytes).
        embargo: Unix seconds at which an embargo ends, 0 for one that ends by hand, None for none.
    """

    v2_hash: bytes | None = None
    v1_hash: bytes | None = None
    name: str = ""
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    peers: tuple[tuple[str, int], ...] = ()
    publisher: bytes | None = None
    embargo: int | None = None

    @property
    def bare(self) -> bool:
        """Whether the link holds an info-hash and nothing else, as one does that a shell cut at its `&`."""
        others = (self.name, self.trackers, self.web_seeds, self.sources, self.peers, self.publisher)
        return not any(others) and self.embargo is None and (self.v1_hash is None or self.v2_hash is None)

    def require_v2(self) -> bytes:
        """The v2 info-hash.

        Raises:
            MagnetError: the link has a v1 hash alone, which is SHA-1 and can be forged.
        """
        if self.v2_hash is None:
            raise MagnetError(
                "The magnet link has no v2 info-hash (xt=urn:btmh:1220…); v1's SHA-1 proves too little.",
                hint=QUOTE_HINT
                if self.bare
                else "Ask the publisher for the whole link, or for the .torrent.",
            )
        return self.v2_hash

    def __str__(self) -> str:
        """The link itself; quote it for a shell, since it holds `&`."""
        parts = []
        if self.v2_hash is not None:
            parts.append(f"xt={_BTMH}1220{self.v2_hash.hex()}")
        if self.v1_hash is not None:
            parts.append(f"xt={_BTIH}{self.v1_hash.hex()}")
        if self.name:
            parts.append(f"dn={quote(self.name, safe='')}")
        for key, urls in (("tr", self.trackers), ("ws", self.web_seeds), ("xs", self.sources)):
            parts += [f"{key}={quote(url, safe='')}" for url in urls]
        for host, port in self.peers:
            shown = f"[{host}]" if ":" in host else host
            parts.append(f"x.pe={quote(f'{shown}:{port}', safe='[]:')}")
        if self.publisher is not None:
            parts.append(f"x.wsk={base64.urlsafe_b64encode(self.publisher).decode('ascii').rstrip('=')}")
        if self.embargo is not None:
            parts.append(f"x.wse={self.embargo}")
        return "magnet:?" + "&".join(parts)


def parse(text: str) -> Magnet:
    """Read a magnet link, or a bare info-hash in hex (64 digits for v2, 40 for v1).

    Parameters that nobody here knows are ignored, and so are URLs of schemes that could not be used.

    Raises:
        MagnetError: it is none, it is damaged, or it contradicts itself.
    """
    text = text.strip()
    if len(text) > MAX_LINK:
        raise MagnetError(f"The magnet link has {len(text):,} characters; {MAX_LINK:,} are the most.")
    if match := _V2.fullmatch(text):
        return Magnet(v2_hash=bytes.fromhex(match[1]))
    if _V1.fullmatch(text):
        return Magnet(v1_hash=bytes.fromhex(text))
    scheme, separator, query = text.partition("?")
    if scheme.lower() != "magnet:" or not separator:
        raise MagnetError(
            f"{quoted(text, 60)} is no magnet link and no info-hash.",
            hint="A link begins with magnet:? and an info-hash has 64 hex digits.",
        )
    fields = _fields(query)
    v2_hash, v1_hash = _hashes(fields.get("xt", []), query)
    names = fields.get("dn", [""])
    return Magnet(
        v2_hash=v2_hash,
        v1_hash=v1_hash,
        name=escape(names[0]),
        trackers=_urls(fields, "tr"),
        web_seeds=_urls(fields, "ws"),
        sources=_urls(fields, "xs"),
        peers=tuple(dict.fromkeys(_peer(value) for value in fields.get("x.pe", []))),
        publisher=_publisher(fields.get("x.wsk", [])),
        embargo=_embargo(fields.get("x.wse", [])),
    )


def _fields(query: str) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for parameter in query.split("&"):
        key, _, value = parameter.partition("=")
        # `tr.1=` and `xt.2=` are numbered forms of the same thing.
        key = re.sub(r"\.\d+$", "", key.lower())
        try:
            decoded = (unquote_plus if key == "dn" else unquote)(value, errors="strict")
        except UnicodeDecodeError as error:
            raise MagnetError(f"The magnet link's {quoted(key, 20)} is not UTF-8.") from error
        if decoded:
            fields.setdefault(key, []).append(decoded)
    return fields


def _hashes(topics: list[str], query: str) -> tuple[bytes | None, bytes | None]:
    v2: set[bytes] = set()
    v1: set[bytes] = set()
    for topic in topics:
        kind, value = topic[: len(_BTMH)].lower(), topic[len(_BTMH) :]
        match = _V2.fullmatch(value)
        if kind == _BTMH:
            if match is None or not value.startswith("1220"):
                raise _damaged(topic, "1220 and 64 hex digits", query)
            v2.add(bytes.fromhex(match[1]))
        elif kind == _BTIH:
            if _V1.fullmatch(value):
                v1.add(bytes.fromhex(value))
            elif _V1_BASE32.fullmatch(value):
                v1.add(base64.b32decode(value.upper()))
            else:
                raise _damaged(topic, "40 hex digits", query)
    if len(v2) > 1 or len(v1) > 1:
        raise MagnetError("The magnet link names two different torrents.")
    if not v2 and not v1:
        raise MagnetError(
            "The magnet link has no info-hash (xt=urn:btmh:1220…).",
            hint=QUOTE_HINT if "&" not in query else "It seems to be damaged; copy it again.",
        )
    return next(iter(v2), None), next(iter(v1), None)


def _damaged(topic: str, expected: str, query: str) -> MagnetError:
    hint = "It seems to be cut short; copy it again."
    return MagnetError(
        f"The magnet link's {quoted(topic, 100)} is damaged: {expected} are expected after the last colon.",
        hint=hint if "&" in query else f"{hint} {QUOTE_HINT}",
    )


def _urls(fields: dict[str, list[str]], key: str) -> tuple[str, ...]:
    urls: dict[str, None] = {}
    for url in fields.get(key, []):
        if not url.lower().startswith(_SCHEMES[key]):
            continue
        if unsafe_character(url) or any(character.isspace() for character in url):
            raise MagnetError(f"The magnet link's {key}={quoted(url)} is no URL.")
        urls[url] = None
    return tuple(urls)


def _peer(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not _HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise MagnetError(f"The magnet link's x.pe={quoted(value)} is no HOST:PORT.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _publisher(values: list[str]) -> bytes | None:
    if not values:
        return None
    try:
        raw = base64.b64decode(values[0] + "=" * (-len(values[0]) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    encoded = base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
    if len(raw) != 32 or encoded != values[0] or len(set(values)) > 1:
        raise MagnetError(
            f"The magnet link's x.wsk={quoted(values[0], 60)} is no publisher's fingerprint.",
            hint="It seems to be damaged; copy it again.",
        )
    return raw


def _embargo(values: list[str]) -> int | None:
    if not values:
        return None
    if len(set(values)) > 1 or not re.fullmatch(r"[0-9]{1,11}", values[0], re.ASCII):
        raise MagnetError(
            f"The magnet link's x.wse={quoted(values[0], 20)} is no time in Unix seconds.",
            hint="It seems to be damaged; copy it again.",
        )
    return int(values[0])
