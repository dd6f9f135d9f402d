"""What a key file holds, before anybody is asked for a passphrase."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.builders_releases import signer
from weightshare.api.signers import open_signer
from weightshare.content.home import Home
from weightshare.errors import AgentError, KeyFileError
from weightshare.trust.key_files import look, private_beside, public_beside
from weightshare.trust.keys import create_key
from weightshare.trust.wire import string, uint32

KEY = signer(1).public_key
MAGIC = b"openssh-key-v1\0"


def container(
    *,
    magic: bytes = MAGIC,
    cipher: bytes = b"none",
    count: int = 1,
    wire: bytes = KEY.wire,
    secret: bytes = string(b"x"),
) -> bytes:
    body = base64.b64encode(
        magic + string(cipher) + string(b"none") + string(b"") + uint32(count) + string(wire) + secret
    )
    return b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + body + b"\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_both_halves_of_a_made_key(tmp_path: Path, passphrase: str | None) -> None:
    public = create_key(tmp_path / "k", "me", passphrase)
    found = look(tmp_path / "k")
    assert (found.public_key, found.private, found.encrypted) == (public, True, passphrase is not None)
    found = look(tmp_path / "k.pub")
    assert (found.public_key, found.private, found.encrypted) == (public, False, False)
    assert private_beside(tmp_path / "k.pub") == tmp_path / "k"
    assert private_beside(tmp_path / "k") is None
    assert public_beside(tmp_path / "k") is None
    (tmp_path / "k").unlink()
    assert public_beside(tmp_path / "k") == tmp_path / "k.pub"
    assert private_beside(tmp_path / "k.pub") is None


PKCS8 = Ed25519PrivateKey.generate().private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "neither"),
    "text": (b"hello\n", "neither"),
    "binary": (b"\xff\xfe", "neither"),
    "two keys": (f"{KEY.openssh}\n{KEY.openssh}\n".encode(), "more than one line"),
    "options": (f'command="x" {KEY.openssh}\n'.encode(), "neither"),
    "PKCS#8": (PKCS8, "PKCS#8"),
    "PEM": (b"\n-----BEGIN RSA PRIVATE KEY-----\n", "RSA"),
    "PuTTY": (b"PuTTY-User-Key-File-3: ssh-ed25519\n", "puttygen"),
    "a signature": (b"-----BEGIN SSH SIGNATURE-----\n", "a signature"),
    "a certificate": (b"ssh-ed25519-cert-v01@openssh.com AAAA me\n", "a certificate"),
    "magic": (container(magic=b"openssh-key-v2\0"), "does not begin as one"),
    "no keys": (container(count=0), "0 keys"),
    "two inside": (container(count=2), "2 keys"),
    "no secret": (container(secret=b""), "ends early"),
    "not base64": (container().replace(b"b3Bl", b"b3*l"), "no OpenSSH private key"),
    "rsa inside": (container(wire=string(b"ssh-rsa") + string(b"\1")), "RSA"),
    "sk inside": (container(wire=string(b"sk-ssh-ed25519@openssh.com") + string(KEY.raw)), "security device"),
    "small inside": (
        container(wire=string(b"ssh-ed25519") + string((1).to_bytes(32, "little"))),
        "small order",
    ),
    "large": (b"x" * 100_000, "too large"),
}


@pytest.mark.parametrize(("data", "problem"), BAD.values(), ids=BAD)
def test_what_does_not_serve_is_named(data: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(data)
    with pytest.raises(KeyFileError, match=re.escape(problem)) as caught:
        look(tmp_path / "k")
    assert str(tmp_path / "k") in caught.value.message


@given(st.binary(max_size=200))
def test_any_content_of_a_container_is_read_or_refused(data: bytes) -> None:
    from weightshare.trust.key_files import _container

    for body in (data, base64.b64encode(MAGIC + data)):
        with pytest.raises(KeyFileError):
            _container(Path("k"), body)


def test_a_private_key_beside_that_is_another_one_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    create_key(tmp_path / "k")
    assert open_signer(tmp_path / "k.pub", Home(tmp_path)).public_key != KEY
    (tmp_path / "k.pub").write_text(KEY.openssh)
    with pytest.raises(AgentError, match=r"k\.pub is a public key"):
        open_signer(tmp_path / "k.pub", Home(tmp_path))
