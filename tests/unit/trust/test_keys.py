from __future__ import annotations

import base64
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tests.builders_releases import signer
from weightshare.errors import KeyFileError, UsageError
from weightshare.trust import keys, points
from weightshare.trust.keys import FileSigner, PublicKey, create_key, list_keys, parse_fingerprint

P = 2**255 - 19
KEY = signer().public_key


def _wire(kind: str, *fields: bytes) -> str:
    blob = b"".join(len(field).to_bytes(4, "big") + field for field in (kind.encode(), *fields))
    return f"{kind} {base64.b64encode(blob).decode()}"


def _line(raw: bytes) -> str:
    return _wire("ssh-ed25519", raw)


# ---- public keys


def test_one_line_form_round_trips() -> None:
    again = PublicKey.parse(f"  {KEY.openssh}\n")
    assert (again, again.comment) == (KEY, "test key 1")
    assert again.fingerprint == keys.format_fingerprint(again.fingerprint_bytes)


def test_a_comment_does_not_make_another_key() -> None:
    other = PublicKey(KEY.raw, "someone else")
    assert other == KEY
    assert len({other, KEY}) == 1


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_ssh_keygen_agrees_on_key_and_fingerprint(tmp_path: Path) -> None:
    public = create_key(tmp_path / "k", "me", "pass")
    shown = subprocess.run(
        ["ssh-keygen", "-lf", tmp_path / "k.pub"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split()[1] == public.fingerprint
    derived = subprocess.run(
        ["ssh-keygen", "-y", "-P", "pass", "-f", tmp_path / "k"], capture_output=True, text=True, check=True
    )
    assert PublicKey.parse(derived.stdout) == public
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "theirs"], check=True)
    theirs = FileSigner.load(tmp_path / "theirs")
    assert theirs.public_key.verify(theirs.sign(b"m"), b"m")


def _order_of(y: int) -> int:
    """The order of the point with this y, by adding it to itself; pure arithmetic, to check the table."""
    d = -121665 * pow(121666, -1, P) % P
    square = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    point, order = (x, y), 1
    while point != (0, 1):
        t = d * x * point[0] * y * point[1] % P
        point = (
            (point[0] * y + point[1] * x) * pow(1 + t, -1, P) % P,
            (point[1] * y + point[0] * x) * pow(1 - t, -1, P) % P,
        )
        order += 1
        assert order <= 8
    return order


SMALL = [1, P - 1, 0, points._Y8, P - points._Y8]


def test_the_table_of_small_points_is_complete() -> None:
    assert [_order_of(y) for y in SMALL] == [1, 2, 4, 8, 8]


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", [*SMALL, P, P + 1])
def test_points_of_small_order_and_odd_encodings_are_refused(y: int, sign: int) -> None:
    raw = (y | sign << 255).to_bytes(32, "little")
    with pytest.raises(KeyFileError, match=r"small order|not canonical"):
        PublicKey.parse(_line(raw))
    with pytest.raises(KeyFileError):
        PublicKey(raw)


def test_why_the_identity_is_refused() -> None:
    identity = (1).to_bytes(32, "little")
    forged = identity + bytes(32)
    Ed25519PublicKey.from_public_bytes(identity).verify(forged, b"any message at all")


def test_bytes_that_are_no_point_are_refused() -> None:
    with pytest.raises(KeyFileError, match="no point"):
        PublicKey((2).to_bytes(32, "little"))


def test_real_keys_are_points() -> None:
    for seed in range(50):
        assert points.problem_with(signer(seed).public_key.raw) is None


RSA = rsa.generate_private_key(65537, 2048).public_key()
ECDSA = ec.generate_private_key(ec.SECP256R1()).public_key()
OPENSSH = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
BODY = KEY.openssh.split()[1]

BAD_LINES = {
    "": "no public key",
    "hello world": "no public key",
    BODY: "no public key",
    "ssh-ed25519": "no Ed25519 key",
    "ssh-ed25519 ***": "not base64",
    f"ssh-ed25519 {BODY[:-4]}": "no Ed25519 key",
    f"ssh-ed25519 {BODY}AAAA": "no Ed25519 key",
    _wire("ssh-ed25519", KEY.raw, b"more"): "no Ed25519 key",
    _wire("ssh-ed25519", KEY.raw[:31]): "32 bytes, not 31",
    "ssh-ed25519 " + _wire("ssh-ed25518", KEY.raw).split()[1]: "no Ed25519 key",
    _wire("sk-ssh-ed25519@openssh.com", KEY.raw, b"ssh:"): "security device",
    # The type in the blob counts, whatever stands before it.
    "ssh-ed25519 " + _wire("sk-ssh-ed25519@openssh.com", KEY.raw, b"ssh:").split()[1]: "security device",
    "ssh-ed25519 " + RSA.public_bytes(*OPENSSH).decode().split()[1]: "no Ed25519 key: it is an RSA key",
    _wire("ssh-ed25519-cert-v01@openssh.com", KEY.raw): "a certificate",
    _wire("ssh-dss", KEY.raw): "a DSA key",
    _wire("ssh-mldsa", KEY.raw): "another type",
    RSA.public_bytes(*OPENSSH).decode(): r"an RSA key \('ssh-rsa'\); only Ed25519",
    ECDSA.public_bytes(*OPENSSH).decode(): "an ECDSA key",
    f'command="x" {KEY.openssh}': "no public key",
    f"ssh-ed25519 {BODY} \x1b[2J": "control character",
    "\x1b[2J x": "no public key",
    "ssh-ed25519 " + "A" * 20_000: "refused",
}


@pytest.mark.parametrize(("line", "problem"), BAD_LINES.items(), ids=range(len(BAD_LINES)))
def test_other_lines_are_refused(line: str, problem: str) -> None:
    with pytest.raises(KeyFileError, match=problem) as caught:
        PublicKey.parse(line)
    assert caught.value.exit_code == 3
    assert "\x1b" not in caught.value.message


def test_signatures_hold_or_do_not() -> None:
    key = signer()
    signature = key.sign(b"message")
    public = key.public_key
    assert public.verify(signature, b"message")
    assert not public.verify(signature, b"messagf")
    assert not public.verify(signature[:-1], b"message")
    assert not public.verify(b"", b"message")
    assert not signer(2).public_key.verify(signature, b"message")
    # S + L is the same number to a verifier that does not check its range (RFC 8032, 5.1.7).
    order = 2**252 + 27742317777372353535851937790883648493
    malleable = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    assert not public.verify(malleable, b"message")


# ---- key files


@pytest.mark.parametrize("passphrase", [None, "", "correct horse"])
def test_a_made_key_loads_and_signs(tmp_path: Path, passphrase: str | None) -> None:
    path = tmp_path / "deep" / "release"
    public = create_key(path, "acme releases", passphrase)
    loaded = FileSigner.load(path, lambda: passphrase or pytest.fail("asked for no reason"))
    assert (loaded.public_key, loaded.public_key.comment) == (public, "acme releases")
    assert public.verify(loaded.sign(b"m"), b"m")
    assert list_keys(path.parent) == [("release", public)]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    create_key(tmp_path / "k")
    before = (tmp_path / "k").read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        create_key(tmp_path / "k")
    assert (tmp_path / "k").read_bytes() == before
    (tmp_path / "other.pub").write_text("mine")
    with pytest.raises(KeyFileError, match="never overwritten"):
        create_key(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_comment_that_drives_a_terminal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="control character"):
        create_key(tmp_path / "k", "\x1b[2J")
    assert list(tmp_path.iterdir()) == []


def _pem(key: object) -> bytes:
    assert isinstance(key, rsa.RSAPrivateKey | Ed25519PrivateKey)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def test_files_that_are_no_signing_key_are_refused(tmp_path: Path) -> None:
    create_key(tmp_path / "locked", passphrase="right")
    (tmp_path / "rsa").write_bytes(_pem(rsa.generate_private_key(65537, 2048)))
    (tmp_path / "text").write_text("hello")
    (tmp_path / "cut").write_bytes(_pem(Ed25519PrivateKey.generate())[:100])
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    for name, problem in {
        "missing": "no key at",
        "text": "no OpenSSH private key",
        "cut": "no OpenSSH private key",
        "large": "too large",
        "rsa": "no Ed25519 key",
        "locked.pub": "public key",
        "": "cannot be read",
    }.items():
        with pytest.raises(KeyFileError, match=problem):
            FileSigner.load(tmp_path / name, lambda: "")
    with pytest.raises(KeyFileError, match=r"passphrase for .* is wrong"):
        FileSigner.load(tmp_path / "locked", lambda: "wrong")
    with pytest.raises(KeyFileError, match="nobody to ask"):
        FileSigner.load(tmp_path / "locked")


def test_list_keys_shows_what_can_sign(tmp_path: Path) -> None:
    b, a = create_key(tmp_path / "b"), create_key(tmp_path / "a.b")
    (tmp_path / "lone.pub").write_text(KEY.openssh)
    (tmp_path / "junk").write_text("x")
    (tmp_path / "junk.pub").write_bytes(b"\xff\xfe")
    assert list_keys(tmp_path) == [("a.b", a), ("b", b)]
    assert list_keys(tmp_path / "nowhere") == []


# ---- fingerprints


@pytest.mark.parametrize(
    "form",
    ["{}", " {}\n", "{}=", "sha256:{body}", "{body}", "{body}="],
    ids=["plain", "spaces", "padded", "lower", "body", "both"],
)
def test_fingerprints_are_normalised(form: str) -> None:
    fingerprint = KEY.fingerprint
    assert parse_fingerprint(form.format(fingerprint, body=fingerprint[7:])) == fingerprint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SHA256:",
        "SHA256:" + "A" * 42,
        "SHA256:" + "A" * 44,
        "SHA256:" + "A" * 42 + "B",
        "MD5:00:11",
        "\x1b[2J",
        "SHA256:" + "-" * 43,
    ],
)
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_fingerprint(text)
    assert "\x1b" not in caught.value.message
