"""The range sources there are: a repository on the Hub, and mirrors that a torrent names as web seeds."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlsplit

from weightshare.errors import SourceError
from weightshare.hub.backoff import Patience, Waiting
from weightshare.hub.connections import Proxies, Reach, environment_proxy
from weightshare.hub.ranges import HUB, RangeSource
from weightshare.hub.settings import HubSettings


def hub_source(
    settings: HubSettings,
    repo: str,
    revision: str,
    *,
    reach: Callable[[], Reach],
    throttle: Callable[[int], float] | None = None,
    patience: Patience | None = None,
    proxies: Proxies = environment_proxy,
    waiting: Callable[[Waiting], None] | None = None,
) -> RangeSource:
    """A repository of models on the Hub, at one revision; named `hub`.

    Args:
        settings: where the Hub is, and the token, which goes to no other host.
        repo: `ORG/MODEL`, as the manifest's source says.
        revision: a commit; branches move.
        reach: see RangeSource.
        throttle: see RangeSource.
        patience: see RangeSource.
        proxies: see RangeSource.
        waiting: see RangeSource.

    Raises:
        SourceError: the environment says not to ask the Hub.
    """
    if settings.offline:
        raise SourceError(
            "The Hub must not be asked: HF_HUB_OFFLINE is set.",
            hint="Unset HF_HUB_OFFLINE, or fetch from peers alone.",
            url=settings.endpoint,
            fatal=True,
        )
    return RangeSource(
        HUB,
        lambda path: settings.resolve_url(repo, revision, path),
        reach=reach,
        token=settings.token,
        throttle=throttle,
        patience=patience,
        proxies=proxies,
        waiting=waiting,
    )


def mirror_source(
    url: str,
    torrent: str,
    *,
    many: bool,
    reach: Callable[[], Reach],
    throttle: Callable[[int], float] | None = None,
    patience: Patience | None = None,
    proxies: Proxies = environment_proxy,
    waiting: Callable[[Waiting], None] | None = None,
) -> RangeSource:
    """A web seed (BEP 19); named by its host.

    Args:
        url: as the torrent or the magnet has it.
        torrent: the torrent's name.
        many: whether the torrent has several files, which then lie in a folder of its name.
        reach: see RangeSource.
        throttle: see RangeSource.
        patience: see RangeSource.
        proxies: see RangeSource.
        waiting: see RangeSource.
    """
    return RangeSource(
        urlsplit(url).netloc.rpartition("@")[2],
        lambda path: web_seed_url(url, torrent, path, many=many),
        reach=reach,
        throttle=throttle,
        patience=patience,
        proxies=proxies,
        waiting=waiting,
    )


def web_seed_url(url: str, torrent: str, path: str, *, many: bool) -> str:
    """Where a web seed has a file (BEP 19).

    Args:
        url: as the torrent or the magnet has it.
        torrent: the torrent's name.
        path: the file's in the torrent, below its name.
        many: whether the torrent has several files.
    """
    if many:
        return f"{url.rstrip('/')}/{quote(torrent)}/{quote(path)}"
    return url + quote(torrent) if url.endswith("/") else url
