"""Who signed a manifest, and whether the user knows them.

`VerifiedManifest` is a type that only `verify` makes: whoever holds one holds a proven statement.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, replace
from typing import Any, Final, NoReturn, final

from weightshare.errors import BadSignatureError, TrustError, UnsignedError
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import Manifest
from weightshare.trust.assessment import assess
from weightshare.trust.keys import PublicKey
from weightshare.trust.pins import Pin
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.signatures import refused_keys, sound_keys
from weightshare.trust.standing import Standing
from weightshare.trust.teams import Team

_SEAL: Final = object()


@final
@dataclass(frozen=True, slots=True)
class VerifiedManifest:
    """A manifest whose signatures hold and whose publisher the user knows. Only `verify` makes one.

    Attributes:
        manifest: what was signed.
        signer: the key that signed it, the first of a team's.
        pin: whom the user knows its publisher as.
        team: the team that signed it, as its newest root says; None for a single key.
        publisher_name: the name under which the user pinned them; None if the pin has none.
        envelope: the bytes of `weightshare.json`, as stored.
        payload_sha256: how other manifests name this one (32 bytes).
        warnings: sentences for the user; nothing that would have to stop.
    """

    manifest: Manifest
    signer: PublicKey
    pin: Pin
    team: Team | None
    envelope: bytes
    payload_sha256: bytes
    warnings: tuple[str, ...]
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only trust.gate.verify makes a VerifiedManifest")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        # Unpickling and copying would make one without asking anybody.
        raise TypeError("a VerifiedManifest cannot be copied or pickled; verify its envelope again")

    @property
    def fingerprint(self) -> str:
        """The publisher's identity, `SHA256:…`: the signer's key, or the team's."""
        return self.team.fingerprint if self.team is not None else self.signer.fingerprint

    @property
    def publisher_name(self) -> str | None:
        """The name under which the user pinned the publisher; None if the pin has none."""
        return self.pin.name or None

    @property
    def release(self) -> str:
        """`ORG/MODEL@VERSION`."""
        return self.manifest.release


@dataclass(frozen=True, slots=True)
class Examined:
    """A manifest with a signature that holds, by whomever: good for looking, not for using.

    Attributes:
        manifest: what was signed.
        standing: who signed it, and what speaks against taking them for the publisher.
        envelope: the bytes of `weightshare.json`, as stored.
        payload_sha256: how other manifests name this one (32 bytes).
    """

    manifest: Manifest
    standing: Standing
    envelope: bytes
    payload_sha256: bytes

    @property
    def signer(self) -> PublicKey:
        """The key that signed it, the first of a team's."""
        return self.standing.signers[0]

    @property
    def problem(self) -> TrustError | None:
        """Why it is not trusted, None if it is."""
        return self.standing.problem

    @property
    def trusted(self) -> bool:
        """Whether `verify` would pass it."""
        return self.standing.problem is None

    @property
    def publisher_name(self) -> str | None:
        """The name under which the user pinned the publisher; None if unknown."""
        return self.standing.pin.name or None if self.standing.pin is not None else None

    @property
    def fingerprint(self) -> str:
        """The publisher's identity, `SHA256:…`: the signer's key, or the team's."""
        return self.standing.fingerprint

    @property
    def release(self) -> str:
        """`ORG/MODEL@VERSION`."""
        return self.manifest.release


def examine(envelope: bytes, known: KnownPublishers, *, expect_publisher: bytes | None = None) -> Examined:
    """Read a manifest and say who signed it, whether or not the user knows them.

    Args:
        envelope: the bytes of `weightshare.json`.
        known: the publishers the user knows.
        expect_publisher: the fingerprint (32 bytes) that the magnet names, if it does.

    Raises:
        ManifestError: the envelope or what it holds breaks the format.
        UnsignedError: it carries no signature.
        BadSignatureError: no signature in it holds.
    """
    parsed = Envelope.parse(envelope)
    if not parsed.signatures:
        raise UnsignedError("The manifest carries no signature.", hint="Anybody can have written it.")
    sound = sound_keys(parsed, known)
    if not sound:
        reasons = "".join(f" {reason}" for reason in refused_keys(parsed)[:3])
        raise BadSignatureError(
            f"No signature of the manifest holds over its bytes.{reasons}",
            hint="The manifest was changed after it was signed, or damaged on its way.",
        )
    manifest = Manifest.from_payload(parsed.payload)
    standing = assess(parsed, manifest, sound, known, expect_publisher)
    if standing.problem is None and standing.pin is not None:
        standing = replace(standing, problem=_scope_problem(manifest, standing.pin))
    return Examined(manifest, standing, envelope, parsed.payload_sha256)


def verify(
    envelope: bytes, known: KnownPublishers, *, expect_publisher: bytes | None = None
) -> VerifiedManifest:
    """Prove that a publisher the user knows signed this manifest.

    Args:
        envelope: the bytes of `weightshare.json`.
        known: the publishers the user knows.
        expect_publisher: the fingerprint (32 bytes) that the magnet names, if it does.

    Raises:
        ManifestError: the envelope or what it holds breaks the format.
        UnsignedError: it carries no signature.
        BadSignatureError: no signature in it holds, or the signer is not among the keys the manifest names.
        PublisherMismatchError: it is not signed by the key that the magnet names.
        RevokedError: the signer's key was revoked.
        ChangedPublisherError: it speaks for a name that the user pinned with another key.
        UnknownPublisherError: the signature holds, by a key or team the user does not know.
        StrippedSignatureError: one of the two signatures that this publisher always gives is missing.
        TeamRootError, ThresholdError, RetiredKeyError: what came does not amount to the team's word.
        MissingExtraError: the release brings newer roots of a team, and python-tuf is not installed.
        TrustError: the user trusts the signer for other models only.
    """
    examined = examine(envelope, known, expect_publisher=expect_publisher)
    manifest, standing = examined.manifest, examined.standing
    if standing.problem is not None:
        raise standing.problem
    if standing.pin is None:
        raise AssertionError("without a problem there is a pin")
    name, warnings = examined.publisher_name, list(standing.notes)
    if name is not None and name.casefold() != manifest.publisher.name.casefold():
        warnings.append(
            f"The release names its publisher {manifest.publisher.name}; you know the key as {name}."
        )
    return VerifiedManifest(
        manifest,
        examined.signer,
        standing.pin,
        standing.team,
        envelope,
        examined.payload_sha256,
        tuple(warnings),
        _SEAL,
    )


def _scope_problem(manifest: Manifest, pin: Pin) -> TrustError | None:
    if pin.covers(manifest.model.id):
        return None
    return TrustError(
        f"You trust {pin.name} for {', '.join(pin.models)}, not for {manifest.model.id}.",
        hint="Pin them for more models if you mean to.",
        name=pin.name,
        fingerprint=pin.fingerprint,
        model=manifest.model.id,
    )
