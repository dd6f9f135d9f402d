"""What a user may name as an old torrent: a link with whatever info-hash, a `.torrent`, by path or URL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from weightshare.api.downloads import download
from weightshare.api.sources import is_file, parse
from weightshare.errors import DownloadError, IntegrityError, ReleaseNotFoundError, UsageError
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.magnet_repair import repair
from weightshare.manifest.plain import PlainTorrent, check_named, read_plain_torrent
from weightshare.swarm.networks import Network, allowed_urls
from weightshare.units import MAX_TORRENT

_URL = ("http://", "https://")
_WHAT = "Give a magnet link in quotes, an info-hash, or a .torrent."


@dataclass(frozen=True, slots=True)
class OldTarget:
    """What is to be fetched.

    Attributes:
        magnet: at least one info-hash; trackers, peers and the signer's fingerprint where they are known.
        torrent: the `.torrent`, where the source was one or the link said where to get it.
        notes: what was tried and did not work.
    """

    magnet: Magnet
    torrent: PlainTorrent | None = None
    notes: tuple[str, ...] = ()


def resolve_old(source: str, network: Network) -> OldTarget:
    """Find out what a source names; asks URLs, never the swarm.

    Raises:
        UsageError, MagnetError: it names nothing.
        MetainfoError, UnsafePathError: a `.torrent` that breaks a rule.
        DownloadError: a URL did not answer.
    """
    text = source.strip()
    if text.lower().startswith(_URL):
        return _of_torrent(download(text, network, limit=MAX_TORRENT), text)
    if not text.lower().startswith("magnet:"):
        path = Path(text).expanduser()
        if is_file(str(path)):
            if path.stat().st_size > MAX_TORRENT:
                raise UsageError(f"{path} is too large to be a .torrent.")
            return _of_torrent(path.read_bytes(), text)
    repaired = repair(text)
    is_magnet = repaired.text.lower().startswith("magnet:")
    if not is_magnet and (text.endswith(".torrent") or "/" in text):
        raise ReleaseNotFoundError(f"There is no file {text!r}.", hint=_WHAT, release=text)
    return _with_sources(OldTarget(parse(repaired), notes=repaired.notes), network)


def _of_torrent(data: bytes, name: str) -> OldTarget:
    if data[:1] != b"d":
        raise UsageError(f"{name} is no .torrent.", hint=_WHAT)
    torrent = read_plain_torrent(data)
    return OldTarget(torrent.magnet, torrent)


def _with_sources(target: OldTarget, network: Network) -> OldTarget:
    """The target with its `.torrent`, if the link says where to get one (`xs=`) and it is there."""
    notes = [*target.notes]
    for url in allowed_urls(network, target.magnet.sources):
        try:
            torrent = read_plain_torrent(download(url, network, limit=MAX_TORRENT, claimed=True))
            check_named(torrent.plain, target.magnet)
        except (DownloadError, IntegrityError) as error:
            notes.append(f"xs: {error.message}")
            continue
        return replace(target, torrent=torrent)
    return replace(target, notes=tuple(notes))
