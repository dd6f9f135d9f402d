"""SSHSIG: a detached signature that stock `ssh-keygen -Y verify` checks, with none of our code.

It is made over the very bytes of `weightshare.json`, under the namespace `weightshare`, so that it passes for nothing
else that the same key signs (git commits, files, e-mail). Both hash functions of the format are read; SHA-512 is
written. Source: OpenSSH's PROTOCOL.sshsig.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weightshare.errors import BadSignatureError, KeyFileError
from weightshare.manifest.text import quoted
from weightshare.trust.key_types import KEY_TYPE, describe_type
from weightshare.trust.keys import PublicKey, Signer
from weightshare.trust.wire import Reader, WireError, string, uint32

NAMESPACE = "weightshare"
MAX_SIGNATURE = 16_384
"""Bytes of a signature file; an Ed25519 one has about 300."""

_MAGIC = b"SSHSIG"
_VERSION = 1
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_HASHES: dict[str, Callable[[bytes], Any]] = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_MADE_WITH = "sha512"
_COLUMNS = 70


@dataclass(frozen=True, slots=True)
class SshSignature:
    """A signature as it is stored; it says nothing until `holds_for` does.

    Attributes:
        public_key: the key that it says made it.
        namespace: what it was made for.
        hash_name: `sha256` or `sha512`.
        signature: the raw Ed25519 signature (64 bytes).
    """

    public_key: PublicKey
    namespace: str
    hash_name: str
    signature: bytes

    def holds_for(self, message: bytes) -> bool:
        """Whether the key that it names signed this message, for this namespace."""
        return self.public_key.verify(self.signature, _signed(message, self.namespace, self.hash_name))

    def render(self) -> bytes:
        """The armoured file."""
        blob = b"".join(
            (
                _MAGIC,
                uint32(_VERSION),
                string(self.public_key.wire),
                string(self.namespace.encode()),
                string(b""),
                string(self.hash_name.encode()),
                string(string(KEY_TYPE.encode()) + string(self.signature)),
            )
        )
        lines = textwrap.wrap(base64.b64encode(blob).decode("ascii"), _COLUMNS)
        return "\n".join((_BEGIN, *lines, _END, "")).encode("ascii")

    @classmethod
    def parse(cls, data: bytes) -> SshSignature:
        """Read an armoured file. Nothing may stand around the armour, and nothing in it may be left over.

        Raises:
            BadSignatureError: it is malformed, of another version, or by a key of a type that does not serve.
        """
        reader = Reader(_unarmoured(data))
        try:
            if reader.take(len(_MAGIC)) != _MAGIC:
                raise _malformed("it does not begin with SSHSIG")
            version = reader.uint32()
            if version != _VERSION:
                raise _malformed(f"it is of version {version}, {_VERSION} is expected")
            key = PublicKey.from_wire(reader.string())
            namespace = _text(reader.string())
            if reader.string():
                raise _malformed("its reserved field is not empty")
            hash_name = _text(reader.string())
            signature = Reader(reader.string())
            reader.end()
            kind, raw = _text(signature.string()), signature.string()
            signature.end()
        except WireError as error:
            raise _malformed(str(error)) from error
        except KeyFileError as error:
            raise BadSignatureError(
                f"The SSH signature's key does not serve. {error.message}", hint=_HINT
            ) from error
        if hash_name not in _HASHES:
            raise _malformed(f"its hash function is {quoted(hash_name, 40)}, sha256 or sha512 is expected")
        if kind != KEY_TYPE:
            raise _malformed(f"it is a signature by {describe_type(kind)}")
        if len(raw) != 64:
            raise _malformed(f"its signature has {len(raw):,} bytes, 64 are expected")
        return cls(key, namespace, hash_name, raw)


def make(message: bytes, signer: Signer) -> bytes:
    """A detached signature over a message, as the file that `ssh-keygen -Y verify -n weightshare -s` takes.

    Args:
        message: the bytes of `weightshare.json`.
        signer: a key file or an agent.

    Raises:
        KeyFileError: what the signer gave does not hold.
        AgentError: the agent did not sign.
    """
    key = PublicKey(signer.public_key.raw)
    raw = signer.sign(_signed(message, NAMESPACE, _MADE_WITH))
    made = SshSignature(key, NAMESPACE, _MADE_WITH, raw)
    if not made.holds_for(message):
        raise KeyFileError(f"What signed for {key.fingerprint} gave a signature that does not hold.")
    return made.render()


def verify(data: bytes, message: bytes) -> PublicKey:
    """The key that made a detached signature over a message; whether anybody trusts it is another question.

    Args:
        data: the signature file.
        message: the bytes of `weightshare.json`.

    Raises:
        BadSignatureError: it is malformed, made for something else, or does not hold over the message.
    """
    found = SshSignature.parse(data)
    if found.namespace != NAMESPACE:
        raise BadSignatureError(
            f"The SSH signature was made for the namespace {quoted(found.namespace, 60)}, "
            f"{NAMESPACE!r} is expected.",
            hint=_HINT,
        )
    if not found.holds_for(message):
        raise BadSignatureError(
            f"The SSH signature by {found.public_key.fingerprint} does not hold over the manifest.",
            hint="The manifest is another one than was signed, or one of the two was damaged.",
            fingerprint=found.public_key.fingerprint,
        )
    return found.public_key


_HINT = f"Make it with `weightshare publish --sshsig`, or `ssh-keygen -Y sign -n {NAMESPACE} -f KEY weightshare.json`."


def _signed(message: bytes, namespace: str, hash_name: str) -> bytes:
    """What the key signs: the purpose and the message's hash, never the message itself."""
    digest: bytes = _HASHES[hash_name](message).digest()
    fields = (namespace.encode(), b"", hash_name.encode(), digest)
    return _MAGIC + b"".join(string(field) for field in fields)


def _unarmoured(data: bytes) -> bytes:
    if len(data) > MAX_SIGNATURE:
        raise _malformed(f"it is larger than {MAX_SIGNATURE:,} bytes")
    lines = data.replace(b"\r\n", b"\n").decode("latin-1").rstrip("\n").split("\n")
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise _malformed(f"a file from {_BEGIN!r} to {_END!r} is expected")
    body = "".join(lines[1:-1])
    try:
        blob = base64.b64decode(body.encode("latin-1"), validate=True)
    except binascii.Error as error:
        raise _malformed("its armour is not base64") from error
    if base64.b64encode(blob).decode("ascii") != body:
        raise _malformed("its base64 has stray bits at its end")
    return blob


def _text(field: bytes) -> str:
    try:
        return field.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed("a field is not UTF-8") from error


def _malformed(why: str) -> BadSignatureError:
    return BadSignatureError(f"The SSH signature is malformed or does not serve: {why}.", hint=_HINT)
