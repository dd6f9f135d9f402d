"""Releases that every verifier must accept, at the edges of what SPEC.md allows."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator

from cases.builders import FILES, Json, b64, compact, file_entry, seal, signature, statement, to_bytes
from cases.case import ALICE, BOB, MALLORY, Case, adopting, changed, put, sound

ENVELOPE_FIELDS = {"later": {"x": [None, True, -1]}, "mediaType": "x"}


def valid_cases() -> Iterator[Case]:
    """All of them."""
    yield _case("minimal", "The fewest fields that a release can have.", _minimal(), "M5")
    yield _case("solo", "A release as weightshare writes it.", sound(), canonical=True)
    yield _case("full", "Every field that there is.", full(), canonical=True)
    yield _case(
        "adopted",
        "A release whose torrent others made.",
        changed(adopting("208b101a0f51514ecf285885a8b0f6fb1a1e4d7d")),
        "M4",
        "M29",
        canonical=True,
    )
    yield _case(
        "spaces", "JSON written with other spaces, escapes and order of keys.", sound(), data=_loose()
    )
    yield _case("unknown-fields", "Fields of a later minor version, at every depth.", _extended(), "E8", "M5")
    yield _case("unicode-paths", "Paths in many scripts, in form NFC.", _scripts(), canonical=True)
    yield _case("edge-paths", "Paths as long and as deep as they may be.", _edges(), canonical=True)
    yield _case("edge-values", "Texts, numbers and times at their limits.", _limits(), canonical=True)
    yield _case("negative-zero", "A sequence of -0, which is 0.", sound(), "J7", data=_negative_zero())
    yield from _signature_cases()


def _case(
    name: str, about: str, document: Json, *rules: str, canonical: bool = False, **facts: object
) -> Case:
    data = facts.pop("data", None)
    payload = compact(document)
    if data is None:
        data = to_bytes(seal(payload, ALICE))
    assert isinstance(data, bytes)
    stored = base64.b64decode(json.loads(data)["payload"])
    more = {
        "canonical": canonical,
        "release": "acme/m7b@" + document["predicate"]["model"]["version"],
        "payload_sha256": hashlib.sha256(stored).hexdigest(),
        "signer": ALICE.fingerprint,
    }
    return Case(name, about, data, rules, more=more, **facts)  # type: ignore[arg-type]


def _minimal() -> Json:
    document = statement([ALICE.fingerprint], {"a": b""})
    del document["predicate"]["files"][0]["mediaType"]
    del document["predicate"]["model"]["summary"]
    return document


def full() -> Json:
    """A statement with every field that the format has, but for a team's."""
    files = FILES | {"LICENSE": b"Do what you like.\n", "README.md": b"# m7b\n"}
    document = statement([ALICE.fingerprint, BOB.fingerprint], files)
    readme = file_entry("README.md", files["README.md"])
    for entry in document["predicate"]["files"]:
        if entry["path"] == "README.md":
            entry["mediaType"] = "text/markdown"
    document["predicate"] |= {
        "license": {"spdx": "LicenseRef-acme", "file": "LICENSE"},
        "source": {"hub": "acme/m7b", "revision": "0123456789abcdef0123456789abcdef01234567"},
        "weights": {"format": "safetensors", "parameters": 7_000_000_000, "dtypes": ["BF16", "F32"]},
        "documents": [{"kind": "model-card", "path": "README.md", "sha256": readme["sha256"]}],
        "supersedes": ["11" * 32],
        "revokes": [{"manifest": "22" * 32, "reason": "its tokenizer was wrong"}],
        "ext": {"acme": {"run": 17, "tags": ["a", None, True], "empty": {}}},
    }
    return document


def _loose() -> bytes:
    payload = json.dumps(sound(), indent=3, ensure_ascii=True).replace("acme/m7b", "acme\\/\\u006d7b")
    envelope = seal(b"\n\t" + payload.encode() + b"\r\n ", ALICE)
    return b"\r\n" + json.dumps(dict(reversed(envelope.items())), indent=1).encode() + b"\n\n"


def _extended() -> Json:
    document = full()
    document["later"] = [{"x": 1}]
    document["subject"][0] |= {"uri": "x", "annotations": {}}
    document["subject"][0]["digest"]["sha512"] = "not looked at"
    predicate = document["predicate"]
    predicate["later"] = None
    predicate["critical"] = []
    for part in ("publisher", "model", "torrent", "license", "source", "weights"):
        predicate[part]["later"] = {"control": "\u0007 is nobody's business here"}
    for part in ("files", "documents", "revokes"):
        predicate[part][0]["later"] = "\u202e"
    return document


def _scripts() -> Json:
    names = (
        "Ελληνικά.txt",
        "café/crème.json",
        "重み/第1部.safetensors",
        "한국어.md",
        "ملف.txt",
        "🜁 alembic.json",
    )
    return statement([ALICE.fingerprint], {name: name.encode() for name in names})


def _edges() -> Json:
    part = "é" * 127 + "x"  # 255 bytes, and 1,024 in all
    longest = f"{part}/{part}/{part}/{part[:63]}x/{'y' * 128}"
    deep = "/".join("abcdefghijklmnop")
    files = (longest, deep, "-", "_.x", ".hidden", "a b/c d", "con1", "NULL", "com.txt", "~$#%&'()")
    return statement([ALICE.fingerprint], {name: name.encode() for name in files})


def _limits() -> Json:
    document = full()
    predicate = document["predicate"]
    predicate["model"] |= {"version": "v" * 100, "sequence": 2**53 - 1, "summary": "🜁" * 500}
    predicate["model"]["released"] = "2024-02-29T23:59:59Z"
    predicate["torrent"] |= {"name": "m 7b", "pieceLength": 2**27, "hybrid": False}
    others = [f"SHA256:{number:042}A" for number in range(62)]
    predicate["publisher"]["keys"] += others
    predicate["source"]["hub"] = "gpt2"
    predicate["weights"] = {"format": "safetensors"}
    predicate["license"] = {"spdx": "Apache-2.0 OR MIT"}
    predicate["ext"] = _nested(29)
    empty = next(entry for entry in predicate["files"] if entry["size"] == 0)
    big = next(entry for entry in predicate["files"] if entry["path"] == "model.safetensors")
    big["size"] = 2**53 - 1 - sum(entry["size"] for entry in predicate["files"] if entry is not big)
    empty["mediaType"] = "a" * 127 + "/" + "B.+-^_$&#!" * 12 + "1234567"
    predicate["weights"]["dtypes"] = []
    return document


def _nested(depth: int) -> Json:
    """So many objects within each other that the statement is 32 levels deep with its own two and the value."""
    value: Json = {}
    for _ in range(depth):
        value = {"x": value}
    return value


def _negative_zero() -> bytes:
    payload = compact(changed(put("predicate.model.sequence", 0)))
    return to_bytes(seal(payload.replace(b'"sequence":0', b'"sequence":-0'), ALICE))


def _signature_cases() -> Iterator[Case]:
    document = sound()
    payload = compact(document)

    def case(name: str, about: str, envelope: Json, *rules: str, **facts: object) -> Case:
        return _case(name, about, document, *rules, canonical=True, data=to_bytes(envelope), **facts)

    good = signature(ALICE, payload)
    lone = {"sig": good["sig"]}
    base = seal(payload)
    yield case(
        "extra-envelope-fields",
        "DSSE ignores what it does not know.",
        seal(payload) | ENVELOPE_FIELDS | {"signatures": [good | ENVELOPE_FIELDS]},
        "E8",
    )
    yield case(
        "bare-signature",
        "Neither keyid nor key: the known key is tried.",
        base | {"signatures": [lone]},
        "S7",
    )
    yield case(
        "wrong-keyid",
        "A keyid that names another key misleads nobody.",
        base | {"signatures": [good | {"keyid": MALLORY.fingerprint}]},
        "S7",
    )
    yield case(
        "wrong-public-key",
        "Nor does a key that did not sign, beside a known one that did.",
        base | {"signatures": [good | {"publicKey": MALLORY.line}]},
        "S7",
    )
    yield case(
        "key-comment",
        "A comment behind the key says nothing.",
        base | {"signatures": [good | {"publicKey": ALICE.line + " a comment"}]},
        "S4",
    )
    yield case(
        "known-by-fingerprint",
        "Known by fingerprint alone: the envelope brings the key.",
        base | {"signatures": [good]},
        "S4",
        known=(ALICE.fingerprint,),
    )
    bad = {"keyid": ALICE.fingerprint, "sig": b64(bytes(64)), "publicKey": ALICE.line}
    yield case(
        "one-good-of-64",
        "The last of 64 signatures holds.",
        base | {"signatures": [bad] * 63 + [good]},
        "E4",
        "S9",
    )
    unknown = {"keyid": "x", "sig": b64(b"s" * 16_384), "publicKey": "ecdsa-sha2-nistp256 " + "A" * 16_364}
    yield case(
        "unknown-kind",
        "A signature of a kind nobody here knows is passed over.",
        base | {"signatures": [unknown, {"sig": ""}, good]},
        "E5",
        "E6",
        "S9",
    )
    yield case(
        "stranger-too",
        "A stranger's sound signature beside the publisher's.",
        base | {"signatures": [signature(MALLORY, payload), good]},
        "S9",
    )
    yield case("twice", "The same key twice counts once.", base | {"signatures": [good, good]}, "S8")
    yield case(
        "empty-roots", "An empty list of roots is as none.", base | {"signatures": [good], "roots": []}, "E7"
    )
