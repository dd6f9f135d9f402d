"""The range sources there are: a repository on the Hub, and mirrors that a torrent names as web seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Required, TypedDict, Unpack
from urllib.parse import quote, urlsplit

from weightshare.errors import SourceError
from weightshare.hub.backoff import Patience, Waiting
from weightshare.hub.connections import Proxies, Reach
from weightshare.hub.ranges import HUB, RangeSource
from weightshare.hub.settings import HubSettings


class Manner(TypedDict, total=False):
    """How servers are asked, as RangeSource takes it."""

    reach: Required[Callable[[], Reach]]
    throttle: Callable[[int], float] | None
    patience: Patience | None
    proxies: Proxies
    waiting: Callable[[Waiting], None] | None


def hub_source(
    settings: HubSettings,
    repo: str,
    revision: str,
    **manner: Unpack[Manner],
) -> RangeSource:
    """A repository of models on the Hub, at one revision; named `hub`.

    Args:
        settings: where the Hub is, and the token, which goes to no other host.
        repo: `ORG/MODEL`, as the manifest's source says.
        revision: a commit; branches move.
        manner: see RangeSource.

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
        token=settings.token,
        **manner,
    )


def mirror_source(
    url: str,
    torrent: str,
    *,
    many: bool,
    **manner: Unpack[Manner],
) -> RangeSource:
    """A web seed (BEP 19); named by its host.

    Args:
        url: as the torrent or the magnet has it.
        torrent: the torrent's name.
        many: whether the torrent has several files, which then lie in a folder of its name.
        manner: see RangeSource.
    """
    return RangeSource(
        urlsplit(url).netloc.rpartition("@")[2],
        lambda path: web_seed_url(url, torrent, path, many=many),
        **manner,
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
