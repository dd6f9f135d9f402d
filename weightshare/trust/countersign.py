"""A mirror's countersignature: "I hashed this release again, and its bytes are those that were signed".

It is a file of its own beside the release, since a signature inside the torrent would change its info-hash. It
vouches for bytes and for nothing else: who published them is proven by the publisher's signature alone. The form
is that of the manifest (DSSE over an in-toto Statement v1) with the predicate of a Simple Verification Result, so
that other tools can read it; what it must hold beyond that stands under the predicate's key `weightshare`.

The subject is one: the manifest, by the SHA-256 of its payload. The info-hash is not among the subject's digests,
since those must all be of one object and any one of them is enough for a match.
Source: in-toto attestation framework v1; its predicate `svr`, version 0.1; its `DigestSet`, version 1.1.
"""

from __future__ import annotations

import re
from dataclasses import InitVar, dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn, final

from weightshare.errors import (
    BadSignatureError,
    KeyFileError,
    ManifestError,
    RevokedError,
    UnknownMirrorError,
    UnsignedError,
    UnsupportedError,
)
from weightshare.manifest import strict_json
from weightshare.manifest.envelope import Envelope, Signature
from weightshare.manifest.fields import Fields, field_error
from weightshare.manifest.model import PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE
from weightshare.manifest.text import quoted
from weightshare.trust.gate import VerifiedManifest
from weightshare.trust.keys import PublicKey, Signer
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.signatures import sound_keys
from weightshare.units import KIB

SVR_TYPE = "https://in-toto.io/attestation/svr/v0.1"
"""The predicate type of a Simple Verification Result; no manifest has it."""

PROPERTY = "WEIGHTSHARE_EVERY_BYTE_AS_SIGNED"
"""What was verified: every file of the manifest was read whole, and is what the manifest says."""

VERIFIER = "urn:weightshare:mirror:v1:"
"""Begins a mirror's URI and ends in its fingerprint; the version is that of what a mirror has to check."""

MAX_COUNTERSIGNATURE = 64 * KIB
"""Bytes of the whole file."""

KNOWN_CRITICAL: frozenset[str] = frozenset()
"""Extensions this version understands and that a countersignature may therefore call critical."""

_OURS = "weightshare"
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_HINT = "Ask the mirror for a new one."
_SEAL: Final = object()


@final
@dataclass(frozen=True, slots=True)
class Countersignature:
    """What a mirror whom the user knows has signed. Only `read` makes one; for which release it counts is not said.

    Attributes:
        mirror: the key that signed it.
        mirror_name: the name under which the user pinned that key.
        release: what the mirror calls the release; a claim, for messages.
        payload_sha256: the manifest that it speaks of (32 bytes).
        info_hash_v2: the torrent that it speaks of (32 bytes).
        bytes_rehashed: bytes that the mirror read.
        files: files that the mirror read.
        time_verified: when it had read them, in UTC, by the mirror's clock.
        tool: what it was checked with; a claim.
    """

    mirror: PublicKey
    mirror_name: str
    release: str
    payload_sha256: bytes
    info_hash_v2: bytes
    bytes_rehashed: int
    files: int
    time_verified: datetime
    tool: str
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only trust.countersign.read makes a Countersignature")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        # Unpickling and copying would make one without asking anybody.
        raise TypeError("a Countersignature cannot be copied or pickled; read its file again")

    @property
    def fingerprint(self) -> str:
        """The mirror's fingerprint: `SHA256:…`."""
        return self.mirror.fingerprint

    @property
    def verified_at(self) -> str:
        """The time it was verified, as it is written: `2026-11-22T10:00:00Z`."""
        return _written(self.time_verified)


def countersign(
    verified: VerifiedManifest, info_hash_v2: bytes, when: datetime, tool: str, signer: Signer
) -> bytes:
    """The file in which a mirror vouches for a release. Call it only when every byte was just found as signed.

    Args:
        verified: the release's manifest.
        info_hash_v2: of the torrent that holds it (32 bytes).
        when: when the bytes were read; its zone is converted to UTC.
        tool: what they were checked with: `weightshare 0.1`.
        signer: the mirror's key.

    Raises:
        KeyFileError: the signer's signature does not hold.
        ManifestError: what would be written could not be read.
    """
    key = signer.public_key
    manifest = verified.manifest
    payload = strict_json.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": verified.release, "digest": {"sha256": verified.payload_sha256.hex()}}],
            "predicateType": SVR_TYPE,
            "predicate": {
                "verifier": {"id": VERIFIER + key.fingerprint},
                "timeCreated": _written(when),
                "properties": [PROPERTY],
                _OURS: {
                    "infoHashV2": info_hash_v2.hex(),
                    "bytesRehashed": manifest.size,
                    "files": len(manifest.files),
                    "tool": tool,
                },
            },
        }
    )
    _parse(payload, key, "")
    unsigned = Envelope(PAYLOAD_TYPE, payload, ())
    signature = signer.sign(unsigned.pae())
    if not key.verify(signature, unsigned.pae()):
        raise KeyFileError(f"What signed for {key.fingerprint} gave a signature that does not hold.")
    # The comment is often an address of the mirror's machine; it is nobody's business.
    carried = PublicKey(key.raw).openssh
    return Envelope(PAYLOAD_TYPE, payload, (Signature(key.fingerprint, signature, carried),)).to_bytes()


def read(data: bytes, known: KnownPublishers) -> Countersignature:
    """Prove that a mirror whom the user knows signed this countersignature.

    Args:
        data: the file.
        known: whom the user knows.

    Raises:
        ManifestError: it breaks the format.
        UnsupportedError: it is something else, or asks for an unknown critical extension.
        UnsignedError: it carries no signature.
        BadSignatureError: no signature in it holds, or none is by the mirror that it names.
        RevokedError: the mirror's key was revoked.
        UnknownMirrorError: the signature holds, by a key that is not pinned as a mirror's.
    """
    try:
        return _read(data, known)
    except UnsupportedError:
        raise
    except ManifestError as error:
        # What reads envelopes and fields speaks of manifests.
        rest = error.message.removeprefix("The manifest").removeprefix("'s envelope")
        raise ManifestError(f"The countersignature{rest}", hint=_HINT, **error.facts) from error


def _read(data: bytes, known: KnownPublishers) -> Countersignature:
    if len(data) > MAX_COUNTERSIGNATURE:
        raise ManifestError(
            f"The countersignature has more than the {MAX_COUNTERSIGNATURE:,} bytes allowed.", field=""
        )
    envelope = Envelope.parse(data)
    if not envelope.signatures:
        raise UnsignedError("The countersignature carries no signature.", hint="Anybody can have written it.")
    sound = sound_keys(envelope, known)
    if not sound:
        raise BadSignatureError(
            "No signature of the countersignature holds over its bytes.",
            hint="It was changed after it was signed, or damaged on its way.",
        )
    statement = Fields(strict_json.loads(envelope.payload, limit=MAX_COUNTERSIGNATURE, what="manifest"), "")
    _check_type(statement)
    named = statement.child("predicate").child("verifier").text("id")
    mirror = next((key for key in sound if VERIFIER + key.fingerprint == named), None)
    if mirror is None:
        raise BadSignatureError(
            f"The countersignature names the verifier {quoted(named)}, which did not sign it: "
            f"{sound[0].fingerprint} did.",
            fingerprint=sound[0].fingerprint,
        )
    pin = known.find_mirror(mirror.fingerprint)
    if pin is not None and pin.revoked:
        raise RevokedError(f"The key {mirror.fingerprint} was revoked.", fingerprint=mirror.fingerprint)
    if pin is None:
        raise UnknownMirrorError(
            f"You do not know the mirror {mirror.fingerprint}.",
            hint=f"If you do: weightshare trust add NAME {mirror.fingerprint} --mirror",
            fingerprint=mirror.fingerprint,
        )
    return _parse(envelope.payload, mirror, pin.name)


def _parse(payload: bytes, mirror: PublicKey, name: str) -> Countersignature:
    """Read the statement; its signature by this mirror holds, or is about to be made."""
    statement = Fields(strict_json.loads(payload, limit=MAX_COUNTERSIGNATURE, what="manifest"), "")
    _check_type(statement)
    subjects = statement.children("subject")
    if len(subjects) != 1:
        raise field_error("subject", f"{len(subjects)} entries, where one is expected")
    predicate = statement.child("predicate")
    if predicate.child("verifier").text("id") != VERIFIER + mirror.fingerprint:
        raise field_error("predicate.verifier.id", "it is not the signer's")
    if PROPERTY not in predicate.texts("properties"):
        raise field_error("predicate.properties", f"{PROPERTY} is not among them: it vouches for no bytes")
    ours = predicate.child(_OURS)
    unknown = [word for word in ours.texts("critical") if word not in KNOWN_CRITICAL]
    if unknown:
        raise UnsupportedError(
            f"The countersignature needs {quoted(unknown[0])}, which this version does not know.",
            hint="Update weightshare.",
            field=ours.at("critical"),
        )
    return Countersignature(
        mirror=mirror,
        mirror_name=name,
        release=subjects[0].text("name"),
        payload_sha256=subjects[0].child("digest").digest("sha256"),
        info_hash_v2=ours.digest("infoHashV2"),
        bytes_rehashed=ours.integer("bytesRehashed"),
        files=ours.integer("files"),
        time_verified=_time(predicate),
        tool=ours.text("tool", limit=100),
        seal=_SEAL,
    )


def _check_type(statement: Fields) -> None:
    kind = statement.text("predicateType")
    if kind == PREDICATE_TYPE:
        raise UnsupportedError(
            "It is a release's manifest, not a countersignature: a publisher signs the one, a mirror the other.",
            hint="A mirror's file usually ends in .countersig.json.",
            field="predicateType",
        )
    for key, expected in (("_type", STATEMENT_TYPE), ("predicateType", SVR_TYPE)):
        if statement.text(key) != expected:
            raise UnsupportedError(
                f"The countersignature's `{key}` is {quoted(statement.text(key))}, not {expected}.",
                hint="It was made for something else, or by a later version of this program.",
                field=key,
            )


def _written(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _time(predicate: Fields) -> datetime:
    text = predicate.matching("timeCreated", _TIME, "a time such as 2026-11-22T10:00:00Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise field_error(predicate.at("timeCreated"), f"{quoted(text)} is no point in time") from error
