"""Who signed a manifest, and whether the user knows them.

`VerifiedManifest` is a type that only `verify` makes: whoever holds one holds a proven statement.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, NoReturn, final

from weightshare.errors import (
    BadSignatureError,
    ChangedPublisherError,
    PublisherMismatchError,
    RevokedError,
    TrustError,
    UnknownPublisherError,
    UnsignedError,
)
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import Manifest
from weightshare.trust.keys import PublicKey, format_fingerprint
from weightshare.trust.publishers import KnownPublishers, Pin
from weightshare.trust.signatures import refused_keys, sound_keys

_SEAL: Final = object()


@final
@dataclass(frozen=True, slots=True)
class VerifiedManifest:
    """A manifest whose signature holds and whose signer the user knows. Only `verify` makes one.

    Attributes:
        manifest: what was signed.
        signer: the key that signed it.
        publisher_name: the name under which the user pinned that key; None if the pin has none.
        envelope: the bytes of `weightshare.json`, as stored.
        payload_sha256: how other manifests name this one (32 bytes).
        warnings: sentences for the user; nothing that would have to stop.
    """

    manifest: Manifest
    signer: PublicKey
    publisher_name: str | None
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
        """The signer's fingerprint: `SHA256:…`."""
        return self.signer.fingerprint

    @property
    def release(self) -> str:
        """`ORG/MODEL@VERSION`."""
        return self.manifest.release


@dataclass(frozen=True, slots=True)
class Examined:
    """A manifest whose signature holds, by whomever: good for looking, not for using.

    Attributes:
        manifest: what was signed.
        signer: the key that signed it.
        publisher_name: the name under which the user pinned that key; None if unknown.
        trusted: whether `verify` would pass it.
        envelope: the bytes of `weightshare.json`, as stored.
        payload_sha256: how other manifests name this one (32 bytes).
        problem: why it is not trusted, None if it is.
    """

    manifest: Manifest
    signer: PublicKey
    publisher_name: str | None
    trusted: bool
    envelope: bytes
    payload_sha256: bytes
    problem: TrustError | None = None

    @property
    def fingerprint(self) -> str:
        """The signer's fingerprint: `SHA256:…`."""
        return self.signer.fingerprint

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
    signer = _signer(sound, known, expect_publisher)
    manifest = Manifest.from_payload(parsed.payload)
    pin = known.find(signer.fingerprint)
    problem = _problem(manifest, signer, known, expect_publisher)
    name = pin.name or None if pin is not None else None
    return Examined(manifest, signer, name, problem is None, envelope, parsed.payload_sha256, problem)


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
        UnknownPublisherError: the signature holds, by a key the user does not know.
        TrustError: the user trusts the signer for other models only.
    """
    examined = examine(envelope, known, expect_publisher=expect_publisher)
    if examined.problem is not None:
        raise examined.problem
    manifest, name = examined.manifest, examined.publisher_name
    warnings = []
    if name is not None and name.casefold() != manifest.publisher.name.casefold():
        warnings.append(
            f"The release names its publisher {manifest.publisher.name}; you know the key as {name}."
        )
    return VerifiedManifest(
        manifest, examined.signer, name, envelope, examined.payload_sha256, tuple(warnings), _SEAL
    )


def _signer(sound: list[PublicKey], known: KnownPublishers, expected: bytes | None) -> PublicKey:
    """Of the keys whose signatures hold, the one to speak of: expected before pinned before the rest."""

    def rank(key: PublicKey) -> int:
        pin = known.find(key.fingerprint)
        if expected is not None and key.fingerprint_bytes == expected:
            return 0
        return 2 if pin is None else 3 if pin.revoked else 1

    return min(sound, key=rank)


def _problem(
    manifest: Manifest, signer: PublicKey, known: KnownPublishers, expected: bytes | None
) -> TrustError | None:
    fingerprint = signer.fingerprint
    if expected is not None and signer.fingerprint_bytes != expected:
        return PublisherMismatchError(
            f"The magnet names the publisher {format_fingerprint(expected)}, "
            f"but the manifest is signed by {fingerprint}.",
            hint="One of the two was swapped. Ask whoever gave you the link.",
            expected=format_fingerprint(expected),
            fingerprint=fingerprint,
        )
    if fingerprint not in manifest.publisher.keys:
        return BadSignatureError(
            f"The manifest names other keys for {manifest.publisher.name} than the one that signed it, "
            f"{fingerprint}.",
            fingerprint=fingerprint,
        )
    pin = known.find(fingerprint)
    if pin is not None and pin.revoked:
        return RevokedError(
            f"The key {fingerprint} was revoked.",
            hint="Its publisher may have signed the release anew; ask them for the new link.",
            fingerprint=fingerprint,
            name=pin.name,
        )
    for name in dict.fromkeys((manifest.publisher.name, manifest.model.id.partition("/")[0])):
        pinned = known.named(name)
        if pinned and all(other.fingerprint != fingerprint for other in pinned):
            return ChangedPublisherError(
                f"You know {name} by the key {pinned[0].fingerprint}, "
                f"but this release for {name} is signed by {fingerprint}.",
                hint=f"If they told you of a new key by a way you trust: "
                f"weightshare trust add {name} {fingerprint} --replace",
                name=name,
                pinned=pinned[0].fingerprint,
                fingerprint=fingerprint,
            )
    if pin is None:
        return UnknownPublisherError(
            f"You do not know the publisher: {manifest.publisher.name}, {fingerprint}.",
            hint=f"Compare the fingerprint with one they publish, then add --trust {fingerprint}",
            fingerprint=fingerprint,
            public_key=signer.openssh,
            name=manifest.publisher.name,
        )
    return _scope_problem(manifest, pin)


def _scope_problem(manifest: Manifest, pin: Pin) -> TrustError | None:
    if any(fnmatchcase(manifest.model.id, glob) for glob in pin.models):
        return None
    return TrustError(
        f"You trust {pin.name} for {', '.join(pin.models)}, not for {manifest.model.id}.",
        hint="Pin them for more models if you mean to.",
        name=pin.name,
        fingerprint=pin.fingerprint,
        model=manifest.model.id,
    )
