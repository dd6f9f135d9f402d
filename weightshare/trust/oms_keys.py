"""ECDSA keys in PEM: the only ones that OpenSSF Model Signing knows.

P-256, P-384 and P-521, each with the SHA-2 of its size. They sign and check OMS bundles and nothing else; a release's
own signature is by other keys, in `keys`. A key is named by its hint: SHA-256 (hex) of its public half's PEM text.
Source: model-signing-spec, algorithm-registry.md, and model_signing 1.1.1 for the hint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from weightshare.errors import KeyFileError

_MAX_KEY_FILE = 65_536
_CURVES: Final[dict[str, tuple[str, hashes.HashAlgorithm]]] = {
    "secp256r1": ("P-256", hashes.SHA256()),
    "secp384r1": ("P-384", hashes.SHA384()),
    "secp521r1": ("P-521", hashes.SHA512()),
}
_WANTED = "an ECDSA key on P-256, P-384 or P-521 is needed"
_HINT = "Make one: openssl ecparam -name prime256v1 -genkey -noout -out oms.pem"
_PUBLIC_HINT = "It begins with `-----BEGIN PUBLIC KEY-----`: openssl ec -in oms.pem -pubout -out oms.pub.pem"


@dataclass(frozen=True, slots=True)
class EcPublicKey:
    """An ECDSA public key. Make one with `load`, or take it from a signer.

    Attributes:
        curve: `P-256`, `P-384` or `P-521`.
        pem: the key as SubjectPublicKeyInfo, in PEM as `cryptography` writes it.
    """

    curve: str
    pem: bytes

    @property
    def hint(self) -> str:
        """SHA-256 of the PEM text (64 hex digits): what a bundle names the key by."""
        return hashlib.sha256(self.pem).hexdigest()

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature (DER) over the message is by this key, with the hash of its curve."""
        key = serialization.load_pem_public_key(self.pem)
        assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101  checked when it was made
        try:
            key.verify(signature, message, ec.ECDSA(_CURVES[key.curve.name][1]))
        except InvalidSignature:
            return False
        return True

    @classmethod
    def load(cls, path: Path) -> EcPublicKey:
        """Read a public key.

        Args:
            path: a PEM file, `BEGIN PUBLIC KEY`.

        Raises:
            KeyFileError: the file is missing, holds something else, or a key of another kind.
        """
        data = _read(path, _PUBLIC_HINT)
        if b"PRIVATE KEY" in data:
            raise KeyFileError(f"{path} holds a private key; its public half is needed.", hint=_PUBLIC_HINT)
        try:
            key = serialization.load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"{path} is no public key in PEM.", hint=_PUBLIC_HINT) from error
        return _public(key, path)


class EcSigner:
    """Signs with a PEM private key file. Make one with `load`."""

    def __init__(self, private_key: ec.EllipticCurvePrivateKey, public_key: EcPublicKey) -> None:
        self._private_key = private_key
        self.public_key = public_key

    def sign(self, message: bytes) -> bytes:
        """A signature (DER) over the message, with the hash of the key's curve."""
        return self._private_key.sign(message, ec.ECDSA(_CURVES[self._private_key.curve.name][1]))

    @classmethod
    def load(cls, path: Path, passphrase: Callable[[], str] | None = None) -> EcSigner:
        """Read a private key.

        Args:
            path: a PEM file, PKCS #8 or SEC 1.
            passphrase: asked only if the file is encrypted.

        Raises:
            KeyFileError: the file is missing, holds something else or a key of another kind, or the passphrase is
                wrong or not to be had.
        """
        data = _read(path, _HINT)
        if b"OPENSSH PRIVATE KEY" in data:
            raise KeyFileError(f"{path} is a key in OpenSSH's format; {_WANTED}, in PEM.", hint=_HINT)
        if b"PRIVATE KEY" not in data:
            what = (
                "holds a public key" if b"PUBLIC KEY" in data or data.startswith(b"ssh-") else "holds no key"
            )
            raise KeyFileError(f"{path} {what}; a private key in PEM is needed.", hint=_HINT)
        secret: bytes | None = None
        try:
            try:
                key: object = serialization.load_pem_private_key(data, None)
            except TypeError:
                if passphrase is None:
                    raise KeyFileError(
                        f"{path} is encrypted, and there is nobody to ask for its passphrase.",
                        hint="Run it on a terminal, or use a key without a passphrase.",
                    ) from None
                secret = passphrase().encode()
                key = serialization.load_pem_private_key(data, secret)
        except UnsupportedAlgorithm as error:
            raise KeyFileError(f"{path} cannot be used: {error}.", hint=_HINT) from error
        except ValueError as error:
            problem = "is no private key in PEM" if secret is None else "does not open with this passphrase"
            raise KeyFileError(f"{path} {problem}.", hint=_HINT if secret is None else "") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise KeyFileError(f"{path} holds {_kind(key)}; {_WANTED}.", hint=_HINT)
        return cls(key, _public(key.public_key(), path))


def _public(key: object, path: Path) -> EcPublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise KeyFileError(f"{path} holds {_kind(key)}; {_WANTED}.", hint=_HINT)
    if key.curve.name not in _CURVES:
        raise KeyFileError(f"{path} holds a key on the curve {key.curve.name}; {_WANTED}.", hint=_HINT)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return EcPublicKey(_CURVES[key.curve.name][0], pem)


def _kind(key: object) -> str:
    kinds: list[tuple[str, tuple[type, ...]]] = [
        ("an RSA key", (rsa.RSAPrivateKey, rsa.RSAPublicKey)),
        ("an Ed25519 key", (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey)),
        ("an Ed448 key", (ed448.Ed448PrivateKey, ed448.Ed448PublicKey)),
        ("a DSA key", (dsa.DSAPrivateKey, dsa.DSAPublicKey)),
    ]
    return next((name for name, types in kinds if isinstance(key, types)), "a key of another kind")


def _read(path: Path, hint: str) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise KeyFileError(f"{path} is no regular file.", hint=hint)
        with path.open("rb") as file:
            data = file.read(_MAX_KEY_FILE + 1)
    except FileNotFoundError as error:
        raise KeyFileError(f"There is no key at {path}.", hint=hint) from error
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_KEY_FILE:
        raise KeyFileError(f"{path} is too large to be a key.")
    return data
