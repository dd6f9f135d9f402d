"""Our parser, the schemas, the verifier that names the rule and the vectors say the same, each of each."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.vectors import (
    INVALID,
    MANIFESTS,
    VALID,
    Vector,
    schemas_refuse,
    second_verifier,
    vectors,
)
from weightshare.errors import WeightshareError
from weightshare.manifest.statement import parse, serialise
from weightshare.trust.gate import verify

COUNTS = {f"S{number}" for number in range(2, 9)}
"""Rules that say which signatures count; for want of one that does, a verifier refuses by another rule."""


def _check_valid(vector: Vector) -> None:
    verified = verify(vector.data, vector.known)
    assert verified.release == vector.expect["release"]
    assert verified.payload_sha256.hex() == vector.expect["payload_sha256"]
    assert verified.fingerprint == vector.expect["signer"]
    written = serialise(verified.manifest)
    assert (written == vector.payload) == vector.expect["canonical"]
    assert parse(written) == verified.manifest


def _check_invalid(vector: Vector) -> None:
    expect = vector.expect
    with pytest.raises(WeightshareError) as caught:
        verify(vector.data, vector.known)
    error = caught.value
    assert (error.kind, error.exit_code) == (expect["error"], expect["exit_code"]), error.message
    if "field" in expect:
        assert error.facts["field"] == expect["field"], error.message
    else:
        assert error.kind not in ("manifest", "unsupported")


@pytest.mark.parametrize("vector", VALID, ids=str)
def test_we_accept_a_valid_vector(vector: Vector) -> None:
    _check_valid(vector)


@pytest.mark.parametrize("vector", INVALID, ids=str)
def test_we_refuse_an_invalid_vector_with_just_its_error(vector: Vector) -> None:
    _check_invalid(vector)


@pytest.mark.parametrize("vector", VALID + INVALID, ids=str)
def test_the_schemas_say_what_the_vector_says_they_can(vector: Vector) -> None:
    assert schemas_refuse(vector.data) is vector.expect.get("schema", False)


@pytest.mark.parametrize("vector", VALID + INVALID, ids=str)
def test_the_second_verifier_agrees_to_the_rule(vector: Vector) -> None:
    expected, rule = vector.expect.get("rule", ""), vector.second_opinion()
    if expected in COUNTS:
        assert rule in ("S10", "S13", "R7")
    else:
        assert rule == expected


def test_one_broken_rule_a_vector() -> None:
    for vector in INVALID:
        assert str(vector).startswith(f"{vector.expect['rule']}-")


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[Vector]:
    """The vectors that are too large to be kept."""
    folder = tmp_path_factory.mktemp("large")
    command = [sys.executable, str(MANIFESTS / "generate.py"), "--large", str(folder)]
    subprocess.run(command, check=True)
    return vectors(folder / "valid") + vectors(folder / "invalid")


def test_large_vectors(large: list[Vector]) -> None:
    assert len(large) >= 7
    for vector in large:
        expected = vector.expect.get("rule", "")
        assert vector.second_opinion() == expected, vector
        assert bool(vector.short_opinion()) == bool(expected), vector
        if expected:
            _check_invalid(vector)
        else:
            assert verify(vector.data, vector.known).release == "acme/m7b@1.0"
        if expected in ("E7", "M10"):
            assert schemas_refuse(vector.data) is True


def test_the_generator_would_write_what_is_there(tmp_path: Path) -> None:
    command = [sys.executable, str(MANIFESTS / "generate.py"), "--check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_generator_notices_a_difference(tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS / "cases", tmp_path / "cases")
    (tmp_path / "generate.py").write_bytes((MANIFESTS / "generate.py").read_bytes())
    command = [sys.executable, str(tmp_path / "generate.py")]
    subprocess.run(command, check=True, capture_output=True)
    assert subprocess.run([*command, "--check"], check=False, capture_output=True).returncode == 0
    (tmp_path / "vectors" / "valid" / "solo.expect.json").write_text("{}")
    assert subprocess.run([*command, "--check"], check=False, capture_output=True).returncode == 1


def test_the_second_verifier_is_a_program_too(tmp_path: Path) -> None:
    key = (MANIFESTS / "examples" / "keys" / "alice.pub").read_text()
    command = [sys.executable, str(MANIFESTS / "verify_by_rule.py")]
    envelope = MANIFESTS / "examples" / "solo.weightshare.json"
    ran = subprocess.run([*command, str(envelope), "--key", key], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "ok: acme/m7b@1.0\n")
    broken = tmp_path / "broken.json"
    document = json.loads(envelope.read_bytes())
    document["payload"] = base64.b64encode(b"{}").decode()
    broken.write_text(json.dumps(document))
    ran = subprocess.run([*command, str(broken), "--key", key], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stdout.startswith("refused by S10")


def test_the_second_verifier_imports_nothing_of_ours() -> None:
    source = (MANIFESTS / "verify_by_rule.py").read_text()
    assert "weightshare" not in {
        line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))
    }
    assert second_verifier().__doc__
