"""What the verbs return.

`to_json` gives the documented keys; more may be added, none is removed within a major version.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

Json = dict[str, object]


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

    def to_json(self) -> Json:
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

    def to_json(self) -> Json:
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

    def to_json(self) -> Json:
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
        }


@dataclass(frozen=True, slots=True)
class MirrorVouch:
    """A known mirror that vouches for a release's bytes; `verified_at` is RFC 3339 in UTC, by the mirror's clock."""

    name: str
    fingerprint: str
    verified_at: str

    def to_json(self) -> Json:
        """One element of `mirrors`."""
        return {"name": self.name, "fingerprint": self.fingerprint, "verified_at": self.verified_at}


@dataclass(frozen=True, slots=True)
class Received:
    """Where the bytes of a fetch came from: file bytes, each counted as often as it was taken."""

    swarm: int = 0
    hub: int = 0
    reused: int = 0


@dataclass(frozen=True, slots=True)
class Fetched:
    """What `fetch` brought. `path` is the folder that holds the files; `complete` is false after `--include`."""

    release: str
    publisher: str
    publisher_name: str | None
    path: Path
    bytes: int
    files: int
    seconds: float
    received: Received
    info_hash_v2: str
    complete: bool = True
    warnings: tuple[str, ...] = ()
    mirrors: tuple[MirrorVouch, ...] = ()

    def to_json(self) -> Json:
        """The JSON result."""
        return {
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "path": str(self.path),
            "bytes": self.bytes,
            "files": self.files,
            "seconds": round(self.seconds, 3),
            "received": {
                "swarm": self.received.swarm,
                "hub": self.received.hub,
                "reused": self.received.reused,
            },
            "info_hash_v2": self.info_hash_v2,
            "complete": self.complete,
            "mirrors": [mirror.to_json() for mirror in self.mirrors],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """One file's verdict; `problem` is None when `ok`. `bad_pieces` are piece indices within the file."""

    path: str
    ok: bool
    problem: str | None = None
    bad_pieces: tuple[int, ...] = ()
    expected: str | None = None
    found: str | None = None


@dataclass(frozen=True, slots=True)
class OmsFacts:
    """How an OpenSSF Model Signing signature was made.

    Attributes:
        method: `key`, `certificate` or `sigstore`.
        serialization: `files` or `shards`.
        hash: `sha256` or `blake2b`.
        checked_by: `weightshare`, or `model_signing` where the check was handed over.
    """

    method: str
    serialization: str
    hash: str
    checked_by: str = "weightshare"


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` or `verify_oms` found.

    Of the latter `release` is None, `publisher` the SHA-256 (hex) of the key's PEM text or of the certificate, and
    `piece_length` the size of a shard, which `bad_pieces` then count; 0 for whole files. `sshsig` is the fingerprint
    whose detached SSH signature was demanded and held.
    """

    ok: bool
    release: str | None
    publisher: str
    publisher_name: str | None
    path: Path
    files: tuple[FileVerdict, ...]
    bytes: int
    seconds: float
    piece_length: int
    warnings: tuple[str, ...] = ()
    sshsig: str | None = None
    oms: OmsFacts | None = None
    mirrors: tuple[MirrorVouch, ...] = ()
    attestation: Path | None = None

    def to_json(self) -> Json:
        """The JSON result."""
        return {
            "ok": self.ok,
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "path": str(self.path),
            "files": [
                {
                    "path": verdict.path,
                    "ok": verdict.ok,
                    "problem": verdict.problem,
                    "bad_pieces": list(verdict.bad_pieces),
                    "expected": verdict.expected,
                    "found": verdict.found,
                }
                for verdict in self.files
            ],
            "bytes": self.bytes,
            "piece_length": self.piece_length,
            "sshsig": self.sshsig,
            "seconds": round(self.seconds, 3),
            "oms": asdict(self.oms) if self.oms else None,
            "mirrors": [mirror.to_json() for mirror in self.mirrors],
            "attestation": str(self.attestation) if self.attestation else None,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class InspectedFile:
    """A file as the manifest describes it; `note` marks what deserves a look (`code`, `pickle`)."""

    path: str
    size: int
    sha256: str
    pieces_root: str | None
    media_type: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class InspectedTensor:
    """A tensor as its proven safetensors header describes it; only known where the shard is on this disk."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a manifest says. `trusted` says whether the signer is a publisher this user knows."""

    release: str
    publisher: str
    publisher_name: str | None
    claimed_name: str
    trusted: bool
    info_hash_v2: str | None
    info_hash_v1: str | None
    torrent_name: str
    piece_length: int
    hybrid: bool
    sequence: int
    released: str
    summary: str
    license: str | None
    source: str | None
    weights_format: str | None
    parameters: int | None
    dtypes: tuple[str, ...]
    files: tuple[InspectedFile, ...]
    bytes: int
    tensors: tuple[InspectedTensor, ...] = ()
    warnings: tuple[str, ...] = ()
    team: str | None = None

    def to_json(self) -> Json:
        """The JSON result."""
        return {
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "claimed_name": self.claimed_name,
            "trusted": self.trusted,
            "team": self.team,
            "info_hash_v2": self.info_hash_v2,
            "info_hash_v1": self.info_hash_v1,
            "torrent_name": self.torrent_name,
            "piece_length": self.piece_length,
            "hybrid": self.hybrid,
            "sequence": self.sequence,
            "released": self.released,
            "summary": self.summary,
            "license": self.license,
            "source": self.source,
            "weights": {
                "format": self.weights_format,
                "parameters": self.parameters,
                "dtypes": list(self.dtypes),
            },
            "files": [
                {
                    "path": file.path,
                    "size": file.size,
                    "sha256": file.sha256,
                    "pieces_root": file.pieces_root,
                    "media_type": file.media_type,
                    "note": file.note,
                }
                for file in self.files
            ],
            "bytes": self.bytes,
            "tensors": [
                {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape), "file": tensor.file}
                for tensor in self.tensors
            ],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class ListedRelease:
    """A release in the store. `kind` is `published` (served in place) or `fetched`."""

    release: str
    publisher: str
    publisher_name: str | None
    path: Path
    bytes: int
    complete: bool
    seeding: bool
    kind: str
    info_hash_v2: str

    def to_json(self) -> Json:
        """One element of `releases`."""
        return {
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "path": str(self.path),
            "bytes": self.bytes,
            "complete": self.complete,
            "seeding": self.seeding,
            "kind": self.kind,
            "info_hash_v2": self.info_hash_v2,
        }


@dataclass(frozen=True, slots=True)
class Removed:
    """What `rm` took away: files deleted, files kept because another release or the user owns them, bytes freed."""

    release: str
    path: Path
    deleted: int
    kept: int
    freed: int

    def to_json(self) -> Json:
        """The JSON result."""
        return {
            "release": self.release,
            "path": str(self.path),
            "deleted": self.deleted,
            "kept": self.kept,
            "freed": self.freed,
        }


@dataclass(frozen=True, slots=True)
class SeedStatus:
    """How a running seeder stands: one line for a person, one object for a program."""

    port: int
    releases: tuple[str, ...]
    peers: int
    up_rate: float
    uploaded: int
    peers_by_release: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Ran:
    """What `run` answered."""

    release: str
    publisher: str
    publisher_name: str | None
    text: str
    device: str
    load_mode: str
    load_bytes: int
    load_seconds: float
    tokens: int
    tokens_per_second: float
    warnings: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """The JSON result."""
        return {
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "text": self.text,
            "device": self.device,
            "load": {
                "bytes": self.load_bytes,
                "seconds": round(self.load_seconds, 3),
                "verified": True,
                "mode": self.load_mode,
            },
            "tokens": self.tokens,
            "tokens_per_second": round(self.tokens_per_second, 2),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class StrangerInfo:
    """A publisher whom the user does not know, as shown before asking. `names` are claims, not facts."""

    fingerprint: str
    claimed_name: str
    release: str
    files: int
    bytes: int
    source: str = field(default="")
    team: str = field(default="")
