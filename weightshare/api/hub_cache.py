"""Whether a fetch is to end in the cache of huggingface_hub, and where there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from weightshare.content.store import Record, Store
from weightshare.errors import FileInTheWayError, TreeMismatchError, UsageError
from weightshare.files import existing
from weightshare.hub.cache_layout import Cached, possible
from weightshare.hub.settings import HubSettings
from weightshare.manifest.model import Manifest
from weightshare.trust.gate import VerifiedManifest

ELSEWHERE = "Without --hf-cache, or with --no-hf-cache, it goes into the store."


@dataclass(frozen=True, slots=True)
class HubCache:
    """Whether a fetch is to end in the Hub's cache.

    Attributes:
        use: None for yes, if the manifest names a Hub repository and commit and the cache is there to be written to.
        move_main: let `main` lead to the release's commit even if it leads to another one now.
        settings: where the cache is; None asks the environment, when it matters.
    """

    use: bool | None = None
    move_main: bool = False
    settings: HubSettings | None = None

    def folder(self) -> Path:
        """The cache, whether or not it is there."""
        return (self.settings or HubSettings.from_environment()).cache.expanduser().resolve()

    def fits(self, store: Store, record: Record) -> bool:
        """Whether what an earlier run began or finished without a folder's name is what is asked for now."""
        if self.use is None:
            return True
        if not self.use:
            return store.cached(record) is None
        known = record.kind == "published" or store.cached(record) is not None
        return known and record.path.is_relative_to(self.folder())

    def place(self, store: Store, verified: VerifiedManifest) -> Cached | None:
        """Where in the cache a release goes that is not there yet; None for the store.

        Raises:
            UsageError: it is to go there, and its manifest does not say which Hub repository it is.
            FileInTheWayError: it is to go there, and was published from that very snapshot.
            TreeMismatchError: the Hub has said that it is not what the manifest says.
        """
        if self.use is False:
            return None
        source, release = verified.manifest.source, verified.release
        if source is None or not possible(source.hub, source.revision):
            if self.use is None:
                return None
            raise UsageError(
                f"{release} cannot go into the Hub's cache: "
                + (
                    "its manifest names no Hub repository."
                    if source is None
                    else f"{source.hub} is no name there."
                ),
                hint=ELSEWHERE,
            )
        folder = self.folder()
        cached = Cached(folder, source.hub, source.revision)
        if self.use is None and not (folder.is_dir() and os.access(existing(cached.snapshot), os.W_OK)):
            return None
        if any(one.kind == "published" for one in store.at(cached.snapshot)):
            if self.use is None:
                return None
            raise FileInTheWayError(
                f"{release} was published from {cached.snapshot}, and nothing is ever written there.",
                hint="Bring the original files back, or fetch it with --no-hf-cache.",
                path=str(cached.snapshot),
                paths=[],
            )
        _check_listing(cached, verified.manifest)
        return cached


def _check_listing(cached: Cached, manifest: Manifest) -> None:
    """Hold the manifest against what the Hub has told huggingface_hub about the commit.

    Files that the Hub lacks are no reason to doubt: a publisher may add a signature of another kind.
    """
    listing = cached.listing()
    for entry in manifest.files:
        listed = listing.get(entry.path)
        if listed is None or listed.sha256 in (None, entry.sha256.hex()):
            continue
        raise TreeMismatchError(
            f"The release is not {cached.repo} at {cached.commit[:12]}, as its publisher says: by the Hub's own "
            f"listing, kept in {cached.folder}, {entry.path} has the SHA-256 {listed.sha256} there, and the signed "
            f"manifest says {entry.sha256.hex()}.",
            hint="Ask the publisher. With --no-hf-cache it goes into the store, and no library takes it for the Hub's.",
            path=entry.path,
        )
