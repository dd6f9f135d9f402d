"""Who stands behind a signed manifest, by the pins of this user: a single key, or a team.

Everything here takes signatures that were checked already. It answers with the publisher that the signatures
amount to, and with the reason why this user should not take them for it, if there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from weightshare.errors import (
    BadSignatureError,
    ChangedPublisherError,
    PublisherMismatchError,
    RetiredKeyError,
    RevokedError,
    StrippedSignatureError,
    TeamRootError,
    ThresholdError,
    TrustError,
    UnknownPublisherError,
)
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import Manifest
from weightshare.trust.keys import PublicKey, format_fingerprint
from weightshare.trust.pins import Pin
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.signatures import sound_post_quantum_keys
from weightshare.trust.teams import Team, read_root


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
    pinned = _team_pin(manifest, known)
    if pinned is not None or manifest.publisher.root_version is not None:
        standing = _team(envelope, manifest, tuple(sound), known, pinned)
    else:
        standing = _single(envelope, manifest, sound, known, expected)
    mismatch = _mismatch(standing, expected)
    return replace(standing, problem=mismatch) if mismatch is not None else standing


def names_of(manifest: Manifest) -> tuple[str, ...]:
    """The names that a manifest speaks for: its publisher's, and the `ORG` of its model."""
    return tuple(dict.fromkeys((manifest.publisher.name, manifest.model.id.partition("/")[0])))


# ---- a single key


def _single(
    envelope: Envelope,
    manifest: Manifest,
    sound: list[PublicKey],
    known: KnownPublishers,
    expected: bytes | None,
) -> Standing:
    def rank(key: PublicKey) -> int:
        pin = known.find(key.fingerprint)
        if expected is not None and key.fingerprint_bytes == expected:
            return 0
        return 2 if pin is None else 3 if pin.revoked else 1

    signers = tuple(sorted(sound, key=rank))
    pin = known.find(signers[0].fingerprint)
    return Standing(signers, pin, None, _single_problem(envelope, manifest, signers[0], known, pin))


def _single_problem(
    envelope: Envelope, manifest: Manifest, signer: PublicKey, known: KnownPublishers, pin: Pin | None
) -> TrustError | None:
    fingerprint = signer.fingerprint
    if fingerprint not in manifest.publisher.keys:
        return BadSignatureError(
            f"The manifest names other keys for {manifest.publisher.name} than the one that signed it, "
            f"{fingerprint}.",
            fingerprint=fingerprint,
        )
    if pin is not None and pin.revoked:
        return _revoked(pin)
    changed = _changed(manifest, fingerprint, known)
    if changed is not None:
        return changed
    if pin is None:
        mirror = known.find_mirror(fingerprint)
        only = f" You know the key as the mirror {mirror.name}, of which no releases count." if mirror else ""
        return UnknownPublisherError(
            f"You do not know the publisher: {manifest.publisher.name}, {fingerprint}.{only}",
            hint=f"Compare the fingerprint with one they publish, then add --trust {fingerprint}",
            fingerprint=fingerprint,
            public_key=signer.openssh,
            name=manifest.publisher.name,
        )
    return _stripped(envelope, manifest, pin)


def _stripped(envelope: Envelope, manifest: Manifest, pin: Pin) -> TrustError | None:
    """Whether the second kind of signature is missing, from a publisher who is known to give both."""
    if not pin.post_quantum:
        return None
    sound = {key.fingerprint for key in sound_post_quantum_keys(envelope)}
    if pin.post_quantum in sound & set(manifest.publisher.keys):
        return None
    return StrippedSignatureError(
        f"You know {pin.name} by two keys, and the ML-DSA-44 signature by {pin.post_quantum} is missing "
        "or does not hold.",
        hint="Somebody may have taken it away. Ask the publisher for the release as they made it.",
        name=pin.name,
        missing=pin.post_quantum,
    )


def _changed(
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


# ---- a team


def _team_pin(manifest: Manifest, known: KnownPublishers) -> Pin | None:
    pins = [pin for name in names_of(manifest) for pin in known.named(name)]
    return next((pin for pin in pins if pin.root and not pin.revoked), None)


def _team(
    envelope: Envelope,
    manifest: Manifest,
    signers: tuple[PublicKey, ...],
    known: KnownPublishers,
    pinned: Pin | None,
) -> Standing:
    try:
        team, pin = _resolve(envelope, manifest, known, pinned)
    except TrustError as error:
        return Standing(signers, pinned, pinned.team if pinned else None, error)
    members = tuple(key for key in signers if key in team.current.releases.keys)
    ordered = (*members, *(key for key in signers if key not in members))
    revoked = {other.fingerprint for other in known.pins if other.revoked}
    named = tuple(
        key
        for key in ordered
        if key.fingerprint in manifest.publisher.keys and key.fingerprint not in revoked
    )
    problem, notes = _team_problem(envelope, manifest, named, team, pin, known)
    return Standing(ordered, pin, team, problem, notes)


def _resolve(
    envelope: Envelope, manifest: Manifest, known: KnownPublishers, pinned: Pin | None
) -> tuple[Team, Pin | None]:
    """The team in question with its newest root, and whom the user knows it as.

    Raises:
        TeamRootError: the roots that came do not prove themselves, or lack the one it was signed under.
    """
    if pinned is not None:
        if pinned.team is None:
            raise TeamRootError(f"The roots of the team {pinned.name} were not read.")
        team = pinned.team
        if len(envelope.roots) > team.version:
            # Only a chain that goes on from what is known needs python-tuf.
            from weightshare.trust import roots

            team = roots.follow(team, envelope.roots)
        pin: Pin | None = pinned
    else:
        from weightshare.trust import roots

        team = roots.start(envelope.roots)
        pin = known.find(team.fingerprint) or _becoming(envelope, manifest, known)
    version = manifest.publisher.root_version
    if version is not None and version > team.version:
        raise TeamRootError(
            f"The release was signed under root {version} of {manifest.publisher.name}, "
            f"and it brings no root past {team.version}.",
            hint="Somebody may have taken it away. Ask the team for its root files.",
        )
    return team, pin


def _becoming(envelope: Envelope, manifest: Manifest, known: KnownPublishers) -> Pin | None:
    """The single key that the user knows for this name, if it signed the team's first root."""
    from weightshare.trust import roots

    # A publisher known by two kinds of key does not become a team on the word of one of them.
    pins = [pin for name in names_of(manifest) for pin in known.named(name) if not pin.post_quantum]
    members = read_root(envelope.roots[0]).roots.keys
    for pin in pins:
        key = pin.key or next((key for key in members if key.fingerprint == pin.fingerprint), None)
        if key is not None and not pin.revoked and roots.signed_by(envelope.roots[0], key):
            return pin
    return None


def _team_problem(
    envelope: Envelope,
    manifest: Manifest,
    named: tuple[PublicKey, ...],
    team: Team,
    pin: Pin | None,
    known: KnownPublishers,
) -> tuple[TrustError | None, tuple[str, ...]]:
    """The reason not to take these signers for the team, and what to tell the user."""
    quorum, name = team.current.releases, pin.name if pin else manifest.publisher.name
    same = known.find(team.fingerprint)
    if same is not None and same.revoked:
        return _revoked(same), ()
    changed = _changed(manifest, team.fingerprint, known, pin)
    if changed is not None:
        return changed, ()
    notes: tuple[str, ...] = ()
    if not quorum.met_by(named):
        if envelope.payload_sha256 not in team.current.kept:
            return _too_few(named, team, name, pin), ()
        notes = (f"It is signed by keys that {name} has retired; root {team.version} still stands by it.",)
    if pin is None:
        return _unknown_team(manifest, team), notes
    if pin.fingerprint != team.fingerprint:
        notes = (*notes, f"{name} is a team from now on: {describe(team)}, {team.fingerprint}.")
    elif pin.team is not None and pin.team.version < team.version:
        notes = (*notes, f"{name} has new keys: root {team.version}, {describe(team)}.")
    return None, notes


def _too_few(named: tuple[PublicKey, ...], team: Team, name: str, pin: Pin | None) -> TrustError:
    quorum = team.current.releases
    earlier = next((root for root in reversed(team.chain) if root.releases.met_by(named)), None)
    single = pin is not None and any(key.fingerprint == pin.was for key in named)
    if earlier is not None or single:
        by = (
            f"keys of root {earlier.version}"
            if earlier is not None
            else "the key it had before it was a team"
        )
        return RetiredKeyError(
            f"It is signed by {by} of {name}, which root {team.version} has retired, "
            "and no root since names this release.",
            hint=f"Whoever holds the old keys can have made it. Ask {name} for a newer release, "
            "or for a root that keeps this one.",
            name=name,
            fingerprint=named[0].fingerprint,
        )
    signed = quorum.count(named)
    if not signed:
        signer = named[0].fingerprint if named else "keys that the manifest does not name or you revoked"
        return ChangedPublisherError(
            f"You know {name} as the team {team.fingerprint}, but this release is signed by {signer}."
            if pin is not None
            else f"No key of the team {team.fingerprint} signed this release; {signer} did.",
            name=name,
            pinned=team.fingerprint,
            fingerprint=signer,
        )
    return ThresholdError(
        f"{signed} of the keys of {name} signed it, and {quorum.threshold} must.",
        hint="A single stolen key would look like this. Ask the team for the finished release.",
        name=name,
        signed=signed,
        threshold=quorum.threshold,
    )


def _unknown_team(manifest: Manifest, team: Team) -> UnknownPublisherError:
    return UnknownPublisherError(
        f"You do not know the publisher: {manifest.publisher.name}, the team {team.fingerprint} "
        f"({describe(team)}).",
        hint=f"Compare the fingerprint with one they publish, then add --trust {team.fingerprint}",
        fingerprint=team.fingerprint,
        public_key="",
        name=manifest.publisher.name,
    )


def describe(team: Team) -> str:
    """`2 of 3 keys must sign`."""
    quorum = team.current.releases
    return f"{quorum.threshold} of {len(quorum.keys)} keys must sign"


# ---- either


def _revoked(pin: Pin) -> RevokedError:
    return RevokedError(
        f"The key {pin.fingerprint} was revoked.",
        hint="Its publisher may have signed the release anew; ask them for the new link.",
        fingerprint=pin.fingerprint,
        name=pin.name,
    )


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
