"""OpenSSF Model Signing: makes and checks the bundle that `model.sig` holds.

A bundle is Sigstore's (v0.3): a DSSE envelope with one signature, and what to check it with. Here that is an ECDSA key
the user names; bundles signed with a certificate or through Sigstore are only recognised, so that another program can
be asked. `VerifiedModel` is a type that only `verify` makes. Nothing in the payload is parsed before its signature
holds. Source: model-signing-spec v1.0, sections 4 and 8.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import InitVar, dataclass
from enum import StrEnum
from typing import Any, Final, NoReturn, final

from weightshare.errors import BadSignatureError, NotCheckedError, UnsupportedError
from weightshare.manifest import strict_json
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.text import quoted
from weightshare.trust.oms_keys import EcPublicKey, EcSigner
from weightshare.trust.oms_statement import Statement, oms_error
from weightshare.units import MIB

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_BUNDLE = 24 * MIB
"""Bytes; the payload in it is a quarter smaller."""

_SEAL: Final = object()
_MAX_SIGNATURE = 16_384


class Method(StrEnum):
    """What a bundle is checked with."""

    KEY = "key"
    CERTIFICATE = "certificate"
    SIGSTORE = "sigstore"


_METHODS = {
    "publicKey": Method.KEY,
    "x509CertificateChain": Method.CERTIFICATE,
    "certificate": Method.SIGSTORE,
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as parsed. Nothing in it is proven.

    Attributes:
        method: what it is checked with.
        hint: the key it names, or SHA-256 (hex) of its signing certificate; empty if it names none.
        payload: the statement's bytes.
        signature: over the DSSE encoding of the payload; DER for ECDSA.
    """

    method: Method
    hint: str
    payload: bytes
    signature: bytes

    def pae(self) -> bytes:
        """The bytes that are signed."""
        return _pae(self.payload)

    @classmethod
    def parse(cls, data: bytes) -> Bundle:
        """Read a bundle; fields that are not known are ignored.

        Raises:
            ManifestError: it is no bundle, or does not hold exactly one signature.
            UnsupportedError: a bundle of another version, or around another kind of payload.
            NotCheckedError: it is to be checked with something that is not known here.
        """
        document = strict_json.loads(data, limit=MAX_BUNDLE, what="OMS signature")
        fields = _object(document, "")
        if "mediaType" not in fields and "payloadType" in fields:
            raise UnsupportedError(
                "This is a bare DSSE envelope, such as `weightshare.json`; an OMS signature is a Sigstore bundle.",
                hint="Without --oms, `weightshare verify` checks a folder against its `weightshare.json`.",
                field="mediaType",
            )
        _expect(fields, "mediaType", MEDIA_TYPE, "")
        material = _object(fields.get("verificationMaterial"), "verificationMaterial")
        method, hint = _method(material)
        envelope = _object(fields.get("dsseEnvelope"), "dsseEnvelope")
        _expect(envelope, "payloadType", PAYLOAD_TYPE, "dsseEnvelope.")
        payload = _base64(envelope.get("payload"), "dsseEnvelope.payload", MAX_BUNDLE)
        signatures = envelope.get("signatures")
        if not isinstance(signatures, list) or len(signatures) != 1:
            raise oms_error("dsseEnvelope.signatures", "a list of exactly one is expected")
        where = "dsseEnvelope.signatures[0]"
        signature = _base64(_object(signatures[0], where).get("sig"), f"{where}.sig", _MAX_SIGNATURE)
        return cls(method, hint, payload, signature)


@final
@dataclass(frozen=True, slots=True)
class VerifiedModel:
    """A statement whose signature holds by the key the user named. Only `verify` makes one.

    Attributes:
        statement: what was signed.
        signer: the key that signed it.
    """

    statement: Statement
    signer: EcPublicKey
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only trust.oms.verify makes a VerifiedModel")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        # Unpickling and copying would make one without asking anybody.
        raise TypeError("a VerifiedModel cannot be copied or pickled; verify its bundle again")


def sign(statement: Statement, signer: EcSigner) -> bytes:
    """A bundle, as `model.sig` holds it, for the method `key`.

    Raises:
        ManifestError, UnsafePathError: the statement breaks a rule of the format.
    """
    payload = statement.to_payload()
    bundle = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": signer.public_key.hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode("ascii"),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"sig": base64.b64encode(signer.sign(_pae(payload))).decode("ascii"), "keyid": ""}
            ],
        },
    }
    data = strict_json.dumps(bundle) + b"\n"
    verify(Bundle.parse(data), signer.public_key)
    return data


def verify(bundle: Bundle, key: EcPublicKey) -> VerifiedModel:
    """Prove that the holder of a key signed this bundle, and read what it says.

    The hint in the bundle is only that: it makes a better message, and nothing is believed for it.

    Raises:
        NotCheckedError: the bundle is not to be checked with a key, or its digests are of an unknown kind.
        BadSignatureError: the signature does not hold by this key.
        ManifestError, UnsafePathError, UnsupportedError: what it says breaks the format.
    """
    if bundle.method is not Method.KEY:
        raise NotCheckedError(f"Not checked: the OMS signature is by {bundle.method}, not by a key.")
    if not key.verify(bundle.signature, bundle.pae()):
        if bundle.hint and bundle.hint != key.hint:
            raise BadSignatureError(
                f"The OMS signature names the key {quoted(bundle.hint)}; the one given is {key.hint}.",
                hint="Name the signer's public key with --oms-key.",
                expected=key.hint,
                found=bundle.hint,
            )
        raise BadSignatureError(
            "The OMS signature does not hold over its bytes by the key given.",
            hint="It was changed after it was signed, or is by another key.",
            expected=key.hint,
        )
    return VerifiedModel(Statement.parse(bundle.payload), key, _SEAL)


def _pae(payload: bytes) -> bytes:
    return Envelope(PAYLOAD_TYPE, payload, ()).pae()


def _method(material: dict[str, object]) -> tuple[Method, str]:
    where = "verificationMaterial"
    found = [name for name in _METHODS if material.get(name) is not None]
    if not found:
        raise NotCheckedError(
            "Not checked: the OMS signature is by a method that is not known here "
            f"({', '.join(quoted(name, 40) for name in material) or 'none named'})."
        )
    if len(found) > 1:
        raise oms_error(where, f"it has {' and '.join(found)}, where one of them is expected")
    value = _object(material[found[0]], f"{where}.{found[0]}")
    method = _METHODS[found[0]]
    if method is Method.KEY:
        hint = value.get("hint")
        return method, hint if isinstance(hint, str) else ""
    if method is Method.CERTIFICATE:
        chain = value.get("certificates")
        if not isinstance(chain, list) or not chain:
            raise oms_error(f"{where}.{found[0]}.certificates", "a list of at least one is expected")
        value = _object(chain[0], f"{where}.{found[0]}.certificates[0]")
    certificate = _base64(value.get("rawBytes"), f"{where}.{found[0]}.rawBytes", MAX_BUNDLE)
    return method, hashlib.sha256(certificate).hexdigest()


def _expect(fields: dict[str, object], key: str, expected: str, where: str) -> None:
    found = fields.get(key)
    if not isinstance(found, str):
        raise oms_error(f"{where}{key}", f"{expected} is expected")
    if found != expected:
        raise UnsupportedError(
            f"The OMS signature, field `{where}{key}`: {quoted(found)}, where {expected} is expected.",
            hint="It was made by another tool, or by another version of one.",
            field=f"{where}{key}",
        )


def _object(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise oms_error(where, "an object is expected")
    return value


def _base64(value: object, where: str, limit: int) -> bytes:
    if not isinstance(value, str) or not value:
        raise oms_error(where, "a base64 text is expected")
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise oms_error(where, "not base64") from error
    if len(decoded) > limit or base64.b64encode(decoded).decode("ascii") != value:
        raise oms_error(where, "too long, or base64 with stray bits at its end")
    return decoded
