"""The format's vectors as tests see them, and the four that judge them.

They are our gate, the schemas, the verifier that names the rule, and the short one.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from jsonschema import Draft202012Validator

from weightshare.trust.publishers import KnownPublishers

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
SUFFIX = ".expect.json"


@dataclass(frozen=True)
class Vector:
    """A document and what must become of it."""

    path: Path
    expect: dict[str, Any]

    def __str__(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    @property
    def data(self) -> bytes:
        """The bytes of `weightshare.json`."""
        return self.path.with_name(f"{self}.weightshare.json").read_bytes()

    @property
    def known(self) -> KnownPublishers:
        """Whom the verifier knows, as our file of publishers says it."""
        second = self.expect.get("post_quantum")
        option = f'post-quantum="{second}" ' if second else ""
        return KnownPublishers.parse(
            "\n".join(f"{self.expect['called']} {option}{key}" for key in self.expect["known"])
        )

    @property
    def payload(self) -> bytes:
        """The payload of a document that is sound enough to have one."""
        return base64.b64decode(json.loads(self.data)["payload"])

    def second_opinion(self) -> str:
        """The rule by which the verifier that names one refuses it, empty if it does not."""
        verifier = second_verifier()
        try:
            statement = verifier.verify(self.data, self.expect["known"], self.expect.get("post_quantum", ""))
        except verifier.Refused as refused:
            return str(refused.rule)
        assert statement == json.loads(self.payload)
        return ""

    def short_opinion(self) -> str:
        """Why the short verifier refuses it, empty if it does not."""
        try:
            statement = short_verifier().verify(
                self.data, self.expect["known"], self.expect.get("post_quantum", "")
            )
        except ValueError as reason:
            return str(reason)
        assert statement == json.loads(self.payload)
        return ""


def vectors(folder: Path) -> list[Vector]:
    """All vectors of a folder."""
    return [Vector(path, json.loads(path.read_bytes())) for path in sorted(folder.glob(f"*{SUFFIX}"))]


VALID = vectors(MANIFESTS / "vectors" / "valid")
INVALID = vectors(MANIFESTS / "vectors" / "invalid")


@cache
def second_verifier() -> ModuleType:
    """`manifests/verify_by_rule.py`, which knows nothing of us."""
    return _module("verify_by_rule")


@cache
def short_verifier() -> ModuleType:
    """`manifests/verify.py`, which knows nothing of us either."""
    return _module("verify")


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"manifests_{name}", MANIFESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(MANIFESTS))  # as it is for a program that lies there
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(MANIFESTS))
    return module


@cache
def schema(name: str) -> Draft202012Validator:
    """One of the three schemas."""
    document = json.loads((MANIFESTS / "schema" / f"{name}.schema.json").read_bytes())
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def schemas_refuse(data: bytes) -> bool | None:
    """Whether a schema refuses the envelope or its payload; None if one of them is no JSON to look at."""
    try:
        envelope = _json(data)
        if not schema("envelope").is_valid(envelope):
            return True
        statement = _json(base64.b64decode(envelope["payload"]))
    except (ValueError, RecursionError):
        return None
    return not schema("statement").is_valid(statement)


def _json(data: bytes) -> Any:
    def refuse(constant: str) -> object:
        raise ValueError(constant)

    return json.loads(data.decode("utf-8"), parse_constant=refuse)
