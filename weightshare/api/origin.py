"""Where on the Hub the files of a release come from, and what they are held against before it is signed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from weightshare.api.results import HubStanding
from weightshare.content.gathering import FileHashes
from weightshare.content.walk import SourceFile
from weightshare.hub import crosscheck
from weightshare.hub.listing import Listing
from weightshare.manifest.model import Source


@dataclass(frozen=True, slots=True)
class Origin:
    """A commit of a repository on the Hub.

    Attributes:
        standing: how the files stand to what the Hub has, once `before` and `after` did not object.
        listing: what the Hub has, None if it was not asked.
        notes: what the publisher should know.
    """

    standing: HubStanding
    listing: Listing | None = None
    notes: tuple[str, ...] = ()

    def before(self, files: Iterable[SourceFile]) -> Source:
        """Hold names and sizes against the Hub's, before an hour goes into hashing; returns what to sign.

        Raises:
            HubMismatchError: they differ.
        """
        if self.listing is not None:
            sizes = [(file.path, file.size) for file in files]
            crosscheck.refuse_sizes(
                self.listing, sizes, repo=self.standing.repo, commit=self.standing.revision
            )
        return Source(self.standing.repo, self.standing.revision)

    def after(self, files: Iterable[tuple[SourceFile, FileHashes]]) -> None:
        """Hold the bytes against the Hub's.

        Raises:
            HubMismatchError: they differ.
            CheckpointError: a file changed after it was hashed.
            DiskError: one cannot be read.
        """
        if self.listing is None:
            return
        held = [crosscheck.Held(file.path, file.location, found.size, found.sha256) for file, found in files]
        crosscheck.refuse_bytes(self.listing, held, repo=self.standing.repo, commit=self.standing.revision)
