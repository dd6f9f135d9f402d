"""Ed25519 keys in OpenSSH's forms: the key a maintainer already has signs a release.

A public key is known by its fingerprint, `SHA256:…`, as `ssh-keygen -l` prints it. Refused: other types;
`sk-` keys (FIDO: their signatures cover something else, though the bytes look alike); points of small order.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from weightshare.errors import KeyFileError, StoreError, UsageError
from weightshare.manifest.text import quoted, unsafe_character
from weightshare.trust import points
from weightshare.trust.key_types import KEY_TYPE, describe_type, is_key_type
from weightshare.trust.wire import Reader, WireError, string

_MAX_LINE = 16_384
_MAX_KEY_FILE = 65_536
_NEW_KEY_HINT = "Make a key with `weightshare keys new`, or name an Ed25519 key with --key."


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key.

    Attributes:
        raw: the key itself (32 bytes).
        comment: what its owner wrote behind it; says nothing, and does not count when keys are compared.
    """

    raw: bytes
    comment: str = ""

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise KeyFileError(f"An Ed25519 key has 32 bytes, not {len(self.raw)}.")
        problem = points.problem_with(self.raw)
        if problem is not None:
            raise KeyFileError(f"The key {self.fingerprint} is refused: {problem}.")
        if unsafe_character(self.comment):
            raise KeyFileError(f"The key's comment {quoted(self.comment)} holds a control character.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    @property
    def fingerprint_bytes(self) -> bytes:
        """SHA-256 of the key in SSH's wire form (32 bytes)."""
        return hashlib.sha256(self.wire).digest()

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -l` prints it."""
        return format_fingerprint(self.fingerprint_bytes)

    @property
    def wire(self) -> bytes:
        """The key in SSH's wire form (51 bytes; RFC 8709, section 4)."""
        return string(KEY_TYPE.encode()) + string(self.raw)

    @property
    def openssh(self) -> str:
        """The one-line form: `ssh-ed25519 AAAA… comment`."""
        blob = base64.b64encode(self.wire).decode("ascii")
        return f"{KEY_TYPE} {blob} {self.comment}".rstrip()

    @classmethod
    def from_wire(cls, wire: bytes, comment: str = "") -> PublicKey:
        """Read a key in SSH's wire form; the type that counts is the one inside.

        Raises:
            KeyFileError: it is malformed, a key of another type, or one that must not be used.
        """
        reader = Reader(wire)
        try:
            kind = reader.string().decode("utf-8", "replace")
            if kind != KEY_TYPE:
                raise KeyFileError(f"It is no Ed25519 key: it is {describe_type(kind)}.")
            raw = reader.string()
            reader.end()
        except WireError as error:
            raise KeyFileError(f"It is no Ed25519 key: {error}.") from error
        return cls(raw, comment)

    @classmethod
    def parse(cls, line: str) -> PublicKey:
        """Read a key in OpenSSH's one-line form.

        Raises:
            KeyFileError: it is no such line, a key of another type, or one that must not be used.
        """
        if len(line) > _MAX_LINE:
            raise KeyFileError(f"A public key of {len(line):,} characters is refused.")
        kind, _, rest = line.strip().partition(" ")
        blob, _, comment = rest.strip().partition(" ")
        if not is_key_type(kind):
            raise KeyFileError(
                f"{quoted(line, 60)} is no public key; `{KEY_TYPE} AAAA…` is expected.", hint=_NEW_KEY_HINT
            )
        if kind != KEY_TYPE:
            raise KeyFileError(f"{quoted(line, 60)} is {describe_type(kind)}.", hint=_NEW_KEY_HINT)
        try:
            wire = base64.b64decode(blob, validate=True)
        except (binascii.Error, ValueError) as error:
            raise KeyFileError(f"{quoted(line, 60)} is no public key: not base64.") from error
        try:
            key = cls.from_wire(wire, comment.strip())
        except KeyFileError as error:
            raise KeyFileError(f"{quoted(line, 60)} is refused. {error.message}") from error
        if base64.b64encode(wire).decode("ascii") != blob:
            raise KeyFileError(f"{quoted(line, 60)} is no public key: base64 with stray bits at its end.")
        return key

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature (64 bytes, RFC 8032) over the message is by this key."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer(Protocol):
    """Something that signs with an Ed25519 key: a key file, an agent, a device."""

    @property
    def public_key(self) -> PublicKey:
        """The key that its signatures are checked with."""

    def sign(self, message: bytes) -> bytes:
        """A raw Ed25519 signature (64 bytes) over the message."""


class FileSigner:
    """Signs with an OpenSSH private key file. Make one with `load`."""

    def __init__(self, private_key: Ed25519PrivateKey, comment: str = "") -> None:
        self._private_key = private_key
        raw = private_key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        self._public_key = PublicKey(raw, comment)

    @property
    def public_key(self) -> PublicKey:
        """The key that its signatures are checked with."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """A raw Ed25519 signature (64 bytes) over the message."""
        return self._private_key.sign(message)

    @classmethod
    def load(cls, path: Path, passphrase: Callable[[], str] | None = None) -> FileSigner:
        """Read a private key.

        Args:
            path: an OpenSSH private key file.
            passphrase: asked only if the file is encrypted.

        Raises:
            KeyFileError: the file is missing or no Ed25519 key, or the passphrase is wrong or not to be had.
        """
        data = read_key_file(path)
        if data.startswith((b"ssh-", b"sk-", b"ecdsa-")):
            raise KeyFileError(f"{path} holds a public key.", hint="Name the private key, without `.pub`.")
        try:
            key = _decode(data, None)
            if key is None:
                if passphrase is None:
                    raise KeyFileError(
                        f"{path} is encrypted, and there is nobody to ask for its passphrase.",
                        hint="Run it on a terminal, or use a key without a passphrase.",
                    )
                key = _decode(data, passphrase().encode())
                if key is None:  # an empty passphrase counts as none
                    raise KeyFileError(f"The passphrase for {path} is wrong: it is empty.")
        except KeyFileError:
            raise
        except UnsupportedAlgorithm as error:
            raise KeyFileError(f"{path} cannot be used: {error}.", hint=_NEW_KEY_HINT) from error
        except (ValueError, InvalidTag) as error:  # the latter where the cipher authenticates
            encrypted = _is_encrypted(data)
            raise KeyFileError(
                f"The passphrase for {path} is wrong." if encrypted else f"{path} is no OpenSSH private key.",
                hint="" if encrypted else _NEW_KEY_HINT,
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{path} is no Ed25519 key.", hint=_NEW_KEY_HINT)
        return cls(key, _comment_beside(path))


def create_key(path: Path, comment: str = "", passphrase: str | None = None) -> PublicKey:
    """Make an Ed25519 key: OpenSSH private key at `path` (0600), public key at `path.pub` (0644).

    Args:
        path: where; its folder is made if need be (0700).
        comment: what to write behind the public key.
        passphrase: encrypts the private key; None or empty leaves it in the clear.

    Raises:
        KeyFileError: a file is there already; it is never overwritten.
        StoreError: the disk refuses.
    """
    private_key = Ed25519PrivateKey.generate()
    public_key = FileSigner(private_key, comment).public_key
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    data = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, encryption
    )
    public_path = public_path_of(path)
    for target in (path, public_path):
        if target.exists() or target.is_symlink():
            raise KeyFileError(
                f"{target} is there already; a key is never overwritten.",
                hint="Give the new key another name.",
            )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_key_file(path, data, 0o600)
        write_key_file(public_path, f"{public_key.openssh}\n".encode(), 0o644)
    except FileExistsError as error:
        raise KeyFileError(f"{path} is there already; a key is never overwritten.") from error
    except OSError as error:
        raise StoreError(f"The key could not be written to {path}: {error.strerror}.") from error
    return public_key


def list_keys(folder: Path) -> list[tuple[str, PublicKey]]:
    """Name and public key of every Ed25519 key in a folder that has both its files, sorted by name."""
    keys = []
    for public_path in sorted(folder.glob("*.pub")):
        if not public_path.with_suffix("").is_file():
            continue
        try:
            keys.append(
                (public_path.stem, PublicKey.parse(read_key_file(public_path).decode("utf-8", "replace")))
            )
        except KeyFileError:
            continue
    return keys


def public_path_of(path: Path) -> Path:
    """Where the public half of a private key file lies: `id_ed25519.pub` beside `id_ed25519`."""
    return path.with_name(f"{path.name}.pub")


def format_fingerprint(digest: bytes) -> str:
    """`SHA256:…` for a key's digest (32 bytes)."""
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def fingerprint_bytes(fingerprint: str) -> bytes:
    """The digest (32 bytes) of a fingerprint in its one spelling."""
    return base64.b64decode(fingerprint.removeprefix("SHA256:") + "=")


def parse_fingerprint(text: str) -> str:
    """A fingerprint as people paste it, in its one spelling: `SHA256:` and 43 characters.

    Raises:
        UsageError: it is none.
    """
    body = re.sub(r"\ASHA256:", "", text.strip(), flags=re.IGNORECASE).rstrip("=")
    try:
        digest = base64.b64decode(body + "=", validate=True) if len(body) == 43 else b""
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 32 or format_fingerprint(digest) != f"SHA256:{body}":
        raise UsageError(
            f"{quoted(text, 60)} is no fingerprint.",
            hint="It is SHA256: and 43 characters, as `weightshare keys show` and `ssh-keygen -l` print it.",
        )
    return f"SHA256:{body}"


def read_key_file(path: Path, limit: int = _MAX_KEY_FILE) -> bytes:
    """The bytes of a key file, no more than a key can have.

    Raises:
        KeyFileError: it is missing, unreadable or too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise KeyFileError(f"There is no key at {path}.", hint=_NEW_KEY_HINT) from error
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > limit:
        raise KeyFileError(f"{path} is too large to be a key.")
    return data


def _decode(data: bytes, passphrase: bytes | None) -> object | None:
    """The private key, or None if a passphrase is needed and was not given."""
    try:
        return serialization.load_ssh_private_key(data, passphrase)
    except TypeError:
        return None


def _is_encrypted(data: bytes) -> bool:
    try:
        return _decode(data, None) is None
    except (ValueError, UnsupportedAlgorithm):
        return False


def _comment_beside(path: Path) -> str:
    try:
        return PublicKey.parse(public_path_of(path).read_text("utf-8")).comment
    except (OSError, UnicodeDecodeError, KeyFileError):
        return ""


def write_key_file(path: Path, data: bytes, mode: int) -> None:
    """Write a new file, synced to the disk.

    Raises:
        FileExistsError: there is one.
        OSError: the disk refuses.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
