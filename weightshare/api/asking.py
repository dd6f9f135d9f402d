"""What a publisher asks for, beside the files, and what nobody could use of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from weightshare.api.earlier import payload_of
from weightshare.errors import UsageError
from weightshare.manifest.metainfo import default_piece_length
from weightshare.manifest.model import Source
from weightshare.units import MAX_PART

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_SPDX = re.compile(
    r"\(?[A-Za-z0-9][A-Za-z0-9.+:-]*\)?(?: (?:AND|OR|WITH) \(?[A-Za-z0-9][A-Za-z0-9.+:-]*\)?)*"
)


@dataclass(frozen=True, slots=True)
class Intent:
    """What a publisher asks for, beside the files; see `publishing.publish` for each."""

    name: str
    version: str
    license: str | None
    summary: str
    sequence: int | None
    piece_length: int
    hybrid: bool
    v1_twin: bool
    trackers: tuple[str, ...]
    web_seeds: tuple[str, ...]
    torrent_urls: tuple[str, ...]
    supersedes: tuple[str, ...] = ()
    revokes: tuple[tuple[str, str], ...] = ()
    source: Source | None = None
    """Where on the Hub the files come from: then the torrent is named by the commit, and the folder left alone."""

    @property
    def torrent_name(self) -> str:
        """What the torrent's folder is called: the model, or the commit, so that the Hub can be its web seed."""
        return self.source.revision if self.source is not None else self.name.partition("/")[2]


class Asked(TypedDict, total=False):
    """The facts of a release that a publisher may choose; see `publishing.publish` for each."""

    version: str
    license: str | None
    summary: str
    sequence: int | None
    piece_length: int | None
    v2_only: bool
    v1_twin: bool
    trackers: Sequence[str]
    web_seeds: Sequence[str]
    torrent_urls: Sequence[str]
    supersedes: Sequence[str]
    revokes: Sequence[tuple[str, str]]


def intent_of(name: str, sizes: Iterable[int], asked: Asked, source: Source | None = None) -> Intent:
    """What was asked for, with the defaults filled in.

    Args:
        name: `ORG/MODEL`.
        sizes: bytes of each file; they decide the piece length if nobody did.
        asked: the rest.
        source: where on the Hub the files come from, if they do.
    """
    return Intent(
        name=name,
        version=asked.get("version", "1"),
        license=asked.get("license"),
        summary=asked.get("summary", ""),
        sequence=asked.get("sequence"),
        piece_length=asked.get("piece_length") or default_piece_length(sizes),
        hybrid=not asked.get("v2_only", False),
        v1_twin=asked.get("v1_twin", False),
        trackers=tuple(asked.get("trackers", ())),
        web_seeds=tuple(asked.get("web_seeds", ())),
        torrent_urls=tuple(asked.get("torrent_urls", ())),
        supersedes=tuple(asked.get("supersedes", ())),
        revokes=tuple(asked.get("revokes", ())),
        source=source,
    )


def check_asked(name: str, asked: Asked) -> None:
    """Refuse what nobody could use, before anything is read.

    Raises:
        UsageError: a name, version, licence or address that is none, or an earlier release that is not there.
    """
    version, spdx = asked.get("version", "1"), asked.get("license")
    if not _NAME.fullmatch(name) or max(map(len, name.split("/"))) > MAX_PART:
        raise UsageError(
            f"{name!r} is not a model's name.",
            hint="Names look like ORG/MODEL, with letters, digits, `.`, `_` and `-`: acme/m7b-instruct.",
        )
    if not _VERSION.fullmatch(version):
        raise UsageError(f"{version!r} is not a version.", hint="Versions look like 1, 1.0 or 2026-11-22.")
    if spdx is not None and not _SPDX.fullmatch(spdx):
        raise UsageError(
            f"{spdx!r} is not an SPDX licence expression.",
            hint="For example Apache-2.0, MIT, or LicenseRef-acme for one of your own.",
        )
    for url in asked.get("trackers", ()):
        _check_url(url, ("udp://", "http://", "https://", "ws://", "wss://"), "tracker")
    for url in (*asked.get("web_seeds", ()), *asked.get("torrent_urls", ())):
        _check_url(url, ("http://", "https://"), "web address")
    for earlier in (*asked.get("supersedes", ()), *(named for named, _ in asked.get("revokes", ()))):
        payload_of(earlier)


def _check_url(url: str, schemes: tuple[str, ...], what: str) -> None:
    if not url.startswith(schemes) or any(ord(char) <= 32 for char in url):
        raise UsageError(f"{url!r} is not a {what}.", hint=f"It must begin with one of {', '.join(schemes)}.")
    if "@" in url.split("/")[2]:
        raise UsageError(f"The {what} {url!r} holds a name or password, which everybody would see.")
