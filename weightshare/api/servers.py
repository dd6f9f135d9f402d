"""Whom a fetch may ask: peers, and by HTTP the Hub that the manifest names and the release's web seeds.

Web seeds are read by us and not by libtorrent. That waits half a minute after each redirect of a torrent of several
files, and asks a server whose signed URLs expire never again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from weightshare.api.sources import Target
from weightshare.api.supplying import Pool, Source, Throttle
from weightshare.errors import SourceError, UsageError
from weightshare.manifest.metainfo import Info
from weightshare.manifest.model import Manifest
from weightshare.swarm.networks import Network, allowed_web_seeds, allows_host

SWARM, HUB = "swarm", "hub"


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom a fetch may ask.

    Attributes:
        swarm: peers, and with them trackers, the DHT and the LAN.
        hub: the Hub, and web seeds.
    """

    swarm: bool = True
    hub: bool = True

    @classmethod
    def read(cls, text: str) -> Sources:
        """What `--sources` says.

        Raises:
            UsageError: it names something else, or nobody.
        """
        names = [name.strip().lower() for name in text.split(",") if name.strip()]
        if not names or set(names) - {SWARM, HUB}:
            odd = next((name for name in names if name not in (SWARM, HUB)), "")
            raise UsageError(
                f"{odd!r} is no source of pieces." if odd else "No source of pieces is named.",
                hint="Give swarm,hub for both, or one of the two.",
            )
        return cls(SWARM in names, HUB in names)


EVERYBODY = Sources()


@contextmanager
def servers_of(
    manifest: Manifest,
    info: Info,
    target: Target,
    network: Network,
    warn: Callable[[str], None],
    env: Mapping[str, str] | None = None,
) -> Iterator[Pool | None]:
    """The servers that have a release's files, as far as the network allows; None where there are none.

    Args:
        manifest: signed, and through the gate.
        info: its torrent.
        target: what was pasted; the web seeds in it are a stranger's word.
        network: hosts outside it are not asked, and on the public one no web seed may lead inside the user's own.
        warn: told of servers that cannot be asked, or turned out useless.
        env: where the Hub is; this process's environment by default.
    """
    throttle = Throttle()
    found: list[Source] = []
    pools: list[Pool] = []

    def waiting(source: str, reason: str, seconds: float) -> None:
        for pool in pools:
            pool.told_to_wait(source, reason, seconds)

    hub = _hub(manifest, network, throttle, waiting, warn, os.environ if env is None else env)
    if hub is not None:
        found.append(hub)
    found += _mirrors(manifest, info, target, network, throttle, waiting)
    if not found:
        yield None
        return
    with Pool(found, throttle, warn) as pool:
        pools.append(pool)
        yield pool


def nobody(manifest: Manifest, network: Network, env: Mapping[str, str] | None = None) -> SourceError:
    """Why there is no server to fetch from, where peers are not to be asked."""
    from weightshare.hub.settings import HubSettings

    if manifest.source is None:
        why = "the manifest names no repository on the Hub, and the release has no web seed that may be asked"
    else:
        settings = HubSettings.from_environment(os.environ if env is None else env)
        why = f"{settings.host} lies outside the network allowed ({network})"
        why = "HF_HUB_OFFLINE is set" if settings.offline else why
    return SourceError(
        f"There is no server to fetch from: {why}.", hint="Ask peers too: --sources swarm,hub."
    )


def _hub(
    manifest: Manifest,
    network: Network,
    throttle: Throttle,
    waiting: Callable[[str, str, float], None],
    warn: Callable[[str], None],
    env: Mapping[str, str],
) -> Source | None:
    if manifest.source is None:
        return None
    from weightshare.api.reach import Reach
    from weightshare.hub.settings import HubSettings
    from weightshare.hub.sources import hub_source

    settings = HubSettings.from_environment(env)
    if settings.offline or not allows_host(network, settings.host):
        return None
    try:
        return hub_source(
            settings,
            manifest.source.hub,
            manifest.source.revision,
            # The endpoint is the user's own word, so it may be on this machine.
            reach=lambda: Reach(network, inside=True),
            throttle=throttle,
            waiting=lambda wait: waiting(wait.source, wait.reason, wait.seconds),
        )
    except SourceError as error:
        warn(error.message)
        return None


def _mirrors(
    manifest: Manifest,
    info: Info,
    target: Target,
    network: Network,
    throttle: Throttle,
    waiting: Callable[[str, str, float], None],
) -> Iterator[Source]:
    from weightshare.api.reach import Reach
    from weightshare.hub.sources import mirror_source

    own = target.torrent.web_seeds if target.torrent is not None else ()
    names: set[str] = set()
    for url in allowed_web_seeds(network, dict.fromkeys((*target.magnet.web_seeds, *own))):
        host = urlsplit(url).netloc.rpartition("@")[2]
        if host in names or (manifest.source is not None and is_repository(url, manifest.source.hub)):
            continue
        names.add(host)
        yield mirror_source(
            url,
            info.name,
            many=True,  # a release has its manifest beside its files
            reach=lambda: Reach(network, inside=network is not Network.PUBLIC),
            throttle=throttle,
            waiting=lambda wait: waiting(wait.source, wait.reason, wait.seconds),
        )


def is_repository(url: str, repo: str) -> bool:
    """Whether a web seed is the repository on the Hub, which is asked as the environment says, token and all."""
    return urlsplit(url).path.rstrip("/") == f"/{repo}/resolve"
