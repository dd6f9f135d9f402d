"""The published examples are releases that the gate accepts, for whoever knows their publishers and for nobody else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from shutil import which

import pytest

from tests.builders_releases import knows, pin, release, signer
from tests.conformance.vectors import MANIFESTS, second_verifier, short_verifier
from weightshare.errors import (
    BadSignatureError,
    StrippedSignatureError,
    ThresholdError,
    UnknownPublisherError,
)
from weightshare.manifest.envelope import Envelope
from weightshare.trust.gate import verify
from weightshare.trust.keys import FileSigner, PublicKey
from weightshare.trust.post_quantum import PostQuantumKey, PostQuantumSigner
from weightshare.trust.publishers import KnownPublishers

EXAMPLES = MANIFESTS / "examples"
KEYS = EXAMPLES / "keys"
RELEASES = {"solo": "acme/m7b@1.0", "hybrid": "nova/m7b@1.0", "team": "guild/m7b@1.0"}
SOLO = EXAMPLES / "solo.weightshare.json"
KNOWN = KnownPublishers.load(EXAMPLES / "known_publishers")


def _envelope(name: str) -> bytes:
    return (EXAMPLES / f"{name}.weightshare.json").read_bytes()


@pytest.mark.parametrize(("name", "of"), RELEASES.items())
def test_whoever_knows_the_publishers_accepts_the_examples(name: str, of: str) -> None:
    verified = verify(_envelope(name), KNOWN)
    assert (verified.release, verified.warnings) == (of, ())


@pytest.mark.parametrize("name", RELEASES)
def test_nobody_else_does(name: str) -> None:
    with pytest.raises(UnknownPublisherError):
        verify(_envelope(name), knows())


def test_there_are_no_other_examples() -> None:
    assert {path.name for path in EXAMPLES.glob("*.json")} == {
        f"{name}.weightshare.json" for name in RELEASES
    }


def test_the_page_names_the_key_of_the_first() -> None:
    verified = verify(SOLO.read_bytes(), knows(pin(signer())))
    assert verified.fingerprint in (MANIFESTS / "README.md").read_text()


def test_one_changed_byte_of_the_payload_is_noticed() -> None:
    envelope = SOLO.read_bytes()
    at = envelope.index(b'"payload":"') + 40
    changed = envelope[:at] + (b"A" if envelope[at : at + 1] != b"A" else b"B") + envelope[at + 1 :]
    with pytest.raises(BadSignatureError):
        verify(changed, KNOWN)


@pytest.mark.parametrize(("name", "error"), [("hybrid", StrippedSignatureError), ("team", ThresholdError)])
def test_one_signature_less_is_noticed(name: str, error: type[Exception]) -> None:
    document = json.loads(_envelope(name))
    document["signatures"].pop()
    with pytest.raises(error):
        verify(json.dumps(document).encode(), KNOWN)


def test_the_same_release_gives_the_same_bytes_on_every_machine() -> None:
    assert release().envelope == SOLO.read_bytes()


@pytest.mark.parametrize("name", RELEASES)
def test_we_write_an_example_as_it_is(name: str) -> None:
    assert Envelope.parse(_envelope(name)).to_bytes() == _envelope(name)


@pytest.mark.parametrize("path", sorted(KEYS.glob("*.pub")), ids=lambda path: path.stem)
def test_the_private_halves_are_published_and_say_what_they_are(path: Path) -> None:
    private = path.with_suffix("")
    line = path.read_text()
    assert "TEST KEY, worthless" in line
    if private.suffix == ".mldsa44":
        assert PostQuantumSigner.load(private).public_key == PostQuantumKey.parse(line)
    else:
        key = FileSigner.load(private).public_key
        assert key == PublicKey.parse(line)
        assert "TEST KEY, worthless" in key.comment


@pytest.mark.skipif(which("ssh-keygen") is None, reason="no ssh-keygen here")
def test_ssh_keygen_reads_the_keys_too(tmp_path: Path) -> None:
    private = tmp_path / "alice"
    private.write_bytes((KEYS / "alice").read_bytes())
    private.chmod(0o600)
    shown = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(private)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split()[:2] == (KEYS / "alice.pub").read_text().split()[:2]


def test_the_other_verifiers_accept_them_by_their_publishers() -> None:
    for name, called in (("solo", "acme"), ("hybrid", "nova"), ("team", "guild")):
        (known,) = KNOWN.named(called)
        key = known.key.openssh if known.key is not None else known.fingerprint
        for verifier in (second_verifier(), short_verifier()):
            statement = verifier.verify(_envelope(name), [key], known.post_quantum)
            assert statement["predicate"]["publisher"]["name"] == called
