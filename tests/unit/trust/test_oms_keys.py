from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.builders_oms import CURVES, key_files, private_key, private_pem, public_pem
from weightshare.errors import KeyFileError
from weightshare.trust.oms_keys import EcPublicKey, EcSigner


@pytest.mark.parametrize("curve", CURVES)
def test_both_halves_go_together(tmp_path: Path, curve: str) -> None:
    private, public = key_files(tmp_path, curve)
    signer, key = EcSigner.load(private), EcPublicKey.load(public)
    assert signer.public_key == key
    assert (key.curve, key.hint) == (curve, hashlib.sha256(public.read_bytes()).hexdigest())
    signature = signer.sign(b"message")
    assert key.verify(signature, b"message")
    assert not key.verify(signature, b"massage")
    assert not key.verify(b"", b"message")
    assert not EcPublicKey.load(key_files(tmp_path, curve, 2)[1]).verify(signature, b"message")


def test_the_hash_is_that_of_the_curve(tmp_path: Path) -> None:
    private, _ = key_files(tmp_path, "P-384")
    signature = EcSigner.load(private).sign(b"message")
    private_key("P-384").public_key().verify(signature, b"message", ec.ECDSA(CURVES["P-384"][1]))


def test_sec1_and_parameters_before_it(tmp_path: Path) -> None:
    key = private_key()
    sec1 = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    # As `openssl ecparam -genkey` writes it.
    before = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    for name, data in (("sec1", sec1), ("parameters", before + sec1)):
        (tmp_path / name).write_bytes(data)
        assert EcSigner.load(tmp_path / name).public_key.pem == public_pem(key)


def test_a_passphrase_is_asked_for_and_tried(tmp_path: Path) -> None:
    path = tmp_path / "locked.pem"
    path.write_bytes(private_pem(private_key(), b"secret"))
    assert EcSigner.load(path, lambda: "secret").public_key.pem == public_pem(private_key())
    with pytest.raises(KeyFileError, match="does not open with this passphrase"):
        EcSigner.load(path, lambda: "guess")
    with pytest.raises(KeyFileError, match="nobody to ask"):
        EcSigner.load(path)


def test_a_passphrase_is_not_asked_for_in_vain(tmp_path: Path) -> None:
    def asked() -> str:
        raise AssertionError("asked for a passphrase that nobody needs")

    EcSigner.load(key_files(tmp_path)[0], asked)


OTHERS = {
    "an RSA key": rsa.generate_private_key(65537, 2048),
    "an Ed25519 key": ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)),
    "a key on the curve secp256k1": ec.derive_private_key(7, ec.SECP256K1()),
    "a key on the curve secp224r1": ec.derive_private_key(7, ec.SECP224R1()),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_keys_are_refused_by_name(tmp_path: Path, what: str) -> None:
    private, public = tmp_path / "private", tmp_path / "public"
    private.write_bytes(private_pem(OTHERS[what]))
    public.write_bytes(public_pem(OTHERS[what]))
    with pytest.raises(KeyFileError, match=f"holds {what}; an ECDSA key on P-256, P-384 or P-521"):
        EcSigner.load(private)
    with pytest.raises(KeyFileError, match=f"holds {what}; an ECDSA key on P-256, P-384 or P-521"):
        EcPublicKey.load(public)


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    ssh = tmp_path / "ssh"
    ssh.write_bytes(
        private_key().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    for name, data in (("junk", b"junk"), ("large", bytes(70_000)), ("empty", b"")):
        (tmp_path / name).write_bytes(data)
    torn = tmp_path / "torn"
    torn.write_bytes(private.read_bytes()[:80])
    for path, problem in (
        (public, "holds a public key"),
        (ssh, "OpenSSH's format"),
        (tmp_path / "junk", "holds no key"),
        (tmp_path / "empty", "holds no key"),
        (tmp_path / "large", "too large"),
        (torn, "no private key in PEM"),
        (tmp_path / "absent", "There is no key"),
        (tmp_path, "no regular file"),
    ):
        with pytest.raises(KeyFileError, match=problem):
            EcSigner.load(path)
    for path, problem in (
        (private, "holds a private key"),
        (tmp_path / "junk", "no public key in PEM"),
        (tmp_path / "absent", "There is no key"),
    ):
        with pytest.raises(KeyFileError, match=problem):
            EcPublicKey.load(path)
