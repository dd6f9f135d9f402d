"""Who stands behind a signed manifest, by the pins of this user: a single key, or a team.

Everything here takes signatures that were checked already. It answers with the publisher that the signatures
amount to, and with the reason why this user should not take them for it, if there is one.
"""

from __future__ import annotations

from dataclasses import replace

from weightshare.errors import (
    PublisherMismatchError,
    TrustError,
)
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import Manifest
from weightshare.trust.keys import PublicKey, format_fingerprint
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.single_standing import assess_single
from weightshare.trust.standing import Standing
from weightshare.trust.team_standing import assess_team, team_pin_of


def assess(
    envelope: Envelope,
    manifest: Manifest,
    sound: list[PublicKey],
    known: KnownPublishers,
    expected: bytes | None,
) -> Standing:
    """Hold the keys that signed against the publishers the user knows.

    Args:
        envelope: as it came, for the roots it may bring.
        manifest: what was signed.
        sound: the keys whose signatures hold; one at least.
        known: the publishers the user knows.
        expected: the fingerprint (32 bytes) that the magnet names, if it does.
    """
    pinned = team_pin_of(manifest, known)
    if pinned is not None or manifest.publisher.root_version is not None:
        standing = assess_team(envelope, manifest, tuple(sound), known, pinned)
    else:
        standing = assess_single(envelope, manifest, sound, known, expected)
    mismatch = _mismatch(standing, expected)
    return replace(standing, problem=mismatch) if mismatch is not None else standing


def _mismatch(standing: Standing, expected: bytes | None) -> TrustError | None:
    if expected is None:
        return None
    wanted = format_fingerprint(expected)
    if wanted in (standing.fingerprint, *(key.fingerprint for key in standing.signers)):
        return None
    return PublisherMismatchError(
        f"The magnet names the publisher {wanted}, but the manifest is signed by {standing.fingerprint}.",
        hint="One of the two was swapped. Ask whoever gave you the link.",
        expected=wanted,
        fingerprint=standing.fingerprint,
    )
