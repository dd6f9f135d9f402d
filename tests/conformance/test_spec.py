"""SPEC.md says what the code does: each rule has its vector, each limit is ours, each field is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.vectors import INVALID, MANIFESTS, VALID, schema
from weightshare import errors, units
from weightshare.manifest import envelope, fields, info, statement, strict_json
from weightshare.trust.gate import verify

SPEC = (MANIFESTS / "SPEC.md").read_text()
RULE = re.compile(r"^- \*\*([A-Z]\d+)\*\* (\(accept\))?", re.MULTILINE)
LARGE = {"J1", "J5"}
"""Rules whose vectors `generate.py --large` writes."""

GATE = ("A", "G", "X")
"""Sections about torrents and links, which no envelope shows."""

LIMITS = {
    "bytes of the envelope, of its payload": units.MAX_ENVELOPE,
    "levels of nesting in a JSON document": units.MAX_JSON_DEPTH,
    "strings, brackets and commas in a JSON document": strict_json.MAX_MARKS,
    "largest integer in a JSON document": units.MAX_JSON_INTEGER,
    "signatures": units.MAX_SIGNATURES,
    "bytes of a signature": envelope.MAX_SIGNATURE,
    "characters of `publicKey`": envelope.MAX_KEY_LINE,
    "roots": units.MAX_ROOTS,
    "bytes of a root": units.MAX_ROOT,
    "characters of a text": fields.MAX_TEXT,
    "files": units.MAX_FILES,
    "entries of another list": fields.MAX_ITEMS,
    "bytes of a path": units.MAX_PATH,
    "parts of a path": units.MAX_PATH_DEPTH,
    "bytes of a part": units.MAX_PART,
    "bytes of the info dictionary": units.MAX_INFO,
    "bytes of a `.torrent` file": units.MAX_TORRENT,
    "largest piece length, in bytes": info.MAX_PIECE_LENGTH,
}
ANYTHING = "#/$defs/quiet"
"""What `ext` holds, which names no fields and goes as deep as JSON may."""

NOT_THE_FORMAT_S = {"MAX_SAFETENSORS_HEADER"}


def _rules(accept: bool) -> set[str]:
    return {
        rule for rule, marked in RULE.findall(SPEC) if bool(marked) == accept and not rule.startswith(GATE)
    }


def test_rules_are_numbered_without_a_gap() -> None:
    found = [rule for rule, _ in RULE.findall(SPEC)]
    for letter in dict.fromkeys(rule[0] for rule in found):
        numbers = [int(rule[1:]) for rule in found if rule[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1)), letter


def test_every_rule_has_a_vector_that_breaks_it() -> None:
    assert _rules(accept=False) - LARGE == {vector.expect["rule"] for vector in INVALID}


def test_every_permission_has_a_vector_that_needs_it() -> None:
    shown = {rule for vector in VALID for rule in vector.expect["rules"]}
    assert _rules(accept=True) <= shown
    assert shown <= _rules(accept=True) | _rules(accept=False)


def test_every_rule_that_is_referred_to_exists() -> None:
    known = {rule for rule, _ in RULE.findall(SPEC)}
    referred = set(re.findall(r"\b([JESMPRGXA]\d{1,2})\b", SPEC))
    assert referred <= known


def test_every_kind_of_refusal_in_the_text_is_one_of_ours() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    ours = {one("").kind: one.exit_code for one in classes if issubclass(one, errors.WeightshareError)}
    said = re.findall(r"`([a-z_]+)`(?:,? \(|, )(\d)\)", SPEC)
    assert len(said) > 20
    for kind, status in said:
        assert ours[kind] == int(status), kind
    for vector in INVALID:
        assert f"`{vector.expect['error']}`" in SPEC


def test_the_limits_are_those_of_the_code() -> None:
    table = dict(re.findall(r"^\| ([^|]+?) \| ([\d,]+) \| [A-Z]\d+ \|$", SPEC, re.MULTILINE))
    assert {name: int(value.replace(",", "")) for name, value in table.items()} == LIMITS
    ours = {name for name in vars(units) if name.startswith("MAX_")} - NOT_THE_FORMAT_S
    assert {getattr(units, name) for name in ours} <= set(LIMITS.values())


# ---- fields


class Recorded(dict[str, Any]):
    """A JSON object that remembers which of its fields were asked for."""

    def __init__(self, value: dict[str, Any], where: str, seen: set[str]) -> None:
        super().__init__(value)
        self._where, self._seen = where, seen

    def _note(self, key: object) -> None:
        if isinstance(key, str):
            self._seen.add(f"{self._where}{key}")

    def get(self, key: str, default: Any = None) -> Any:
        self._note(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._note(key)
        return super().__contains__(key)


def _recorded(value: Any, where: str, seen: set[str]) -> Any:
    if isinstance(value, dict):
        inner = f"{where}." if where else ""
        return Recorded(
            {key: _recorded(item, f"{inner}{key}", seen) for key, item in value.items()}, inner, seen
        )
    if isinstance(value, list):
        return [_recorded(item, f"{where}[]", seen) for item in value]
    return value


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The fields that the parser asks for on its way through a release that has them all, and others."""
    seen: set[str] = set()
    loads = strict_json.loads
    for module in (envelope, statement):
        reader = type(
            "Reader", (), {"loads": staticmethod(lambda *a, **k: _recorded(loads(*a, **k), "", seen))}
        )
        monkeypatch.setattr(module, "strict_json", reader)
    for vector in VALID:
        if str(vector) in ("unknown-fields", "adopted"):
            verify(vector.data, vector.known)
    return seen


def _of_schema(name: str) -> set[str]:
    document = schema(name).schema
    assert isinstance(document, dict)

    def walk(node: dict[str, Any], where: str) -> Iterator[str]:
        node = {**document["$defs"].get(str(node.get("$ref", "")).rpartition("/")[2], {}), **node}
        for key, child in node.get("properties", {}).items():
            path = f"{where}.{key}" if where else key
            yield path
            yield from walk(child, path)
        if "items" in node and node.get("$ref") != ANYTHING:
            yield from walk(node["items"], f"{where}[]")

    return set(walk(document, ""))


def test_the_same_fields_are_read_specified_and_in_the_schemas(read: set[str]) -> None:
    tables = re.findall(r"^\| `([A-Za-z0-9_.\[\]]+)` \| ", SPEC, re.MULTILINE)
    assert len(tables) == len(set(tables))
    assert set(tables) == read
    assert set(tables) == _of_schema("envelope") | _of_schema("statement")


def test_optional_is_what_the_schemas_do_not_require() -> None:
    rows = re.findall(r"^\| `([A-Za-z0-9_.\[\]]+)` \| ([^|]+) \|", SPEC, re.MULTILINE)
    optional = {name for name, kind in rows if "optional" in kind}

    def required(node: dict[str, Any], where: str, document: dict[str, Any]) -> Iterator[str]:
        node = {**document["$defs"].get(str(node.get("$ref", "")).rpartition("/")[2], {}), **node}
        yield from (f"{where}.{key}" if where else key for key in node.get("required", []))
        for key, child in node.get("properties", {}).items():
            yield from required(child, f"{where}.{key}" if where else key, document)
        if "items" in node and node.get("$ref") != ANYTHING:
            yield from required(node["items"], f"{where}[]", document)

    demanded: set[str] = set()
    for name in ("envelope", "statement"):
        document = schema(name).schema
        assert isinstance(document, dict)
        demanded |= set(required(document, "", document))
    assert {name for name, _ in rows} - optional == demanded


def test_the_readme_names_each_field_of_an_expectation() -> None:
    readme = (MANIFESTS / "README.md").read_text()
    for vector in VALID + INVALID:
        assert all(f"`{key}`" in readme for key in vector.expect), vector
