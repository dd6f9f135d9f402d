"""OpenSSF Model Signing for tests: keys that are always the same, and bundles that say whatever a test wants."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

CURVES: dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "P-256": (ec.SECP256R1(), hashes.SHA256()),
    "P-384": (ec.SECP384R1(), hashes.SHA384()),
    "P-521": (ec.SECP521R1(), hashes.SHA512()),
}
FILES = {
    "a-b/c.txt": b"sorts before a/c.txt by code point, after it by parts",
    "a/c.txt": b"other text",
    "config.json": b"{}",
    "empty": b"",
    "model.safetensors": bytes(range(256)) * 10,
}
Json = dict[str, Any]


def private_key(curve: str = "P-256", number: int = 1) -> ec.EllipticCurvePrivateKey:
    """A key that is the same for the same number; never one of a person."""
    return ec.derive_private_key(10**30 + number, CURVES[curve][0])


def private_pem(key: Any, passphrase: bytes | None = None) -> bytes:
    """Any private key as PKCS #8."""
    encryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return pem


def public_pem(key: Any) -> bytes:
    """The public half of any private key."""
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


def key_files(folder: Path, curve: str = "P-256", number: int = 1) -> tuple[Path, Path]:
    """Both halves of a key as files: private, public."""
    key = private_key(curve, number)
    private, public = folder / f"{curve}-{number}.pem", folder / f"{curve}-{number}.pub.pem"
    private.write_bytes(private_pem(key))
    public.write_bytes(public_pem(key))
    return private, public


def resource(name: str, data: bytes, algorithm: str = "sha256") -> Json:
    """What a statement says of some bytes."""
    return {"name": name, "algorithm": algorithm, "digest": hashlib.new(algorithm, data).hexdigest()}


def shards(files: Mapping[str, bytes], size: int) -> list[Json]:
    """What a statement of shards says of some files."""
    made = [
        resource(f"{path}:{at}:{min(at + size, len(data))}", data[at : at + size])
        for path, data in files.items()
        for at in range(0, len(data), size)
    ]
    return sorted(made, key=lambda entry: str(entry["name"]))


def statement(resources: list[Json] | None = None, **serialization: Any) -> Json:
    """A statement of `FILES`, or of other resources, whose root digest is right."""
    if resources is None:
        resources = [resource(path, data) for path, data in sorted(FILES.items())]
    made: Json = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": root_of(resources)}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": resources,
        },
    }
    made["predicate"]["serialization"] |= serialization
    return made


def root_of(resources: list[Json]) -> str:
    """SHA-256 over the digests as they stand, in hex."""
    return hashlib.sha256(b"".join(bytes.fromhex(entry["digest"]) for entry in resources)).hexdigest()


def payload_of(bundle: bytes) -> Json:
    """The statement in a bundle."""
    payload: Json = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    return payload


def bundle(said: Json | bytes, curve: str = "P-256", number: int = 1) -> bytes:
    """A statement, or any payload, signed by a key: a bundle as model_signing writes it."""
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    kind = b"application/vnd.in-toto+json"
    key = private_key(curve, number)
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    signature = key.sign(pae, ec.ECDSA(CURVES[curve][1]))
    hint = hashlib.sha256(public_pem(key)).hexdigest()
    made = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": kind.decode(),
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(made).encode()
