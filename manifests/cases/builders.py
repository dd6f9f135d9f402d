"""What the vectors and examples are made of, from plain dictionaries and bytes: nothing here is weightshare's own.

Every key is a TEST key: its seed is one byte repeated, so anybody can sign with it and nobody may trust it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Json = dict[str, Any]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
BLOCK = 16 * 1024
FILES = {
    "config.json": b"{}",
    "empty": b"",
    "model.safetensors": bytes(range(256)) * 300,
    "sub/notes.md": b"# notes",
}
SIGNATURES = Path(__file__).resolve().parent / "ml-dsa-44-signatures.json"
"""ML-DSA-44 signatures made once, by what they are over."""

MEDIA_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class Key:
    """An Ed25519 TEST key that follows from one number."""

    number: int

    @property
    def seed(self) -> bytes:
        """The private half (32 bytes), which is no secret."""
        return bytes([self.number]) * 32

    @cached_property
    def raw(self) -> bytes:
        """The public half (32 bytes)."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()

    @property
    def line(self) -> str:
        """The public half as OpenSSH's one line, without a comment."""
        return key_line("ssh-ed25519", wire("ssh-ed25519", self.raw))

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`."""
        return fingerprint(wire("ssh-ed25519", self.raw))

    def sign(self, message: bytes) -> bytes:
        """A raw signature (64 bytes); Ed25519 gives the same one each time."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)

    def private_file(self, comment: str) -> bytes:
        """The private half as OpenSSH's file, unencrypted, with fixed check bytes so that it is always the same."""
        head = b"openssh-key-v1\0" + wire("none", "none", "") + (1).to_bytes(4, "big")
        public = wire("ssh-ed25519", self.raw)
        private = b"TESTTEST" + public + wire(self.seed + self.raw, comment)
        private += bytes(range(1, 1 + -len(private) % 8))
        text = base64.b64encode(head + wire(public, private)).decode()
        lines = [text[at : at + 70] for at in range(0, len(text), 70)]
        kind = "OPENSSH PRIVATE KEY"
        return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""]).encode()


def wire(*strings: str | bytes) -> bytes:
    """Strings as SSH writes them: each behind its length in four bytes (RFC 4251, section 5)."""
    raw = [text.encode() if isinstance(text, str) else text for text in strings]
    return b"".join(len(data).to_bytes(4, "big") + data for data in raw)


def key_line(kind: str, blob: bytes) -> str:
    """A public key in one line."""
    return f"{kind} {b64(blob)}"


def fingerprint(blob: bytes) -> str:
    """`SHA256:` and the digest in base64 without padding."""
    return "SHA256:" + b64(hashlib.sha256(blob).digest()).rstrip("=")


def b64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode()


def compact(value: object) -> bytes:
    """JSON with sorted keys and no spaces, in UTF-8: the form in which weightshare writes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def pieces_root(data: bytes) -> str:
    """The BitTorrent v2 root of a file that is not empty (BEP 52), in hex."""
    layer = [hashlib.sha256(data[at : at + BLOCK]).digest() for at in range(0, len(data), BLOCK)]
    while len(layer) & (len(layer) - 1):
        layer.append(bytes(32))
    while len(layer) > 1:
        layer = [hashlib.sha256(a + b).digest() for a, b in zip(layer[::2], layer[1::2], strict=True)]
    return layer[0].hex()


def file_entry(path: str, data: bytes, media_type: str = MEDIA_TYPE) -> Json:
    """A file as `predicate.files` lists it."""
    digest = hashlib.sha256(data).hexdigest()
    entry = {"path": path, "size": len(data), "sha256": digest, "mediaType": media_type}
    return entry | ({"piecesRoot": pieces_root(data)} if data else {})


def subject_of(files: Sequence[Json]) -> list[Json]:
    """The statement's `subject` for those files."""
    return [{"name": entry["path"], "digest": {"sha256": entry["sha256"]}} for entry in files]


def statement(signers: Sequence[str], files: Mapping[str, bytes] = FILES) -> Json:
    """A small release, sound in every rule, that names these fingerprints as its publisher's."""
    entries = [file_entry(path, data) for path, data in sorted(files.items(), key=lambda f: f[0].encode())]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject_of(entries),
        "predicateType": "urn:weightshare:release:v1",
        "predicate": {
            "files": entries,
            "publisher": {"name": "acme", "keys": list(signers)},
            "model": {
                "id": "acme/m7b",
                "version": "1.0",
                "sequence": 5,
                "released": "2026-11-22T10:00:00Z",
                "summary": "a model for tests",
            },
            "torrent": {"name": "m7b", "pieceLength": 32 * 1024, "hybrid": True},
        },
    }


def pae(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """The bytes that are signed (DSSE v1.0.2)."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)


def signature(key: Key, payload: bytes) -> Json:
    """One entry of `signatures`."""
    return {"keyid": key.fingerprint, "sig": b64(key.sign(pae(payload))), "publicKey": key.line}


def seal(payload: bytes, *keys: Key) -> Json:
    """An envelope around a payload, signed by each key."""
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": b64(payload),
        "signatures": [signature(key, payload) for key in keys],
    }


def to_bytes(envelope: object) -> bytes:
    """An envelope as it is stored."""
    return compact(envelope) + b"\n"


@dataclass(frozen=True)
class MlDsaKey:
    """An ML-DSA-44 TEST key that follows from one number."""

    number: int

    @cached_property
    def raw(self) -> bytes:
        """The public half (1,312 bytes)."""
        return self._private.public_key().public_bytes_raw()

    @property
    def line(self) -> str:
        """The public half in one line."""
        return key_line("ml-dsa-44", wire("ml-dsa-44", self.raw))

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`."""
        return fingerprint(wire("ml-dsa-44", self.raw))

    def sign(self, message: bytes, context: bytes = b"") -> bytes:
        """A signature (2,420 bytes): the one that was kept, since signing gives another one each time."""
        name = hashlib.sha256(b"%d %s %s" % (self.number, context, message)).hexdigest()
        kept = json.loads(SIGNATURES.read_bytes()) if SIGNATURES.exists() else {}
        if name not in kept:
            kept[name] = b64(self._private.sign(message, context or None))
            SIGNATURES.write_bytes(json.dumps(kept, indent=0, sort_keys=True).encode() + b"\n")
        sig = base64.b64decode(kept[name])
        self._private.public_key().verify(sig, message, context or None)
        return sig

    def private_file(self) -> bytes:
        """The private half as a PKCS #8 file in PEM, unencrypted."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def _private(self) -> mldsa.MLDSA44PrivateKey:
        return mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes([self.number]) * 32)
