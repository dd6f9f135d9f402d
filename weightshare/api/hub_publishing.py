"""`publish --hub`: the snapshot that the Hub's cache holds becomes a release, where it lies.

    ORG/MODEL@REV -> commit -> snapshot in the cache -> whole? (else download) -> hash -> the same as the Hub's? -> sign

Nothing is written into the cache except by huggingface_hub, and only when files are missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass

from weightshare.api.origin import Origin
from weightshare.api.publishing import publish
from weightshare.api.results import HubStanding, Published
from weightshare.errors import CheckpointError, HubUnreachableError, PickleError, ReleaseNotFoundError
from weightshare.hub import cache, model_card
from weightshare.hub.cache import HubName, Snapshot
from weightshare.hub.listing import Listing
from weightshare.hub.settings import HubSettings
from weightshare.manifest.kinds import is_pickle
from weightshare.manifest.text import quoted
from weightshare.swarm.networks import Network, allowed_web_seeds, allows_host
from weightshare.units import format_size

_SHOWN = 10
_CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Wish:
    """What of the Hub is to be published, and how to come by it.

    Attributes:
        name: the repository and its revision.
        partial: publish the files that are in the cache although the Hub has more.
        allow_pickle: whether files that run code when loaded may be among them.
        network: the Hub is not asked where it lies outside.
        bars: whether huggingface_hub may draw its progress on stderr.
        say: told what takes time.
    """

    name: HubName
    partial: bool = False
    allow_pickle: bool = False
    network: Network = Network.PUBLIC
    bars: bool = False
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot that is ready to be published.

    Attributes:
        folder: where it lies.
        origin: for `publish` or `prepare`.
        license: the SPDX expression of the licence that its model card names, None if it names none.
        version: what the release is called unless the publisher says otherwise: the commit's first 12 digits.
        web_seeds: the address of the Hub, where others may ask there.
    """

    folder: Path
    origin: Origin
    license: str | None
    version: str
    web_seeds: tuple[str, ...]


def publish_from_hub(
    hub: str,
    name: str | None = None,
    *,
    partial: bool = False,
    network: str = "public",
    settings: HubSettings | None = None,
    **asked: Any,
) -> Published:
    """Publish the snapshot that the Hub's cache holds of a repository, in place; files that are missing are brought.

    Args:
        hub: `ORG/MODEL` or `ORG/MODEL@REV`, with a branch, a tag or a commit.
        name: what the release is called; None takes the repository's own name.
        partial: publish the files that are in the cache although the Hub has more.
        network: `public`, `lan` or `local`; the Hub is not asked where it lies outside.
        settings: where the Hub and its cache are; None asks the environment.
        **asked: as for `publish`. The version is the commit's first 12 digits and the licence the model card's, unless
            they are named; the Hub is added to the web seeds.

    Raises:
        HubMismatchError: files in the cache are not those that the Hub has.
        ReleaseNotFoundError: the revision is not in the cache and the Hub must not be asked.
        DownloadError: the Hub does not have it, or does not give it to us.
        WeightshareError: as for `publish`.
    """
    wish = Wish(
        HubName.parse(hub),
        partial=partial,
        allow_pickle=bool(asked.get("allow_pickle")),
        network=Network(network),
    )
    taken = take(wish, settings or HubSettings.from_environment())
    asked = {"version": taken.version, "license": taken.license, **asked}
    asked["web_seeds"] = (*asked.get("web_seeds", ()), *taken.web_seeds)
    return publish(taken.folder, name or wish.name.repo, origin=taken.origin, **asked)


def take(wish: Wish, settings: HubSettings) -> Taken:
    """Find the snapshot, ask the Hub about it, and have what is missing brought.

    Raises:
        ReleaseNotFoundError: it is not in the cache and the Hub must not be asked.
        CheckpointError: files are missing and the Hub must not be asked, or could not be.
        PickleError: files are missing, and they run code when loaded.
        DownloadError: the Hub does not have it, or does not give it to us.
        DiskError: the cache cannot be read, or not be completed.
    """
    why = _why_offline(wish, settings)
    notes: list[str] = []
    listing: Listing | None = None
    seedable = True
    snapshot = cache.find(settings, wish.name)
    if why is None:
        try:
            found = _ask(wish, settings, snapshot)
        except HubUnreachableError as error:
            if snapshot is None:
                raise
            why = "the Hub could not be reached"
            notes.append(f"{error.message} The files are published as they are in the cache.")
        else:
            snapshot, listing, seedable = found.snapshot, found.listing, found.open
            notes += found.notes
    if snapshot is None:
        raise _not_here(wish, settings, why or "the Hub was not asked")
    if listing is None:
        _refuse_partial(wish, settings, snapshot, why or "the Hub was not asked")
    seeds = _web_seeds(wish, settings) if seedable else ()
    present = snapshot.present()
    if listing is not None and wish.partial and (lacking := sorted(listing.keys() - present)):
        notes.append(f"the Hub has more at this commit, which is left out: {_names(lacking)}")
    standing = HubStanding(
        repo=wish.name.repo,
        revision=snapshot.commit,
        checked=listing is not None,
        why=why,
        files=len(present & listing.keys()) if listing is not None else 0,
        of=len(listing) if listing is not None else None,
        web_seed=seeds[0] if seeds else None,
    )
    return Taken(
        folder=snapshot.folder.absolute(),
        origin=Origin(standing, listing, tuple(notes)),
        license=model_card.licence_of(snapshot.folder / _CARD),
        version=snapshot.commit[:12],
        web_seeds=seeds,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What asking the Hub has led to."""

    snapshot: Snapshot
    listing: Listing
    open: bool
    notes: tuple[str, ...]


def _ask(wish: Wish, settings: HubSettings, snapshot: Snapshot | None) -> _Found:
    """What the Hub has at the commit; the snapshot completed from it, unless a part is enough."""
    from weightshare.hub import asking, downloading

    name, notes = wish.name, []
    now = asking.revision_of(settings, name)
    if snapshot is None:
        snapshot = cache.at_commit(settings, name.repo, now.commit)
    elif snapshot.commit != now.commit:
        notes.append(
            f"on the Hub {quoted(name.revision)} is now at {now.commit}; published is what the cache has of it, "
            f"{snapshot.commit}. For the newer one: --hub {name.repo}@{now.commit}"
        )
    commit = snapshot.commit if snapshot is not None else now.commit
    listing = asking.listing_of(settings, name.repo, commit)
    present = snapshot.present() if snapshot is not None else frozenset()
    lacking = sorted(listing.keys() - present)
    if snapshot is None or (lacking and not wish.partial):
        _refuse_pickles(wish, lacking)
        wish.say(_announcement(name.repo, commit, listing, lacking, settings.host, had=snapshot is not None))
        if snapshot is None and now.commit == commit:
            downloading.download(settings, name, bars=wish.bars)  # by its name, which the cache then knows
        else:
            downloading.download(settings, HubName(name.repo, commit), bars=wish.bars)
        snapshot = cache.at_commit(settings, name.repo, commit)
        still = sorted(listing.keys() - snapshot.present()) if snapshot is not None else lacking
        if snapshot is None or still:
            raise CheckpointError(
                f"huggingface_hub did not bring all of {name.repo} at {commit}: {_names(still)}.",
                hint="Run the command again.",
                paths=still,
            )
        if lacking != sorted(listing):
            notes.append(f"the cache lacked files of this commit, which were brought: {_names(lacking)}")
    return _Found(snapshot, listing, now.open, tuple(notes))


def _why_offline(wish: Wish, settings: HubSettings) -> str | None:
    """Why the Hub must not be asked; None if it may be."""
    if settings.offline:
        return "offline (HF_HUB_OFFLINE)"
    if not allows_host(wish.network, settings.host):
        return f"offline ({settings.host} lies outside the network allowed, {wish.network})"
    # huggingface_hub would go by the proxy, and that may lie anywhere.
    if wish.network is not Network.PUBLIC and getproxies() and not proxy_bypass(settings.host):
        return f"offline (a proxy is set, and the network allowed is {wish.network}; NO_PROXY may name {settings.host})"
    return None


def _web_seeds(wish: Wish, settings: HubSettings) -> tuple[str, ...]:
    """The address under which clients find `COMMIT/PATH`; none if it lies where the release does not go."""
    return allowed_web_seeds(wish.network, [f"{settings.endpoint}/{wish.name.repo}/resolve/"])


def _refuse_pickles(wish: Wish, lacking: list[str]) -> None:
    """Refuse to bring what would be refused once it is there."""
    pickles = [path for path in lacking if is_pickle(path)]
    if pickles and not wish.allow_pickle:
        raise PickleError(
            f"The cache lacks files of this commit, among them pickle files, which run code when they are loaded: "
            f"{_names(pickles)}. Nothing was downloaded.",
            hint="--partial publishes what the cache has without them (bring the rest with `hf download --exclude`), "
            "--allow-pickle takes them too.",
            paths=pickles,
        )


def _refuse_partial(wish: Wish, settings: HubSettings, snapshot: Snapshot, why: str) -> None:
    """Refuse a snapshot that is known not to be whole, by what the cache itself has of it."""
    if wish.partial:
        return
    listing = cache.kept_listing(snapshot)
    lacking = sorted(listing.keys() - snapshot.present()) if listing is not None else []
    unfinished = cache.unfinished(settings, snapshot.repo) if listing is None else ()
    if not lacking and not unfinished:
        return
    what = (
        _names(lacking)
        if lacking
        else f"downloads that were cut short, or still run ({_names(list(unfinished))})"
    )
    raise CheckpointError(
        f"The cache does not hold all of {snapshot.repo} at {snapshot.commit}: it lacks {what}; {why}.",
        hint=f"Complete it with `hf download {snapshot.repo} --revision {snapshot.commit}`, or publish what is there "
        "with --partial.",
        paths=lacking,
    )


def _not_here(wish: Wish, settings: HubSettings, why: str) -> ReleaseNotFoundError:
    others = cache.commits(settings, wish.name.repo)
    there = f" It has these commits: {', '.join(others[:_SHOWN])}." if others else ""
    return ReleaseNotFoundError(
        f"{wish.name} is not in the cache at {settings.cache}, and it was not downloaded: {why}.{there}",
        hint=f"Name a commit: --hub {wish.name.repo}@COMMIT"
        if others
        else f"Allow the Hub to be asked, or run `hf download {wish.name.repo}`; HF_HUB_CACHE says where the cache is.",
        release=str(wish.name),
    )


def _announcement(
    repo: str, commit: str, listing: Listing, lacking: list[str], host: str, *, had: bool
) -> str:
    size = format_size(sum(listing[path].size for path in lacking))
    what = f"{len(lacking)} missing of {len(listing)} files" if had else f"{len(lacking)} files"
    return f"Downloading {what} of {repo} at {commit[:12]} from {host}, {size}"


def _names(paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(quoted(path) for path in paths[:_SHOWN]) + more
