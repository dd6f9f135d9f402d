"""What `publish`, `publish --prepare` and `sign` made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weightshare.content.embargoes import Embargo


@dataclass(frozen=True, slots=True)
class HubStanding:
    """How the files of a release stand to what the Hub has at the commit they came from.

    Attributes:
        repo: `ORG/MODEL`.
        revision: the commit.
        checked: whether every file was held against the Hub's digests, and is the same.
        why: why not, where it was not.
        files: number of files that were compared.
        of: number of files that the Hub has at this commit, where it is known.
        web_seed: the address in the torrent at which the Hub serves them, None if it has none.
    """

    repo: str
    revision: str
    checked: bool
    why: str | None = None
    files: int = 0
    of: int | None = None
    web_seed: str | None = None

    @property
    def said(self) -> str:
        """For people."""
        if not self.checked:
            return f"not checked: {self.why}"
        part = f" ({self.files} of its {self.of} files)" if self.of != self.files else ""
        return f"matches the Hub at commit {self.revision}{part}"

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "repo": self.repo,
            "revision": self.revision,
            "checked": self.checked,
            "why": self.why,
            "said": self.said,
            "files": self.files,
            "of": self.of,
            "web_seed": self.web_seed,
        }


@dataclass(frozen=True, slots=True)
class Published:
    """What `publish` made.

    Attributes:
        release: `ORG/MODEL@VERSION`.
        publisher: fingerprint of the signing key.
        publisher_name: the name that key is pinned under.
        magnet: the link to post, unquoted.
        torrent: the `.torrent` file.
        manifest: the signed manifest (`weightshare.json`).
        v1_twin: the plain v1 torrent for old clients, if asked for.
        sshsig: the detached SSH signature over the manifest, if asked for.
        info_hash_v2: hex.
        info_hash_v1: hex, None for v2-only.
        path: the folder that was published, which is served in place.
        files: number of files, the manifest not counted.
        bytes: their size.
        seconds: time spent hashing and signing.
        warnings: what a careful publisher wants to know.
        oms: the OpenSSF Model Signing signature (`model.sig`), if asked for.
        hub: how the files stand to what the Hub has, if they came from there.
        embargo: who alone may have it until it is announced, None for everybody. `magnet` is then the mirrors' link.
    """

    release: str
    publisher: str
    publisher_name: str | None
    magnet: str
    torrent: Path
    manifest: Path
    v1_twin: Path | None
    info_hash_v2: str
    info_hash_v1: str | None
    path: Path
    files: int
    bytes: int
    seconds: float
    warnings: tuple[str, ...] = ()
    sshsig: Path | None = None
    oms: Path | None = None
    hub: HubStanding | None = None
    embargo: Embargo | None = None

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "magnet": self.magnet,
            "torrent": str(self.torrent),
            "manifest": str(self.manifest),
            "v1_twin": str(self.v1_twin) if self.v1_twin else None,
            "sshsig": str(self.sshsig) if self.sshsig else None,
            "oms": str(self.oms) if self.oms else None,
            "info_hash_v2": self.info_hash_v2,
            "info_hash_v1": self.info_hash_v1,
            "path": str(self.path),
            "files": self.files,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
            "hub": self.hub.to_json() if self.hub else None,
            "embargo": {"allow": list(self.embargo.allow), "opens": self.embargo.opens}
            if self.embargo
            else None,
        }


@dataclass(frozen=True, slots=True)
class Tally:
    """How many keys have signed a manifest, how many must, and how many may."""

    signed: int
    threshold: int
    keys: int

    @property
    def missing(self) -> int:
        """How many signatures are still to come."""
        return max(0, self.threshold - self.signed)

    def to_json(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "signed": self.signed,
            "threshold": self.threshold,
            "keys": self.keys,
            "missing": self.missing,
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """A team's manifest that is to be signed: what `publish --prepare` made, or `sign` signed.

    Attributes:
        release: `ORG/MODEL@VERSION`.
        publisher: the team's identity.
        publisher_name: the team's name.
        manifest: the file to pass on.
        payload_sha256: what is signed, in hex; the same for every maintainer.
        tally: who has signed so far.
        files: number of files.
        bytes: their size.
        seconds: time it took.
        warnings: what a careful publisher wants to know.
        hub: how the files stand to what the Hub has, if they came from there.
    """

    release: str
    publisher: str
    publisher_name: str
    manifest: Path
    payload_sha256: str
    tally: Tally
    files: int
    bytes: int
    seconds: float
    warnings: tuple[str, ...] = ()
    hub: HubStanding | None = None

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "manifest": str(self.manifest),
            "payload_sha256": self.payload_sha256,
            "signatures": self.tally.to_json(),
            "files": self.files,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
            "hub": self.hub.to_json() if self.hub else None,
        }
