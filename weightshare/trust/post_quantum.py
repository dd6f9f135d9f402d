"""ML-DSA-44 beside Ed25519: a second signature that a large quantum computer cannot forge.

It never stands alone. A publisher pinned with both keys must present both signatures, so that breaking one kind
is not enough. The public key is written as OpenSSH writes keys, `ml-dsa-44 BASE64`, and known by the fingerprint
of that form, though no SSH program reads it. The private key is a PKCS #8 file beside the Ed25519 one.
Source: FIPS 204, pure ML-DSA-44 with an empty context.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from weightshare.errors import KeyFileError, StoreError
from weightshare.manifest.text import quoted
from weightshare.trust.keys import format_fingerprint, read_key_file, write_key_file

KEY_TYPE: Final = "ml-dsa-44"
KEY_SIZE: Final = 1312
SIGNATURE_SIZE: Final = 2420
_PREFIX = len(KEY_TYPE).to_bytes(4, "big") + KEY_TYPE.encode() + KEY_SIZE.to_bytes(4, "big")
_MAX_LINE = 4096


@dataclass(frozen=True, slots=True)
class PostQuantumKey:
    """An ML-DSA-44 public key (1,312 bytes)."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != KEY_SIZE:
            raise KeyFileError(f"An ML-DSA-44 key has {KEY_SIZE:,} bytes, not {len(self.raw):,}.")

    @property
    def fingerprint(self) -> str:
        """`SHA256:…` of the key in SSH's wire form."""
        return format_fingerprint(hashlib.sha256(_PREFIX + self.raw).digest())

    @property
    def line(self) -> str:
        """The one-line form: `ml-dsa-44 BASE64`."""
        return f"{KEY_TYPE} {base64.b64encode(_PREFIX + self.raw).decode('ascii')}"

    @classmethod
    def parse(cls, line: str) -> PostQuantumKey:
        """Read the one-line form.

        Raises:
            KeyFileError: it is no such line.
        """
        kind, _, rest = line.strip().partition(" ")
        blob = rest.strip().partition(" ")[0]
        try:
            wire = base64.b64decode(blob, validate=True) if len(line) <= _MAX_LINE else b""
        except (binascii.Error, ValueError):
            wire = b""
        sound = wire.startswith(_PREFIX) and base64.b64encode(wire).decode("ascii") == blob
        if kind != KEY_TYPE or not sound:
            raise KeyFileError(f"{quoted(line, 60)} is no {KEY_TYPE} key.")
        return cls(wire[len(_PREFIX) :])

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature (2,420 bytes) over the message is by this key.

        Raises:
            KeyFileError: this installation cannot tell.
        """
        try:
            _mldsa().MLDSA44PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        except UnsupportedAlgorithm as error:
            raise _unsupported() from error
        return True


class PostQuantumSigner:
    """Signs with an ML-DSA-44 private key. Make one with `load`."""

    def __init__(self, private_key: Any) -> None:
        self._private_key = private_key
        self._public_key = PostQuantumKey(private_key.public_key().public_bytes_raw())

    @property
    def public_key(self) -> PostQuantumKey:
        """The key that its signatures are checked with."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """A signature (2,420 bytes) over the message; another one each time."""
        signature: bytes = self._private_key.sign(message)
        return signature

    @classmethod
    def load(cls, path: Path, passphrase: Callable[[], str] | None = None) -> PostQuantumSigner:
        """Read a private key.

        Args:
            path: a PKCS #8 file in PEM.
            passphrase: asked only if the file is encrypted.

        Raises:
            KeyFileError: the file is missing or no ML-DSA-44 key, or the passphrase is wrong or not to be had.
        """
        mldsa, data = _mldsa(), read_key_file(path)
        encrypted = data.startswith(b"-----BEGIN ENCRYPTED")
        if encrypted and passphrase is None:
            raise KeyFileError(f"{path} is encrypted, and there is nobody to ask for its passphrase.")
        secret = passphrase().encode() if encrypted and passphrase is not None else None
        try:
            key = serialization.load_pem_private_key(data, secret)
        except UnsupportedAlgorithm as error:
            raise _unsupported() from error
        except (ValueError, TypeError) as error:
            problem = f"The passphrase for {path} is wrong." if encrypted else f"{path} is no private key."
            raise KeyFileError(problem) from error
        if not isinstance(key, mldsa.MLDSA44PrivateKey):
            raise KeyFileError(f"{path} is no ML-DSA-44 key.")
        return cls(key)


def create_post_quantum_key(path: Path, passphrase: str | None = None) -> PostQuantumKey:
    """Make an ML-DSA-44 key beside an Ed25519 key.

    Args:
        path: the Ed25519 key's file; the new one is called `PATH.mldsa44`, its public half `PATH.mldsa44.pub`.
        passphrase: encrypts it; None or empty leaves it in the clear.

    Raises:
        KeyFileError: a file is there already, or this installation knows no ML-DSA.
        StoreError: the disk refuses.
    """
    try:
        private_key = _mldsa().MLDSA44PrivateKey.generate()
    except UnsupportedAlgorithm as error:
        raise _unsupported() from error
    key = PostQuantumSigner(private_key).public_key
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    data = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    target = post_quantum_path(path)
    try:
        write_key_file(target, data, 0o600)
        write_key_file(target.with_name(f"{target.name}.pub"), f"{key.line}\n".encode(), 0o644)
    except FileExistsError as error:
        raise KeyFileError(f"{error.filename} is there already; a key is never overwritten.") from error
    except OSError as error:
        raise StoreError(f"The key could not be written to {target}: {error.strerror}.") from error
    return key


def post_quantum_path(path: Path) -> Path:
    """Where the ML-DSA-44 half of a key lies: `acme.mldsa44` beside `acme`."""
    return path.with_name(f"{path.name}.mldsa44")


def _mldsa() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa
    except ImportError as error:
        raise _unsupported() from error
    return mldsa


def _unsupported() -> KeyFileError:
    return KeyFileError(
        "This installation of the package cryptography knows no ML-DSA-44.",
        hint="Update it: pip install --upgrade cryptography",
    )
