"""What a user may name as the source of a release, turned into what the swarm and the gate need.

A magnet link, a v2 info-hash, a `.torrent` (path or URL), or a signed manifest (path or URL). All are claims: the gate
decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from weightshare.api.downloads import download
from weightshare.errors import (
    DownloadError,
    IntegrityError,
    MagnetError,
    MetainfoError,
    ReleaseNotFoundError,
    UnsignedError,
    UsageError,
)
from weightshare.manifest import magnet as magnets
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.magnet_repair import Repaired, repair
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
        notes: how the link was repaired and what of it is lost; what was tried and did not work.
        envelope: the signed manifest, where the link or a file beside the source gave one; a claim.
        origin: the URL that the `.torrent` came from, empty if from none.
        claimed: whether that URL is a stranger's word.
    """

    magnet: Magnet
    torrent: Torrent | None = None
    notes: tuple[str, ...] = ()
    envelope: bytes | None = None
    origin: str = ""
    claimed: bool = False

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
        data = download(text, network, limit=MAX_TORRENT)
        if data[:1] == b"{":
            return _from_manifest(data, text, network)
        return replace(_from_bytes(data, text), origin=text)
    if not text.lower().startswith("magnet:") and is_file(text):
        return _from_file(Path(text))
    repaired = repair(text)
    is_magnet = repaired.text.lower().startswith("magnet:")
    if not is_magnet and (text.endswith((".torrent", ".json")) or "/" in text):
        raise ReleaseNotFoundError(
            f"There is no file {text!r}.",
            hint="Give a magnet link in quotes, an info-hash, a .torrent or a manifest.",
            release=text,
        )
    magnet = parse(repaired)
    if magnet.v2_hash is None:
        raise UnsignedError(
            "This link has only a v1 (SHA-1) info-hash, and no signed release can be proven by one.",
            hint=f"Ask the publisher for the magnet that `weightshare publish` prints; it has `xt=urn:btmh:`. {_OLD}",
        )
    return _with_sources(Target(magnet, notes=repaired.notes), network)


def parse(repaired: Repaired) -> Magnet:
    """Read a link that was repaired as far as it could be.

    Raises:
        MagnetError: it holds no info-hash, or contradicts itself; where repair had to leave something out, it is said.
    """
    try:
        return magnets.parse(repaired.text)
    except MagnetError as error:
        if not repaired.dropped:
            raise
        raise MagnetError(
            f"This link cannot be repaired: it has lost {'; '.join(repaired.dropped)}.",
            hint="Copy it again from where it was first posted; a hash is not guessed.",
        ) from error


def is_file(text: str) -> bool:
    """Whether a text names a file; one that is too long to be a name does not."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def _from_manifest(envelope: bytes, url: str, network: Network) -> Target:
    """The release whose manifest a URL gave, by the `.torrent` that lies beside it, as `publish --out` names them."""
    parts = urlsplit(url)
    stem = parts.path.removesuffix(MANIFEST_NAME).removesuffix(".")
    torrent = b""
    if stem != parts.path and not stem.endswith("/"):
        place = urlunsplit((parts.scheme, parts.netloc, f"{stem}.torrent", parts.query, ""))
        torrent = download(place, network, limit=MAX_TORRENT)
        if _carries(torrent, envelope):
            return replace(_from_bytes(torrent, place), origin=place, envelope=envelope)
    raise UsageError(
        f"{url} says who made the release, but a manifest can't name its own info-hash.",
        hint="Fetch by the .torrent or the magnet.",
    )


def _from_file(path: Path) -> Target:
    if path.stat().st_size > MAX_TORRENT:
        raise UsageError(f"{path} is too large to be a .torrent or a manifest.")
    data = path.read_bytes()
    if data[:1] != b"{":
        return replace(_from_bytes(data, str(path)), envelope=_beside(path))
    beside = [torrent for torrent in sorted(path.parent.glob("*.torrent")) if is_of(torrent, data)]
    if not beside:
        raise UsageError(
            f"{path} says who made the release, but a manifest can't name its own info-hash.",
            hint="Put the .torrent beside it, or fetch by the magnet.",
        )
    return replace(_from_bytes(beside[0].read_bytes(), str(beside[0])), envelope=data)


def _beside(torrent: Path) -> bytes | None:
    """The manifest that lies beside a `.torrent`, as `publish --out` puts it there; it may be another one."""
    for place in (torrent.with_suffix(f".{MANIFEST_NAME}"), torrent.with_name(MANIFEST_NAME)):
        try:
            if place.stat().st_size <= MAX_ENVELOPE:
                return place.read_bytes()
        except OSError:
            continue
    return None


def is_of(torrent: Path, envelope: bytes) -> bool:
    """Whether a `.torrent` carries just this manifest.

    Raises:
        ManifestError: it is no signed manifest.
    """
    return _carries(torrent.read_bytes(), envelope)


def _carries(torrent: bytes, envelope: bytes) -> bool:
    from weightshare.manifest.merkle import file_root_from_leaves, leaves_of

    if len(envelope) > MAX_ENVELOPE:
        return False
    Envelope.parse(envelope)
    try:
        info = parse_torrent(torrent).info
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
        if not error.facts.get("v1"):
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
    """The target with its `.torrent` and manifest, if the magnet says where to get them (`xs=`) and they are there."""
    notes = [*target.notes]
    for url in allowed_urls(network, target.magnet.sources):
        named = urlsplit(url).path.endswith(".json")
        if target.torrent is not None and (target.envelope is not None or not named):
            continue  # another place of the same
        try:
            data = download(url, network, limit=MAX_TORRENT, claimed=True)
            if data[:1] == b"{":
                target = replace(target, envelope=target.envelope or data)
                continue
            torrent = parse_torrent(data)
        except (DownloadError, MetainfoError) as error:
            notes.append(f"xs: {error.message}")
            continue
        if torrent.info.v2_hash != target.magnet.v2_hash:
            notes.append(f"xs: {url} is another torrent")
        elif target.torrent is None:
            target = replace(target, torrent=torrent, origin=url, claimed=True)
    return target if target.torrent is not None else replace(target, notes=tuple(notes))
