"""Detached SSH signatures: the format, and everything that is not quite it. The real `ssh-keygen` is in interop."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders_releases import signer
from weightshare.errors import BadSignatureError, KeyFileError
from weightshare.trust import sshsig
from weightshare.trust.keys import PublicKey
from weightshare.trust.sshsig import SshSignature
from weightshare.trust.wire import string, uint32

KEY = signer(1)
MESSAGE = b'{"payloadType":"application/vnd.in-toto+json"}'
GOOD = sshsig.make(MESSAGE, KEY)


def blob_of(armoured: bytes) -> bytes:
    return base64.b64decode(b"".join(armoured.split(b"\n")[1:-2]))


def armour(blob: bytes) -> bytes:
    body = base64.b64encode(blob)
    return b"-----BEGIN SSH SIGNATURE-----\n" + body + b"\n-----END SSH SIGNATURE-----\n"


def made(
    *,
    magic: bytes = b"SSHSIG",
    version: int = 1,
    wire: bytes = KEY.public_key.wire,
    namespace: bytes = b"weightshare",
    reserved: bytes = b"",
    hash_name: bytes = b"sha512",
    kind: bytes = b"ssh-ed25519",
    raw: bytes | None = None,
    inner: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A signature that is right but for what is said."""
    digest = hashlib.new(
        hash_name.decode("latin-1") if hash_name in (b"sha256", b"sha512", b"sha1") else "sha512"
    )
    digest.update(MESSAGE)
    fields = (namespace, reserved, hash_name, digest.digest())
    signed = b"SSHSIG" + b"".join(string(field) for field in fields)
    signature = string(string(kind) + string(KEY.sign(signed) if raw is None else raw) + inner)
    head = magic + uint32(version) + string(wire) + string(namespace) + string(reserved) + string(hash_name)
    return armour(head + signature + after)


def test_it_holds_for_the_message_and_no_other() -> None:
    assert sshsig.verify(GOOD, MESSAGE) == KEY.public_key
    for other in (MESSAGE[:-1], MESSAGE + b"\n", b""):
        with pytest.raises(BadSignatureError, match="does not hold") as caught:
            sshsig.verify(GOOD, other)
        assert caught.value.exit_code == 3


def test_the_form_on_the_disk() -> None:
    lines = GOOD.decode("ascii").split("\n")
    assert (lines[0], lines[-2], lines[-1]) == (
        "-----BEGIN SSH SIGNATURE-----",
        "-----END SSH SIGNATURE-----",
        "",
    )
    assert {len(line) for line in lines[1:-3]} == {70}
    assert SshSignature.parse(GOOD).render() == GOOD
    assert KEY.public_key.comment.encode() not in blob_of(GOOD)
    assert blob_of(GOOD) == blob_of(made())


@pytest.mark.parametrize(
    "data", [made(hash_name=b"sha256"), GOOD.replace(b"\n", b"\r\n"), GOOD.rstrip(b"\n")]
)
def test_other_ways_to_write_the_same(data: bytes) -> None:
    assert sshsig.verify(data, MESSAGE) == KEY.public_key


RAW = KEY.public_key.raw
SK = string(b"sk-ssh-ed25519@openssh.com") + string(RAW) + string(b"ssh:")
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is expected"),
    "text": (b"hello\n", "is expected"),
    "large": (GOOD + b"\n" * 20_000, "larger than"),
    "before": (b"x\n" + GOOD, "is expected"),
    "after": (GOOD + b"x\n", "is expected"),
    "no end": (GOOD[:-30], "is expected"),
    "no content": (armour(b""), "ends early"),
    "not base64": (GOOD.replace(b"U1NI", b"U1N*"), "not base64"),
    "space in base64": (GOOD.replace(b"U1NI", b"U1N I"), "not base64"),
    "not ASCII": (GOOD.replace(b"U1NI", b"U1N\xe9"), "not base64"),
    "magic": (made(magic=b"SSHSIH"), "SSHSIG"),
    "version 0": (made(version=0), "version 0"),
    "version 2": (made(version=2), "version 2"),
    "other namespace": (made(namespace=b"file"), "namespace 'file'"),
    "longer namespace": (made(namespace=b"weightshare2"), "namespace 'weightshare2'"),
    "no namespace": (made(namespace=b""), "namespace ''"),
    "odd namespace": (made(namespace=b"\xff"), "not UTF-8"),
    "escape in namespace": (made(namespace=b"\x1b[2J"), "namespace"),
    "reserved": (made(reserved=b"x"), "reserved field"),
    "sha1": (made(hash_name=b"sha1"), "'sha1'"),
    "no hash": (made(hash_name=b""), "hash function"),
    "sk key": (made(wire=SK), "security device"),
    "sk key relabelled": (
        made(wire=string(b"ssh-ed25519") + string(RAW) + string(b"ssh:")),
        "follow its end",
    ),
    "rsa key": (made(wire=string(b"ssh-rsa") + string(b"\1\0\1") + string(b"\0\xff")), "RSA"),
    "ecdsa key": (made(wire=string(b"ecdsa-sha2-nistp256") + string(b"\4")), "ECDSA"),
    "weak key": (made(wire=string(b"ssh-ed25519") + string((1).to_bytes(32, "little"))), "small order"),
    "sk signature": (made(kind=b"sk-ssh-ed25519@openssh.com"), "security device"),
    "rsa signature": (made(kind=b"rsa-sha2-512"), "another type"),
    "short": (made(raw=bytes(63)), "63 bytes"),
    "long": (made(raw=bytes(65)), "65 bytes"),
    "zeros": (made(raw=bytes(64)), "does not hold"),
    "other key": (made(wire=signer(2).public_key.wire), "does not hold"),
    "inner trailing": (made(inner=b"x"), "follow its end"),
    "outer trailing": (made(after=b"x"), "follow its end"),
    "string past the end": (armour(b"SSHSIG" + uint32(1) + uint32(2**32 - 1)), "ends early"),
}


@pytest.mark.parametrize(("data", "problem"), BROKEN.values(), ids=BROKEN)
def test_what_is_not_quite_one_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(BadSignatureError, match=problem) as caught:
        sshsig.verify(data, MESSAGE)
    assert "\x1b" not in caught.value.message


@given(st.integers(0, len(blob_of(GOOD)) * 8 - 1))
def test_no_bit_of_it_may_change(bit: int) -> None:
    blob = bytearray(blob_of(GOOD))
    blob[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadSignatureError):
        sshsig.verify(armour(bytes(blob)), MESSAGE)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_order(data: bytes) -> None:
    for candidate in (data, armour(data), armour(b"SSHSIG" + uint32(1) + data)):
        with pytest.raises(BadSignatureError):
            sshsig.verify(candidate, MESSAGE)


def test_a_base64_end_with_stray_bits_is_refused() -> None:
    # `QQ==` and `QR==` decode to the same byte; one file has one spelling.
    stray = armour(b"A").replace(b"QQ==", b"QR==")
    with pytest.raises(BadSignatureError, match="stray bits"):
        sshsig.verify(stray, MESSAGE)


def test_a_signer_that_signs_wrongly_is_found_out() -> None:
    class Broken:
        public_key: PublicKey = KEY.public_key

        def sign(self, message: bytes) -> bytes:
            return signer(2).sign(message)

    with pytest.raises(KeyFileError, match="does not hold"):
        sshsig.make(MESSAGE, Broken())


def test_a_signature_over_the_envelope_is_none_over_the_message() -> None:
    with pytest.raises(BadSignatureError, match="does not hold"):
        sshsig.verify(made(raw=KEY.sign(MESSAGE)), MESSAGE)
