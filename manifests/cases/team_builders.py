"""Teams as TUF's specification (1.0.34) has them, put together by hand: no TUF library is asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from cases.builders import Json, Key, b64, compact, seal, statement
from cases.case import Change

ANN, BEN, CLEO, DAN = (Key(number) for number in (11, 12, 13, 14))


def _tuf_key(key: Key) -> Json:
    return {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": key.raw.hex()}}


def _keyid(key: Key) -> str:
    return hashlib.sha256(compact(_tuf_key(key))).hexdigest()


def _root_signature(key: Key, signed: Json) -> Json:
    # Canonical JSON (OLPC) and our compact form are the same for texts without quotes, backslashes and controls.
    return {"keyid": _keyid(key), "sig": key.sign(compact(signed)).hex()}


def root_file(document: Json) -> bytes:
    """A root as it is stored."""
    return compact(document) + b"\n"


def root(
    version: int,
    keys: Sequence[Key],
    threshold: int,
    by: Iterable[Key],
    change: Change | None = None,
    **ours: object,
) -> Json:
    """A TUF root for these keys, signed by those; `change` is made before it is signed."""
    ids = [_keyid(key) for key in keys]
    role = {"keyids": ids, "threshold": threshold}
    signed: Json = {
        "_type": "root",
        "spec_version": "1.0.31",
        "version": version,
        "expires": "2027-11-22T00:00:00Z",
        "consistent_snapshot": False,
        "keys": {_keyid(key): _tuf_key(key) for key in keys},
        "roles": {
            "root": role,
            "targets": role,
            "snapshot": {**role, "threshold": 1},
            "timestamp": {**role, "threshold": 1},
        },
        "x-weightshare": {"name": "guild", "releases": []} | ours,
    }
    signed = json.loads(compact(signed))  # so that no two of its parts are one object
    if change is not None:
        change(signed)
    return {"signed": signed, "signatures": [_root_signature(key, signed) for key in by]}


def identity(first: Json) -> str:
    """The team's fingerprint."""
    return "SHA256:" + b64(hashlib.sha256(compact(first["signed"])).digest()).rstrip("=")


def team_statement(keys: Sequence[Key], version: int | None) -> Json:
    """A sound statement that names these keys, signed under a root of this version."""
    document = statement([key.fingerprint for key in keys])
    document["predicate"]["publisher"] |= {"name": "guild"} | (
        {} if version is None else {"rootVersion": version}
    )
    document["predicate"]["model"]["id"] = "guild/m7b"
    return document


def team_envelope(document: Json, roots: Iterable[Json | bytes], *by: Key) -> Json:
    """The statement signed by these keys, with the roots beside it."""
    raw = [each if isinstance(each, bytes) else root_file(each) for each in roots]
    return seal(compact(document), *by) | {"roots": [b64(each) for each in raw]}


FIRST = root(1, (ANN, BEN, CLEO), 2, (ANN, BEN))
NEXT = root(2, (ANN, CLEO, DAN), 2, (ANN, CLEO, DAN))
UNDER_FIRST = team_statement((ANN, BEN, CLEO), 1)
UNDER_NEXT = team_statement((ANN, CLEO, DAN), 2)
