"""How many mirrors whom the user knows vouch for one release, and why each other countersignature does not count.

A key counts once, whatever it is called and however often it signed. The publisher's own keys do not count: they
have spoken already. Nothing here stands in for the publisher; a release gets here only when it is verified.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from weightshare.errors import TooFewMirrorsError, WeightshareError
from weightshare.manifest.text import quoted
from weightshare.trust.countersign import Countersignature, read
from weightshare.trust.gate import VerifiedManifest
from weightshare.trust.publishers import KnownPublishers

_CLOCKS = timedelta(minutes=5)
_MAX_NAMED = 10
_MAX_LABEL = 1024


@dataclass(frozen=True, slots=True)
class Attestation:
    """A file that claims to be a countersignature.

    Attributes:
        label: what to call it in messages: the file, as the user named it.
        data: its bytes.
    """

    label: str
    data: bytes


@dataclass(frozen=True, slots=True)
class MirrorCount:
    """What became of the attestations for one release.

    Attributes:
        release: `ORG/MODEL@VERSION`.
        counted: one for each mirror, in the order they were given.
        refused: label and reason of each that does not count.
        warnings: sentences for the user about those that do.
    """

    release: str
    counted: tuple[Countersignature, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    def require(self, count: int) -> None:
        """Refuse the release unless so many distinct mirrors vouch for its bytes.

        Raises:
            TooFewMirrorsError: fewer do; the message says why each other attestation does not count.
        """
        if len(self.counted) >= count:
            return
        reasons = [f"{quoted(label, _MAX_LABEL)}: {reason}" for label, reason in self.refused[:_MAX_NAMED]]
        if len(self.refused) > _MAX_NAMED:
            reasons.append(f"and {len(self.refused) - _MAX_NAMED} more.")
        raise TooFewMirrorsError(
            f"{len(self.counted)} of the {count} mirrors that you demand vouch for the bytes of {self.release}."
            + (" Not counted: " + " ".join(reasons) if reasons else ""),
            hint="Name more countersignatures with --attestation; "
            "mirrors become known by weightshare trust add NAME KEY --mirror.",
            required=count,
            counted=[entry.fingerprint for entry in self.counted],
            refused=[{"attestation": label, "reason": reason} for label, reason in self.refused],
        )


def count(
    attestations: Iterable[Attestation],
    verified: VerifiedManifest,
    info_hash_v2: bytes,
    known: KnownPublishers,
    now: datetime,
) -> MirrorCount:
    """Hold countersignatures against one verified release.

    Args:
        attestations: the files.
        verified: the release's manifest.
        info_hash_v2: of the torrent that holds it (32 bytes).
        known: whom the user knows.
        now: the time, with its zone, to notice a mirror whose clock is ahead.
    """
    counted: dict[str, Countersignature] = {}
    refused: list[tuple[str, str]] = []
    warnings: list[str] = []
    for attestation in attestations:
        try:
            found = read(attestation.data, known)
        except WeightshareError as error:
            refused.append((attestation.label, error.message))
            continue
        problem = _problem(found, verified, info_hash_v2)
        if not problem and found.fingerprint in counted:
            problem = f"The mirror {found.mirror_name} was counted already."
        if problem:
            refused.append((attestation.label, problem))
            continue
        counted[found.fingerprint] = found
        if found.time_verified > now + _CLOCKS:
            warnings.append(
                f"The mirror {found.mirror_name} says that it verified the bytes at "
                f"{found.verified_at}, which is yet to come: its clock or yours is wrong."
            )
    return MirrorCount(verified.release, tuple(counted.values()), tuple(refused), tuple(warnings))


def publisher_keys(verified: VerifiedManifest) -> frozenset[str]:
    """Fingerprints of the keys that are no mirror's of this release: its publisher's, of today and of before."""
    team = verified.team.chain if verified.team is not None else ()
    members = {key.fingerprint for root in team for key in (*root.releases.keys, *root.roots.keys)}
    named = verified.manifest.publisher.keys
    return frozenset(
        {verified.signer.fingerprint, verified.pin.fingerprint, verified.pin.was, *named, *members}
    )


def _problem(found: Countersignature, verified: VerifiedManifest, info_hash_v2: bytes) -> str:
    manifest = verified.manifest
    if found.payload_sha256 != verified.payload_sha256:
        return f"It speaks of another release, which it calls {quoted(found.release)}."
    if found.info_hash_v2 != info_hash_v2:
        return f"It speaks of another torrent, {found.info_hash_v2.hex()}."
    if (found.bytes_rehashed, found.files) != (manifest.size, len(manifest.files)):
        return (
            f"Its mirror read {found.bytes_rehashed:,} bytes in {found.files:,} files; "
            f"the release has {manifest.size:,} in {len(manifest.files):,}."
        )
    if found.fingerprint in publisher_keys(verified):
        return "It is by the release's own publisher, who is no mirror of it."
    return ""
