"""The envelope of `weightshare.json`: DSSE v1 with the signer's public key beside each signature.

An envelope is untrusted. Its `keyid` is a hint and its `publicKey` only a carrier: both say what the signer
claims, and prove nothing until the signature holds and the key's fingerprint is one the user pinned. `roots`
carries a team's root files, which no signature here covers, as each proves itself from the one before.
Source: DSSE protocol v1.0.2 (secure-systems-lab).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from weightshare.errors import ManifestError, UnsupportedError
from weightshare.manifest import strict_json
from weightshare.manifest.model import PAYLOAD_TYPE
from weightshare.manifest.text import quoted
from weightshare.units import MAX_ENVELOPE, MAX_ROOT, MAX_ROOTS, MAX_SIGNATURES

MAX_SIGNATURE = 16_384
"""Bytes, of whatever kind."""

MAX_KEY_LINE = 16_384
"""Characters of a public key in one line."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature over the envelope's PAE bytes.

    Attributes:
        keyid: the fingerprint the signer claims; a hint.
        sig: the signature itself; 64 bytes for Ed25519, 2,420 for ML-DSA-44.
        public_key: the one-line key it claims to be by, empty if absent; untrusted.
    """

    keyid: str
    sig: bytes
    public_key: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload as stored, and the signatures over it. Nothing in it is proven.

    Attributes:
        payload_type: what the payload is.
        payload: the bytes that are signed.
        signatures: those over type and payload.
        roots: a team's TUF root files, version 1 first; empty for a publisher with one key.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]
    roots: tuple[bytes, ...] = ()

    @property
    def payload_sha256(self) -> bytes:
        """SHA-256 of the payload (32 bytes): how other manifests name this one."""
        return hashlib.sha256(self.payload).digest()

    def pae(self) -> bytes:
        """The bytes that are signed: DSSE's pre-authentication encoding of type and payload."""
        kind = self.payload_type.encode("utf-8")
        return b"DSSEv1 %d %s %d " % (len(kind), kind, len(self.payload)) + self.payload

    def to_bytes(self) -> bytes:
        """The JSON to store, ending in a line feed."""
        signatures = []
        for signature in self.signatures:
            entry = {"keyid": signature.keyid, "sig": base64.b64encode(signature.sig).decode("ascii")}
            if signature.public_key:
                entry["publicKey"] = signature.public_key
            signatures.append(entry)
        document: dict[str, object] = {
            "payloadType": self.payload_type,
            "payload": base64.b64encode(self.payload).decode("ascii"),
            "signatures": signatures,
        }
        if self.roots:
            document["roots"] = [base64.b64encode(root).decode("ascii") for root in self.roots]
        return strict_json.dumps(document) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """Read an envelope; fields that DSSE does not know are ignored, as DSSE demands.

        Raises:
            ManifestError: it is no envelope, or breaks a limit.
            UnsupportedError: its payload is of another type.
        """
        document = strict_json.loads(data, limit=MAX_ENVELOPE, what="manifest's envelope")
        if not isinstance(document, dict):
            raise _error("", "it is no JSON object")
        payload_type = document.get("payloadType")
        if not isinstance(payload_type, str):
            raise _error("payloadType", "a text is expected")
        if payload_type != PAYLOAD_TYPE:
            raise UnsupportedError(
                f"The envelope holds {quoted(payload_type)}, not {PAYLOAD_TYPE}.",
                hint="It was made by another tool, or by a later version of this one.",
                field="payloadType",
            )
        payload = _base64(document.get("payload"), "payload", MAX_ENVELOPE)
        signatures = _list(document, "signatures", MAX_SIGNATURES)
        roots = _list(document, "roots", MAX_ROOTS) if "roots" in document else []
        return cls(
            payload_type,
            payload,
            tuple(_signature(entry, i) for i, entry in enumerate(signatures)),
            tuple(_base64(entry, f"roots[{i}]", MAX_ROOT) for i, entry in enumerate(roots)),
        )


def _list(document: dict[str, object], key: str, limit: int) -> list[object]:
    value = document.get(key)
    if not isinstance(value, list):
        raise _error(key, "a list is expected")
    if len(value) > limit:
        raise _error(key, f"{len(value)} of them, {limit} at most")
    return value


def _signature(entry: object, index: int) -> Signature:
    where = f"signatures[{index}]"
    if not isinstance(entry, dict):
        raise _error(where, "an object is expected")
    keyid = entry.get("keyid", "")
    public_key = entry.get("publicKey", "")
    if not isinstance(keyid, str):
        raise _error(f"{where}.keyid", "a text is expected")
    if not isinstance(public_key, str) or len(public_key) > MAX_KEY_LINE:
        raise _error(f"{where}.publicKey", "a one-line OpenSSH key is expected")
    return Signature(keyid, _base64(entry.get("sig"), f"{where}.sig", MAX_SIGNATURE), public_key)


def _base64(value: object, where: str, limit: int) -> bytes:
    if not isinstance(value, str):
        raise _error(where, "a base64 text is expected")
    try:
        decoded = binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise _error(where, "not base64") from error
    if len(decoded) > limit:
        raise _error(where, f"{len(decoded):,} bytes, {limit:,} at most")
    # Every character counted if the length is that of the bytes, and only the last group can hide unused bits.
    last = len(decoded) - (len(decoded) % 3 or 3)
    canonical = base64.b64encode(decoded[max(last, 0) :]).decode("ascii")
    if len(value) != -(-len(decoded) // 3) * 4 or not value.endswith(canonical):
        raise _error(where, "base64 with stray characters, or stray bits at its end")
    return decoded


def _error(where: str, problem: str) -> ManifestError:
    subject = f"The manifest's envelope, field `{where}`" if where else "The manifest's envelope"
    return ManifestError(f"{subject}: {problem}.", hint="The file is damaged or none of ours.", field=where)
