"""What a key file holds, found out without its passphrase: a public key, or a private one in OpenSSH's container.

The container keeps the public half in the clear, so a key that does not serve is refused before anybody is asked
for a passphrase, and an agent can be asked whether it holds the key already. Source: OpenSSH's PROTOCOL.key.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path

from weightshare.errors import KeyFileError
from weightshare.trust.key_types import is_key_type
from weightshare.trust.keys import PublicKey, public_path_of, read_key_file
from weightshare.trust.wire import Reader, WireError

_MAGIC = b"openssh-key-v1\0"
_PEM = re.compile(rb"-----BEGIN OPENSSH PRIVATE KEY-----\s(.*?)-----END OPENSSH PRIVATE KEY-----", re.DOTALL)
_OTHERS = {
    b"-----BEGIN RSA PRIVATE KEY": "an RSA key; only Ed25519 keys sign releases",
    b"-----BEGIN EC PRIVATE KEY": "an ECDSA key; only Ed25519 keys sign releases",
    b"-----BEGIN DSA PRIVATE KEY": "a DSA key; only Ed25519 keys sign releases",
    b"-----BEGIN SSH SIGNATURE": "a signature",
    b"PuTTY-User-Key-File": "a key in PuTTY's format; `puttygen KEY -O private-openssh-new -o FILE` converts it",
    b"-----BEGIN ENCRYPTED PRIVATE KEY": "a key in PKCS#8 form; OpenSSH's is expected",
    b"-----BEGIN PRIVATE KEY": "a key in PKCS#8 form; OpenSSH's is expected",
}
_HINT = "Name an Ed25519 key with --key, or make one: ssh-keygen -t ed25519, or weightshare keys new."


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file with an Ed25519 key.

    Attributes:
        path: the file.
        public_key: the key, or its public half as the file states it; unproven until a signature holds.
        private: whether it holds the private half.
        encrypted: whether that wants a passphrase.
    """

    path: Path
    public_key: PublicKey
    private: bool
    encrypted: bool = False


def look(path: Path) -> KeyFile:
    """Find out what a key file holds.

    Raises:
        KeyFileError: it is missing, no key, or a key that does not serve; the message says why.
    """
    data = read_key_file(path)
    start = data.lstrip()
    for head, what in _OTHERS.items():
        if start.startswith(head):
            raise KeyFileError(f"{path} is {what}.", hint=_HINT)
    match = _PEM.search(data)
    try:
        if match is not None:
            return _container(path, match[1])
        lines = data.decode("utf-8").splitlines()
        if not lines or not is_key_type(lines[0].partition(" ")[0]):
            raise KeyFileError("It is neither an OpenSSH private key nor a public key.")
        if len(lines) > 1 and any(line.strip() for line in lines[1:]):
            raise KeyFileError("It holds more than one line; one key is expected.")
        return KeyFile(path, PublicKey.parse(lines[0]), private=False)
    except UnicodeDecodeError as error:
        raise KeyFileError(
            f"{path} is neither an OpenSSH private key nor a public key.", hint=_HINT
        ) from error
    except KeyFileError as error:
        raise KeyFileError(f"{path} does not serve as a key. {error.message}", hint=_HINT) from error


def private_beside(path: Path) -> Path | None:
    """The private key file beside a public one: `id_ed25519` beside `id_ed25519.pub`; None if there is none."""
    beside = path.with_suffix("")
    return beside if path.suffix == ".pub" and beside.is_file() else None


def public_beside(path: Path) -> Path | None:
    """The public key file where the private one is missing, as with keys that live in an agent alone."""
    beside = public_path_of(path)
    return beside if not path.exists() and beside.is_file() else None


def _container(path: Path, body: bytes) -> KeyFile:
    try:
        data = base64.b64decode(b"".join(body.split()), validate=True)
        if not data.startswith(_MAGIC):
            raise WireError("it does not begin as one")
        reader = Reader(data[len(_MAGIC) :])
        cipher, _kdf, _options, count = reader.string(), reader.string(), reader.string(), reader.uint32()
        if count != 1:
            raise WireError(f"it holds {count:,} keys, one is expected")
        public = reader.string()
        reader.string()
    except (binascii.Error, WireError) as error:
        raise KeyFileError(f"It is no OpenSSH private key: {error}.") from error
    return KeyFile(path, PublicKey.from_wire(public), private=True, encrypted=cipher != b"none")
