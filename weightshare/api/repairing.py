"""Repair: of a release that is damaged on this disk, the pieces that are not as signed are fetched anew.

What is sound in a damaged file is copied beside it and proven there, the rest comes from the swarm, and the whole takes
the damaged file's place at once. Who has the old file open, or mapped, keeps the old bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from glob import escape

from weightshare.api.fetching import fetch
from weightshare.api.offering import Located
from weightshare.api.old.offers import ADOPTED_TORRENT
from weightshare.api.old.proving import fetch_adopted
from weightshare.api.old.swarming import Reach
from weightshare.api.results import Fetched
from weightshare.content.home import Home
from weightshare.content.receipts import void_receipts
from weightshare.content.store import Store
from weightshare.errors import StoreError
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.progress import Observer, ignore
from weightshare.swarm.networks import Network
from weightshare.swarm.torrent import Peer


def _unwarned(_: str) -> None:
    """Nobody is warned."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where pieces may come from; see `fetch` for each."""

    network: str = Network.PUBLIC
    peers: Sequence[Peer] = ()
    dht_nodes: Sequence[Peer] = ()
    port: int | None = None
    timeout: float = 300.0
    on_warning: Callable[[str], None] = _unwarned


def repair(
    located: Located,
    damaged: Collection[str],
    sources: Sources,
    *,
    home: Home,
    trust: Sequence[str] = (),
    observe: Observer = ignore,
) -> Fetched:
    """Fetch what is damaged or missing of a release that was fetched before, and nothing else.

    Every file of it is hashed on the way, so one that was not known to be damaged is repaired too.

    Args:
        located: the release.
        damaged: paths of files that are known not to be as signed; nobody trusts their receipts from now on.
        sources: whom to ask.
        home: where the store is.
        trust: fingerprints to pin if the publisher is unknown.
        observe: told how it goes.

    Raises:
        StoreError: the store has never seen the folder, or it is a publisher's own, which is never written to.
        NetworkError: too little came in time; resumable.
        TrustError, IntegrityError, StoreError: as `fetch` does.
    """
    store, record, release = Store(home), located.record, located.verified.release
    if record is None:
        raise StoreError(
            f"{release} in {located.folder} cannot be repaired: it did not come here by `weightshare fetch`.",
            hint="Fetch it into that folder by its link, with --force: what is sound is kept.",
            path=str(located.folder),
        )
    if record.kind == "published":
        raise StoreError(
            f"{release} was published from {located.folder}, and nothing is ever written there.",
            hint="Bring the original files back, or fetch the release into another folder.",
            path=str(located.folder),
        )
    state = store.folder(record)
    void_receipts(state / "receipts.json", damaged)
    if record.adopted:
        return fetch_adopted(
            str(state / ADOPTED_TORRENT),
            state / MANIFEST_NAME,
            record.path,
            home=home,
            trust=trust,
            allow_pickle=True,
            reach=Reach(
                sources.network,
                sources.port,
                sources.peers,
                sources.dht_nodes,
                sources.timeout,
                on_warning=sources.on_warning,
            ),
            observe=observe,
        )
    torrent = state / "release.torrent"
    return fetch(
        str(torrent) if torrent.exists() else record.info_hash_v2,
        record.path,
        home=home,
        trust=trust,
        include=[escape(path) for path in record.selected or ()],
        allow_pickle=True,  # it was accepted when it was fetched; whether it is loaded is another question
        network=sources.network,
        peers=sources.peers,
        dht_nodes=sources.dht_nodes,
        port=sources.port,
        timeout=sources.timeout,
        on_warning=sources.on_warning,
        observe=observe,
    )
