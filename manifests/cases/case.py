"""What a vector is, and how one is made by changing a single thing in a sound release."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cases.builders import Json, Key, compact, seal, statement, to_bytes

ALICE, BOB, MALLORY = Key(1), Key(2), Key(9)
EXIT_CODES = {
    "bad_signature": 3,
    "changed_publisher": 3,
    "manifest": 4,
    "retired_key": 3,
    "stripped_signature": 3,
    "team_root": 3,
    "threshold": 3,
    "unknown_publisher": 3,
    "unsafe_path": 4,
    "unsigned": 3,
    "unsupported": 4,
}

Change = Callable[[Json], object]


@dataclass(frozen=True)
class Case:
    """One vector: the bytes of a `weightshare.json`, and what a verifier must make of them.

    Attributes:
        name: the file's, without its suffix; an invalid one begins with the rule that it breaks.
        about: one sentence for people.
        data: the bytes.
        rules: the rules of SPEC.md that it shows; an invalid vector breaks exactly one.
        known: who the verifier knows: public keys, or fingerprints alone.
        error: the refusal's kind, empty if it must be accepted.
        field: where in the document; for the kinds that say so.
        schema: whether the JSON Schemas refuse it too; None if it is no JSON for a schema to look at.
        more: further facts for the expectation.
        called: the name under which they are known.
    """

    name: str
    about: str
    data: bytes
    rules: tuple[str, ...]
    known: tuple[str, ...] = (ALICE.line,)
    error: str = ""
    field: str | None = None
    schema: bool | None = False
    more: Json | None = None
    called: str = "acme"

    def expectation(self) -> bytes:
        """The text of `NAME.expect.json`."""
        document: Json = {"about": self.about, "called": self.called, "known": list(self.known)}
        if self.error:
            document |= {"rule": self.rules[0], "error": self.error, "exit_code": EXIT_CODES[self.error]}
            document |= {} if self.field is None else {"field": self.field}
            document["schema"] = self.schema
        else:
            document["rules"] = list(self.rules)
        return json.dumps(document | (self.more or {}), indent=2, ensure_ascii=False).encode() + b"\n"


def sound(*keys: Key) -> Json:
    """The statement that every vector starts from, naming these keys (or the one of the examples)."""
    return statement([key.fingerprint for key in keys or (ALICE,)])


def changed(change: Change, document: Json | None = None) -> Json:
    """A copy with one change."""
    result = copy.deepcopy(document if document is not None else sound())
    change(result)
    return result


def signed(document: Json, *keys: Key) -> bytes:
    """The envelope around a statement, really signed: what is wrong inside is vouched for."""
    return to_bytes(seal(compact(document), *keys or (ALICE,)))


def put(where: str, value: object) -> Change:
    """Set a field: `predicate.files.0.size`."""

    def change(document: Json) -> None:
        node, last = _parent(document, where)
        node[last] = value

    return change


def drop(where: str) -> Change:
    """Remove a field."""

    def change(document: Json) -> None:
        node, last = _parent(document, where)
        del node[last]

    return change


def both(*changes: Change) -> Change:
    """One change after the other, where a single one would break two rules."""

    def change(document: Json) -> None:
        for each in changes:
            each(document)

    return change


def adopting(info_hash: str, *, hybrid: bool = False) -> Change:
    """Make it the manifest of a v1 torrent that others made."""
    return both(
        put("predicate.critical", ["torrent.adopts"]),
        put("predicate.torrent.adopts", {"infoHashV1": info_hash}),
        put("predicate.torrent.hybrid", hybrid),
    )


def renamed(index: int, path: str) -> Change:
    """Give a file another path, in both places where it stands."""
    return both(put(f"predicate.files.{index}.path", path), put(f"subject.{index}.name", path))


def _parent(document: Json, where: str) -> tuple[Any, Any]:
    *path, last = [int(step) if step.isdigit() else step for step in where.split(".")]
    node: Any = document
    for step in path:
        node = node[step]
    return node, last
