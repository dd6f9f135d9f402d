"""A team as the publisher: which of its roots is in question, and whether enough of its keys signed."""

from __future__ import annotations

from weightshare.errors import (
    ChangedPublisherError,
    RetiredKeyError,
    TeamRootError,
    ThresholdError,
    TrustError,
    UnknownPublisherError,
)
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import Manifest
from weightshare.trust.keys import PublicKey
from weightshare.trust.pins import Pin
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.standing import Standing, changed_publisher, names_of, revoked_key
from weightshare.trust.teams import Team, read_root


def team_pin_of(manifest: Manifest, known: KnownPublishers) -> Pin | None:
    """The pin of the team that the user knows for one of the names that a manifest speaks for."""
    pins = [pin for name in names_of(manifest) for pin in known.named(name)]
    return next((pin for pin in pins if pin.root and not pin.revoked), None)


def assess_team(
    envelope: Envelope,
    manifest: Manifest,
    signers: tuple[PublicKey, ...],
    known: KnownPublishers,
    pinned: Pin | None,
) -> Standing:
    """Hold the keys that signed against a team: the one that is pinned, or the one whose roots the envelope brings."""
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
        return revoked_key(same), ()
    changed = changed_publisher(manifest, team.fingerprint, known, pin)
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
        notes = (*notes, f"{name} is a team from now on: {team.rule}, {team.fingerprint}.")
    elif pin.team is not None and pin.team.version < team.version:
        notes = (*notes, f"{name} has new keys: root {team.version}, {team.rule}.")
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
        f"({team.rule}).",
        hint=f"Compare the fingerprint with one they publish, then add --trust {team.fingerprint}",
        fingerprint=team.fingerprint,
        public_key="",
        name=manifest.publisher.name,
    )
