"""Who stands behind a manifest as far as a user can tell, and what any publisher may run into."""

from __future__ import annotations

from dataclasses import dataclass

from weightshare.errors import (
    ChangedPublisherError,
    RevokedError,
    TrustError,
)
from weightshare.manifest.model import Manifest
from weightshare.trust.keys import PublicKey
from weightshare.trust.pins import Pin
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.teams import Team


@dataclass(frozen=True, slots=True)
class Standing:
    """Who signed, as far as this user can tell.

    Attributes:
        signers: the keys whose signatures hold, the one to speak of first.
        pin: whom the user knows them as, None for a stranger.
        team: the team they sign for, as its newest root says; None for a single key.
        problem: why the user should not take them for the publisher, None if they should.
        notes: sentences for the user.
    """

    signers: tuple[PublicKey, ...]
    pin: Pin | None
    team: Team | None = None
    problem: TrustError | None = None
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The publisher's identity: the team's, or the key's."""
        return self.team.fingerprint if self.team is not None else self.signers[0].fingerprint


def names_of(manifest: Manifest) -> tuple[str, ...]:
    """The names that a manifest speaks for: its publisher's, and the `ORG` of its model."""
    return tuple(dict.fromkeys((manifest.publisher.name, manifest.model.id.partition("/")[0])))


def changed_publisher(
    manifest: Manifest, fingerprint: str, known: KnownPublishers, pin: Pin | None = None
) -> TrustError | None:
    """Whether a name it speaks for is pinned, and neither with this fingerprint nor by this very pin."""
    for name in names_of(manifest):
        pinned = known.named(name)
        if pinned and pin not in pinned and all(other.fingerprint != fingerprint for other in pinned):
            return ChangedPublisherError(
                f"You know {name} by the key {pinned[0].fingerprint}, "
                f"but this release for {name} is signed by {fingerprint}.",
                hint=f"If they told you of a new key by a way you trust: "
                f"weightshare trust add {name} {fingerprint} --replace",
                name=name,
                pinned=pinned[0].fingerprint,
                fingerprint=fingerprint,
            )
    return None


def revoked_key(pin: Pin) -> RevokedError:
    """The error for a publisher whose key the user revoked."""
    return RevokedError(
        f"The key {pin.fingerprint} was revoked.",
        hint="Its publisher may have signed the release anew; ask them for the new link.",
        fingerprint=pin.fingerprint,
        name=pin.name,
    )
