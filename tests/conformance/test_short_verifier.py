"""The short verifier, which leaves what it can to the schemas, says of every document what the others say."""

from __future__ import annotations

import ast
import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.builders_releases import signer
from tests.conformance.vectors import INVALID, MANIFESTS, VALID, Vector, schema, short_verifier
from weightshare.manifest.envelope import Envelope
from weightshare.manifest.model import PAYLOAD_TYPE

LINES = {"verify.py": 120, "verify_json.py": 110, "verify_keys.py": 70, "verify_team.py": 80}
"""Its files, and as how many lines each is still read."""

SOLO = MANIFESTS / "examples" / "solo.weightshare.json"
KEY = (MANIFESTS / "examples" / "keys" / "alice.pub").read_text()

NOT_IN_THE_SCHEMA = {
    "R2-duplicate-key",
    "R2-not-json",
    "R2-same-key-twice",
    "R2-signature-twice",
    "R2-threshold-too-high",
    "R2-unknown-keyid",
}
"""What of R2 no schema can say."""


READABLE = [
    vector
    for vector in INVALID
    if vector.expect["schema"] is not None and not vector.expect["rule"].startswith("J")
]
"""Those that are sound JSON, so that a schema has something to say."""


def _run(*arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    command = [sys.executable, str(MANIFESTS / "verify.py"), *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment or None)
    return ran.returncode, ran.stdout, ran.stderr


def _agreed(name: str, value: object) -> bool:
    """Whether a schema means to the short verifier what it means to the library."""
    published = schema(name).schema
    found = any(sys.modules["verify_json"].faults(value, published, published["$defs"], name))
    return found is (not schema(name).is_valid(value))


def _roots(vector: Vector) -> list[Any]:
    return [json.loads(base64.b64decode(root)) for root in json.loads(vector.data).get("roots", [])]


@pytest.mark.parametrize("vector", VALID, ids=str)
def test_it_accepts_a_valid_vector_and_says_what_was_signed(vector: Vector) -> None:
    assert vector.short_opinion() == ""


@pytest.mark.parametrize("vector", INVALID, ids=str)
def test_it_refuses_an_invalid_vector(vector: Vector) -> None:
    assert vector.short_opinion() != ""


@pytest.mark.parametrize("name", LINES)
def test_it_is_short_enough_to_be_read(name: str) -> None:
    lines = (MANIFESTS / name).read_text().splitlines()
    assert len(lines) < LINES[name]
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize("name", LINES)
def test_it_needs_cryptography_alone(name: str) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse((MANIFESTS / name).read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or ".")
    own = {path.removesuffix(".py") for path in LINES}
    others = {name.partition(".")[0] for name in imported} - own - sys.stdlib_module_names
    assert others <= {"cryptography"}


@pytest.mark.parametrize("vector", VALID + READABLE, ids=str)
def test_it_reads_the_schemas_as_others_do(vector: Vector) -> None:
    document = json.loads(vector.data)
    assert _agreed("envelope", document)
    if schema("envelope").is_valid(document):
        assert _agreed("statement", json.loads(vector.payload))


@pytest.mark.parametrize("vector", [vector for vector in VALID if _roots(vector)], ids=str)
def test_the_schema_takes_good_roots(vector: Vector) -> None:
    for root in _roots(vector):
        schema("root").validate(root)


@pytest.mark.parametrize("vector", [vector for vector in INVALID if vector.expect["rule"] == "R2"], ids=str)
def test_the_schema_says_of_a_root_what_it_can(vector: Vector) -> None:
    refused = str(vector) != "R2-not-json" and not all(map(schema("root").is_valid, _roots(vector)))
    assert refused == (str(vector) not in NOT_IN_THE_SCHEMA)


def test_a_keyword_that_it_does_not_know_is_not_passed_over() -> None:
    short_verifier()
    with pytest.raises(NotImplementedError, match="multipleOf"):
        list(sys.modules["verify_json"].faults(1, {"multipleOf": 2}, {}, "it"))


def test_as_a_program_it_accepts() -> None:
    assert _run(SOLO, "--key", KEY) == (0, "ok: acme/m7b@1.0\n", "")


def test_as_a_program_it_refuses(tmp_path: Path) -> None:
    stranger = (MANIFESTS / "examples" / "keys" / "nova.pub").read_text()
    assert _run(SOLO, "--key", stranger) == (1, "", "refused: no known key signed it that it names\n")
    for data in (b"", b"\xff\0", b"[" * 100_000, b"9" * 10_000, b"{}", b"null", SOLO.read_bytes()[:-9]):
        (tmp_path / "garbage").write_bytes(data)
        code, out, err = _run(tmp_path / "garbage", "--key", KEY)
        assert (code, out) == (1, "")
        assert err.startswith("refused: ")
        assert len(err) < 200


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (SOLO,),
        (SOLO, "--key", ""),
        (SOLO, "--key", "ssh-ed25519 AAAA"),
        (SOLO, "--key", "SHA256:short"),
        (SOLO, "--key", "clé"),
        (SOLO, "--key", KEY, "--post-quantum", "ml-dsa-44"),
        (MANIFESTS, "--key", KEY),
        (MANIFESTS / "missing.json", "--key", KEY),
    ],
    ids=repr,
)
def test_asked_wrongly_it_says_so(arguments: tuple[str | Path, ...]) -> None:
    code, out, err = _run(*arguments)
    assert (code, out) == (2, "")
    assert "error:" in err
    assert "Traceback" not in err


def test_a_version_that_a_terminal_cannot_show_is_no_accident(tmp_path: Path) -> None:
    statement = json.loads(base64.b64decode(json.loads(SOLO.read_bytes())["payload"]))
    statement["predicate"]["model"]["version"] = "\u00e9"
    unsigned = Envelope(PAYLOAD_TYPE, json.dumps(statement).encode(), ())
    document = json.loads(unsigned.to_bytes())
    document["signatures"] = [{"sig": base64.b64encode(signer().sign(unsigned.pae())).decode()}]
    (tmp_path / "release").write_text(json.dumps(document))
    shown = _run(tmp_path / "release", "--key", KEY, PYTHONIOENCODING="ascii")
    assert shown == (0, "ok: acme/m7b@\\xe9\n", "")
