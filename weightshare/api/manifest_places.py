"""The signed manifest without a peer: from where the `.torrent` was, or from a link's second `xs=`.

The Hub has the weights and not the manifest. So the file `publish` writes for it goes beside the `.torrent`: for
`…/m7b.torrent` it is looked for as `…/m7b.weightshare.json` and `…/weightshare.json`. What is found counts only if it
is, byte for byte, the one whose hash stands in the torrent; the gate then judges it like any other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from weightshare.api.downloads import download
from weightshare.api.sources import Target
from weightshare.errors import DownloadError, ManifestNotFoundError
from weightshare.manifest.merkle import file_root_from_leaves, leaves_of
from weightshare.manifest.metainfo import Info
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.swarm.networks import Network, allowed_urls
from weightshare.units import MAX_ENVELOPE

PATIENCE = 1.0
"""Seconds that peers have to send it first: theirs costs no server anything."""


def beside(url: str) -> tuple[str, ...]:
    """Where a manifest may lie beside a `.torrent`."""
    parts = urlsplit(url)
    folder, _, name = parts.path.rpartition("/")
    stem = name.removesuffix(".torrent")
    names = [f"{stem}.{MANIFEST_NAME}"] if stem and stem != name else []
    return tuple(
        urlunsplit((parts.scheme, parts.netloc, f"{folder}/{one}", parts.query, ""))
        for one in (*names, MANIFEST_NAME)
    )


def places_of(target: Target, network: Network) -> tuple[tuple[str, bool], ...]:
    """URLs at which the manifest may be, best first, and whether each is a stranger's word and not the user's own.

    Web seeds are none of them: nobody asks those before the gate.
    """
    urls = beside(target.origin) if target.origin else ()
    return tuple((url, target.claimed) for url in allowed_urls(network, urls))


def is_own(info: Info, envelope: bytes) -> bool:
    """Whether these bytes are the manifest whose hash stands in the torrent."""
    own = next((file for file in info.files if file.path == MANIFEST_NAME), None)
    return (
        own is not None
        and own.size == len(envelope) <= MAX_ENVELOPE
        and own.pieces_root == file_root_from_leaves(leaves_of(envelope))
    )


def seek(
    target: Target, info: Info, network: Network, stop: Callable[[], bool] = lambda: False
) -> tuple[bytes | None, list[str]]:
    """Look for the manifest wherever it may be; it, if it was found, and what was tried in vain."""
    if target.envelope is not None and is_own(info, target.envelope):
        return target.envelope, []
    tried = []
    if target.envelope is not None:
        tried.append("the manifest that came with the link is of another release")
    for url, claimed in places_of(target, network):
        if stop():
            break
        try:
            found = download(url, network, limit=MAX_ENVELOPE, claimed=claimed)
        except DownloadError as error:
            tried.append(error.message.rstrip("."))
            continue
        if is_own(info, found):
            return found, tried
        tried.append(f"{url} is another manifest")
    return None, tried


def manifest_of(target: Target, info: Info, network: Network) -> bytes:
    """The manifest, where no peer is to be asked.

    Raises:
        ManifestNotFoundError: it is nowhere.
    """
    found, tried = seek(target, info, network)
    if found is None:
        raise ManifestNotFoundError(
            f"The signed manifest is not to be had without peers: {'; '.join(tried) or 'no place is known'}.",
            hint=f"The publisher should put {MANIFEST_NAME} beside the .torrent; or ask peers: "
            "--sources swarm,hub.",
        )
    return found


class Seeker:
    """Looks for the manifest in the background while peers are asked for it; call it to see what there is.

    Args:
        target: what was pasted.
        info: its torrent.
        network: hosts outside it are not asked.
        clock: seconds that never go back.
    """

    def __init__(
        self, target: Target, info: Info, network: Network, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._target = target
        self._info = info
        self._network = network
        self._clock = clock
        self._began = clock()
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._found: bytes | None = None

    def __call__(self) -> bytes | None:
        """The manifest, once it was found; None until then."""
        if self._thread is None and self._clock() - self._began >= PATIENCE:
            self._thread = threading.Thread(target=self._seek, name="manifest", daemon=True)
            self._thread.start()
        return self._found

    def close(self) -> None:
        """Look no further."""
        self._over.set()

    def _seek(self) -> None:
        self._found, _ = seek(self._target, self._info, self._network, self._over.is_set)
