"""What `verify` found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MirrorVouch:
    """A known mirror that vouches for a release's bytes; `verified_at` is RFC 3339 in UTC, by the mirror's clock."""

    name: str
    fingerprint: str
    verified_at: str

    def to_json(self) -> dict[str, object]:
        """One element of `mirrors`."""
        return {"name": self.name, "fingerprint": self.fingerprint, "verified_at": self.verified_at}


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
class Verified:
    """What `verify` or `verify_oms` found.

    Of the latter `release` is None, `publisher` the SHA-256 (hex) of the key's PEM text or of the certificate, and
    `piece_length` the size of a shard, which `bad_pieces` then count; 0 for whole files. `sshsig` is the fingerprint
    whose detached SSH signature was demanded and held. `repaired` counts bytes that were fetched anew before.
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
    repaired: int = 0

    def to_json(self) -> dict[str, object]:
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
            "repaired_bytes": self.repaired,
            "warnings": list(self.warnings),
        }


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
