"""Two kinds of key for one publisher: both must sign, and neither can be taken away."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from tests.builders_releases import knows, manifest, pin, signer
from weightshare.errors import KeyFileError, StrippedSignatureError
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import Publisher
from weightshare.trust import gate
from weightshare.trust.key_types import KEY_TYPE as ED25519
from weightshare.trust.keys import FileSigner, create_key
from weightshare.trust.post_quantum import (
    PostQuantumKey,
    PostQuantumSigner,
    create_post_quantum_key,
    post_quantum_path,
)
from weightshare.trust.publishers import KnownPublishers
from weightshare.trust.signing import sign

ACME = signer(1)
SECOND = PostQuantumSigner(MLDSA44PrivateKey.from_seed_bytes(bytes(32)))
OTHER = PostQuantumSigner(MLDSA44PrivateKey.from_seed_bytes(b"\1" * 32))
HYBRID = knows(replace(pin(ACME), post_quantum=SECOND.public_key.fingerprint))


def _signed(
    second: PostQuantumSigner | None = SECOND, *, names: PostQuantumSigner | None = SECOND
) -> Envelope:
    keys = [ACME.public_key.fingerprint, *([names.public_key.fingerprint] if names else [])]
    return sign(replace(manifest(ACME), publisher=Publisher("acme", tuple(keys))), ACME, second)


def test_both_signatures_are_taken() -> None:
    envelope = _signed()
    assert [len(signature.sig) for signature in envelope.signatures] == [64, 2420]
    assert gate.verify(envelope.to_bytes(), HYBRID).signer == ACME.public_key


def test_one_that_knows_the_first_key_alone_takes_them_too() -> None:
    assert gate.verify(_signed().to_bytes(), knows(pin(ACME))).signer == ACME.public_key


def test_a_stripped_signature_is_noticed() -> None:
    envelope = _signed()
    stripped = replace(envelope, signatures=envelope.signatures[:1])
    with pytest.raises(StrippedSignatureError, match="ML-DSA-44 signature by SHA256:") as caught:
        gate.verify(stripped.to_bytes(), HYBRID)
    assert caught.value.exit_code == 3
    assert caught.value.facts["missing"] == SECOND.public_key.fingerprint


def test_a_signature_by_another_second_key_is_not_it() -> None:
    with pytest.raises(StrippedSignatureError):
        gate.verify(_signed(OTHER, names=OTHER).to_bytes(), HYBRID)


def test_a_second_signature_over_other_bytes_is_not_it() -> None:
    ours, theirs = _signed(), sign(replace(manifest(ACME, sequence=6), publisher=_named()), ACME, SECOND)
    mixed = replace(ours, signatures=(ours.signatures[0], theirs.signatures[1]))
    with pytest.raises(StrippedSignatureError):
        gate.verify(mixed.to_bytes(), HYBRID)


def _named() -> Publisher:
    return Publisher("acme", (ACME.public_key.fingerprint, SECOND.public_key.fingerprint))


def test_a_second_key_that_the_manifest_does_not_name_does_not_count() -> None:
    envelope = sign(manifest(ACME), ACME)
    extra = _signed().signatures[1]
    forged = replace(extra, sig=SECOND.sign(envelope.pae()))
    with pytest.raises(StrippedSignatureError):
        gate.verify(replace(envelope, signatures=(*envelope.signatures, forged)).to_bytes(), HYBRID)
    with pytest.raises(KeyFileError, match="not among the keys"):
        sign(manifest(ACME), ACME, SECOND)


def test_the_pin_keeps_the_second_key(tmp_path: Path) -> None:
    HYBRID.save(tmp_path / "known")
    assert f'post-quantum="{SECOND.public_key.fingerprint}"' in (tmp_path / "known").read_text()
    assert KnownPublishers.load(tmp_path / "known") == HYBRID


def test_a_key_pair_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "acme"
    create_key(path, "acme", "secret")
    key = create_post_quantum_key(path, "secret")
    private = post_quantum_path(path)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert PostQuantumKey.parse(private.with_name("acme.mldsa44.pub").read_text()) == key
    loaded = PostQuantumSigner.load(private, lambda: "secret")
    assert loaded.public_key == key
    assert key.verify(loaded.sign(b"m"), b"m")
    assert not key.verify(loaded.sign(b"m"), b"n")
    with pytest.raises(KeyFileError, match=r"passphrase for .* is wrong"):
        PostQuantumSigner.load(private, lambda: "guess")
    with pytest.raises(KeyFileError, match="is encrypted"):
        PostQuantumSigner.load(private)
    with pytest.raises(KeyFileError, match="never overwritten"):
        create_post_quantum_key(path)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ml-dsa-44",
        "ml-dsa-44 AAAA",
        "ml-dsa-65 AAAA",
        f"{ED25519} AAAA",
        SECOND.public_key.line[:-4],
        "ml-dsa-44 é",
    ],
)
def test_a_line_that_is_no_key_is_refused(line: str) -> None:
    with pytest.raises(KeyFileError):
        PostQuantumKey.parse(line)


def test_an_ed25519_key_is_no_second_key(tmp_path: Path) -> None:
    create_key(tmp_path / "acme")
    with pytest.raises(KeyFileError, match=r"is no (private|ML-DSA-44) key"):
        PostQuantumSigner.load(tmp_path / "acme")
    assert FileSigner.load(tmp_path / "acme").public_key
