"""What a user may name as the source of a release, turned into what the swarm and the gate need.

A magnet link, a v2 info-hash, a `.torrent` (path or URL), or a signed manifest (path or URL). All are claims: the gate
decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from weightshare.api.downloads import download
from weightshare.errors import (
    DownloadError,
    IntegrityError,
    MetainfoError,
    ReleaseNotFoundError,
    UnsignedError,
    UsageError,
)
from weightshare.manifest import magnet as magnets
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.metainfo import Torrent, parse_torrent
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.swarm.networks import Network, allowed_urls
from weightshare.units import MAX_ENVELOPE, MAX_TORRENT

_URL = ("http://", "https://")
_OLD = (
    "An old torrent is proven by a manifest that somebody signed for it (--manifest), or taken without a proof "
    "(--unsigned)."
)


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be fetched.

    Attributes:
        magnet: at least the v2 info-hash; trackers, peers and the publisher's fingerprint where they are known.
        torrent: the `.torrent`, where the source was one or the magnet said where to get it; unproven.
        notes: what was tried and did not work.
    """

    magnet: Magnet
    torrent: Torrent | None = None
    notes: tuple[str, ...] = ()

    @property
    def v2_hash(self) -> bytes:
        """The release's identity: SHA-256 of the info dictionary."""
        if self.magnet.v2_hash is None:
            raise AssertionError("a target has a v2 info-hash")
        return self.magnet.v2_hash


def resolve(source: str, network: Network) -> Target:
    """Find out what a source names; asks `xs=` and other URLs, never the swarm.

    Raises:
        UsageError, MagnetError: it names nothing.
        UnsignedError: it can name no signed release, as it has only a v1 info-hash.
        MetainfoError: a `.torrent` that does not hold, or is not the magnet's.
        DownloadError: a URL did not answer.
    """
    text = source.strip()
    if text.lower().startswith(_URL):
        return _from_bytes(download(text, network, limit=MAX_TORRENT), text)
    if not text.lower().startswith("magnet:") and Path(text).is_file():
        return _from_file(Path(text))
    if not text.lower().startswith("magnet:") and (text.endswith((".torrent", ".json")) or "/" in text):
        raise ReleaseNotFoundError(
            f"There is no file {text!r}.",
            hint="Give a magnet link in quotes, an info-hash, a .torrent or a manifest.",
            release=text,
        )
    magnet = magnets.parse(text)
    if magnet.v2_hash is None:
        raise UnsignedError(
            "This link has only a v1 (SHA-1) info-hash, and no signed release can be proven by one.",
            hint=f"Ask the publisher for the magnet that `weightshare publish` prints; it has `xt=urn:btmh:`. {_OLD}",
        )
    return _with_sources(Target(magnet), network)


def _from_file(path: Path) -> Target:
    if path.stat().st_size > MAX_TORRENT:
        raise UsageError(f"{path} is too large to be a .torrent or a manifest.")
    data = path.read_bytes()
    if data[:1] != b"{":
        return _from_bytes(data, str(path))
    beside = [torrent for torrent in sorted(path.parent.glob("*.torrent")) if _is_of(torrent, data)]
    if not beside:
        raise UsageError(
            f"{path} says who made the release, but a manifest can't name its own info-hash.",
            hint="Put the .torrent beside it, or fetch by the magnet.",
        )
    return _from_bytes(beside[0].read_bytes(), str(beside[0]))


def _is_of(torrent: Path, envelope: bytes) -> bool:
    """Whether a torrent carries just this manifest."""
    from weightshare.manifest.merkle import file_root_from_leaves, leaves_of

    if len(envelope) > MAX_ENVELOPE:
        return False
    Envelope.parse(envelope)
    try:
        info = parse_torrent(torrent.read_bytes()).info
    except IntegrityError:
        return False
    root = file_root_from_leaves(leaves_of(envelope))
    return any(file.path == MANIFEST_NAME and file.pieces_root == root for file in info.files)


def _from_bytes(data: bytes, name: str) -> Target:
    if data[:1] != b"d":
        raise UsageError(
            f"{name} is neither a .torrent nor a signed manifest.",
            hint="Give a magnet link in quotes, an info-hash, a .torrent or a manifest.",
        )
    try:
        torrent = parse_torrent(data)
    except MetainfoError as error:
        if error.facts.get("field") != "meta version":
            raise
        raise UnsignedError(
            f"{name} is a v1 torrent, and no signed release can be proven by one.", hint=_OLD
        ) from error
    info = torrent.info
    if all(file.path != MANIFEST_NAME for file in info.files):
        raise UnsignedError(
            f"The torrent {info.name!r} carries no {MANIFEST_NAME}: nobody signed it.",
            hint="--unsigned takes it all the same, and proves nothing; it is kept apart from the releases.",
        )
    magnet = Magnet(v2_hash=info.v2_hash, v1_hash=info.v1_hash, name=info.name, trackers=torrent.trackers)
    return Target(replace(magnet, web_seeds=torrent.web_seeds), torrent)


def _with_sources(target: Target, network: Network) -> Target:
    """The target with its `.torrent`, if the magnet says where to get one (`xs=`) and it is there."""
    notes = []
    for url in allowed_urls(network, target.magnet.sources):
        try:
            torrent = parse_torrent(download(url, network, limit=MAX_TORRENT, claimed=True))
        except (DownloadError, MetainfoError) as error:
            notes.append(f"xs: {error.message}")
            continue
        if torrent.info.v2_hash == target.magnet.v2_hash:
            return replace(target, torrent=torrent)
        notes.append(f"xs: {url} is another torrent")
    return replace(target, notes=tuple(notes))
