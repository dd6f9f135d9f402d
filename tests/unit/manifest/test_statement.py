from __future__ import annotations

import base64
import copy
import hashlib
import json
import string
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders_releases import manifest as build
from weightshare.errors import ManifestError, UnsafePathError, UnsupportedError
from weightshare.manifest.model import (
    Document,
    FileEntry,
    License,
    Manifest,
    ModelFacts,
    Publisher,
    Revocation,
    Source,
    TorrentFacts,
    Weights,
)
from weightshare.units import KIB, MAX_FILES, MAX_JSON_INTEGER

Change = Callable[[dict[str, Any]], object]

DIGESTS = st.binary(min_size=32, max_size=32)
TEXTS = st.text(string.ascii_letters + string.digits + " .é模-", max_size=30)
PARTS = st.from_regex(r"[a-z模][a-z0-9é]{0,6}", fullmatch=True).filter(
    lambda t: t not in ("con", "prn", "aux", "nul")
)
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{3,8}", fullmatch=True)
FINGERPRINTS = DIGESTS.map(lambda d: "SHA256:" + base64.b64encode(d).decode().rstrip("="))
FILE = st.builds(
    lambda path, size, digest, root: FileEntry(path, size, digest, root if size else None),
    PATHS,
    st.integers(0, 2**40),
    DIGESTS,
    DIGESTS,
)


def _no_collision(files: list[FileEntry]) -> bool:
    folders = {entry.path.rpartition("/")[0] for entry in files}
    folders |= {folder.rpartition("/")[0] for folder in folders}
    return not folders & {entry.path for entry in files}


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    files = draw(st.lists(FILE, min_size=1, max_size=5, unique_by=lambda e: e.path).filter(_no_collision))
    files.sort(key=lambda entry: entry.path.encode())
    listed = st.sampled_from(files)
    ext = st.dictionaries(TEXTS, st.integers(0, 9) | TEXTS | st.lists(st.booleans()), max_size=2)
    return Manifest(
        files=tuple(files),
        publisher=Publisher(
            draw(NAMES), tuple(draw(st.lists(FINGERPRINTS, min_size=1, max_size=3, unique=True)))
        ),
        model=ModelFacts(
            f"{draw(NAMES)}/{draw(NAMES)}",
            draw(st.from_regex(r"v[0-9a-z+-]{1,9}", fullmatch=True)),
            draw(st.integers(0, MAX_JSON_INTEGER)),
            draw(st.datetimes().map(lambda d: d.strftime("%Y").zfill(4) + d.strftime("-%m-%dT%H:%M:%SZ"))),
            draw(TEXTS),
        ),
        torrent=TorrentFacts(draw(PARTS), 2 ** draw(st.integers(14, 27)), draw(st.booleans())),
        license=draw(st.none() | st.builds(License, TEXTS, st.none() | listed.map(lambda e: e.path))),
        source=draw(st.none() | st.builds(Source, st.just("acme/m7b"), st.just("ab" * 20))),
        weights=draw(
            st.none()
            | st.builds(
                Weights, TEXTS, st.none() | st.integers(0, 10**13), st.lists(TEXTS, max_size=3).map(tuple)
            )
        ),
        documents=tuple(
            draw(
                st.lists(
                    st.builds(lambda kind, e: Document(kind, e.path, e.sha256), TEXTS, listed), max_size=2
                )
            )
        ),
        supersedes=tuple(draw(st.lists(DIGESTS, max_size=2))),
        revokes=tuple(draw(st.lists(st.builds(Revocation, DIGESTS, TEXTS), max_size=2))),
        ext=MappingProxyType(draw(ext)),
    )


@given(manifests())
def test_round_trip(manifest: Manifest) -> None:
    payload = manifest.to_payload()
    again = Manifest.from_payload(payload)
    assert again == manifest
    assert again.to_payload() == payload


def test_the_bytes_of_a_statement_stay_as_they_are() -> None:
    # A signed manifest must be reproducible by later versions; change this digest only with the format's version.
    digest = hashlib.sha256(build().to_payload()).hexdigest()
    assert digest == "b7d8745c32fa8fdf4a87f67d699d1c8a906afa4fef11a748e397b6f65bbf2205"


def test_files_are_written_sorted_by_utf8_bytes() -> None:
    manifest = build()
    shuffled = replace(manifest, files=manifest.files[::-1])
    assert shuffled.to_payload() == manifest.to_payload()


def _document() -> dict[str, Any]:
    manifest = build()
    first = manifest.files[0]
    manifest = replace(
        manifest,
        license=License("Apache-2.0", first.path),
        source=Source("acme/m7b", "ab" * 20),
        weights=Weights("safetensors", 5, ("BF16",)),
        documents=(Document("model-card", first.path, first.sha256),),
        revokes=(Revocation(b"r" * 32, "it was wrong"),),
        supersedes=(b"r" * 32,),
        ext=MappingProxyType({"x": [{"y": "z"}]}),
    )
    document: dict[str, Any] = json.loads(manifest.to_payload())
    return document


def _read(document: dict[str, Any]) -> Manifest:
    return Manifest.from_payload(json.dumps(document).encode())


def test_unknown_fields_are_ignored() -> None:
    document = _document()
    plain = _read(copy.deepcopy(document))
    document["predicate"]["later"] = {"x": 1}
    document["predicate"]["files"][0]["blake3"] = "x"
    document["subject"][0]["uri"] = "x"
    document["subject"][1]["digest"]["md5"] = "x"
    document["also"] = 1
    assert _read(document) == plain


def _both(document: dict[str, Any], index: int, **fields: object) -> None:
    """Change a file's path or digest where it stands twice."""
    document["predicate"]["files"][index].update(fields)
    if "path" in fields:
        document["subject"][index]["name"] = fields["path"]


def _swap(document: dict[str, Any]) -> None:
    for files in (document["predicate"]["files"], document["subject"]):
        files[0], files[1] = files[1], files[0]


def _p(*keys: str | int) -> Callable[[dict[str, Any]], Any]:
    def walk(document: dict[str, Any]) -> Any:
        node: Any = document["predicate"]
        for key in keys:
            node = node[key]
        return node

    return walk


def _set(*keys: Any) -> Change:
    """Set a field of the predicate: the last argument is the value."""
    *path, last, value = keys
    return lambda d: _p(*path)(d).__setitem__(last, value)


def _drop(*keys: Any) -> Change:
    *path, last = keys
    return lambda d: _p(*path)(d).__delitem__(last)


BAD: dict[str, tuple[Change, str]] = {
    "no predicate": (lambda d: d.pop("predicate"), "predicate"),
    "no subject": (lambda d: d.pop("subject"), "subject"),
    "no files": (_drop("files"), "predicate.files"),
    "files an object": (_set("files", {}), "predicate.files"),
    "file a text": (_set("files", 0, "x"), "predicate.files[0]"),
    "too many files": (_set("files", [{}] * (MAX_FILES + 1)), "predicate.files"),
    "file added": (
        lambda d: d["predicate"]["files"].append({**d["predicate"]["files"][-1], "path": "z"}),
        "subject",
    ),
    "subject added": (lambda d: d["subject"].append(d["subject"][-1]), "subject"),
    "subject renamed": (lambda d: d["subject"][1].update(name="other"), "subject[1]"),
    "subject digest": (lambda d: d["subject"][1].update(digest={"sha256": "0" * 64}), "subject[1]"),
    "subject without sha256": (
        lambda d: d["subject"][1].update(digest={"md5": "0"}),
        "subject[1].digest.sha256",
    ),
    "unsorted": (_swap, "predicate.files"),
    "no path": (_drop("files", 0, "path"), "predicate.files[0].path"),
    "no size": (_drop("files", 0, "size"), "predicate.files[0].size"),
    "size negative": (_set("files", 0, "size", -1), "predicate.files[0].size"),
    "size true": (_set("files", 0, "size", True), "predicate.files[0].size"),
    "size a text": (_set("files", 0, "size", "5"), "predicate.files[0].size"),
    "sizes past 2^53": (
        lambda d: [f.update(size=MAX_JSON_INTEGER) for f in d["predicate"]["files"] if f["size"]],
        "predicate.files",
    ),
    "digest upper case": (_set("files", 0, "sha256", "A" * 64), "predicate.files[0].sha256"),
    "digest short": (_set("files", 0, "sha256", "a" * 63), "predicate.files[0].sha256"),
    "no root": (_drop("files", 0, "piecesRoot"), "predicate.files[0].piecesRoot"),
    "root of an empty file": (_set("files", 1, "piecesRoot", "a" * 64), "predicate.files[1].piecesRoot"),
    "media type": (_set("files", 0, "mediaType", "x"), "predicate.files[0].mediaType"),
    "media type with a Kelvin sign": (
        _set("files", 0, "mediaType", "text/\u212aelvin"),
        "predicate.files[0].mediaType",
    ),
    "publisher's name": (_set("publisher", "name", "a b"), "predicate.publisher.name"),
    "publisher's look-alike": (_set("publisher", "name", "\u0430cme"), "predicate.publisher.name"),
    "publisher's escape": (_set("publisher", "name", "a\x1b[2J"), "predicate.publisher.name"),
    "no keys": (_set("publisher", "keys", []), "predicate.publisher.keys"),
    "key twice": (
        lambda d: d["predicate"]["publisher"].update(keys=d["predicate"]["publisher"]["keys"] * 2),
        "predicate.publisher.keys",
    ),
    "key no fingerprint": (_set("publisher", "keys", ["SHA256:x"]), "predicate.publisher.keys"),
    "fingerprint with stray bits": (
        _set("publisher", "keys", ["SHA256:" + "A" * 42 + "B"]),
        "predicate.publisher.keys",
    ),
    "id without a slash": (_set("model", "id", "m7b"), "predicate.model.id"),
    "id with two": (_set("model", "id", "a/b/c"), "predicate.model.id"),
    "id with a space": (_set("model", "id", "acme/m 7b"), "predicate.model.id"),
    "id with an escape": (_set("model", "id", "acme/\x1b[2J"), "predicate.model.id"),
    "id upwards": (_set("model", "id", "../x"), "predicate.model.id"),
    "version with a space": (_set("model", "version", "1 0"), "predicate.model.version"),
    "version too long": (_set("model", "version", "1" * 101), "predicate.model.version"),
    "version with an escape": (_set("model", "version", "1\x07"), "predicate.model.version"),
    "sequence a float": (_set("model", "sequence", 1.5), ""),
    "sequence negative": (_set("model", "sequence", -1), "predicate.model.sequence"),
    "released without a zone": (_set("model", "released", "2026-11-22T10:00:00"), "predicate.model.released"),
    "released in no month": (_set("model", "released", "2026-13-22T10:00:00Z"), "predicate.model.released"),
    "released at 24:00": (_set("model", "released", "2026-11-22T24:00:00Z"), "predicate.model.released"),
    "released in a leap second": (
        _set("model", "released", "2026-12-31T23:59:60Z"),
        "predicate.model.released",
    ),
    "summary of two lines": (_set("model", "summary", "a\nb"), "predicate.model.summary"),
    "summary with an override": (_set("model", "summary", "a\u202eb"), "predicate.model.summary"),
    "summary too long": (_set("model", "summary", "x" * 501), "predicate.model.summary"),
    "piece length": (_set("torrent", "pieceLength", 48 * KIB), "predicate.torrent.pieceLength"),
    "piece length zero": (_set("torrent", "pieceLength", 0), "predicate.torrent.pieceLength"),
    "hybrid a number": (_set("torrent", "hybrid", 1), "predicate.torrent.hybrid"),
    "license a text": (_set("license", "MIT"), "predicate.license"),
    "license null": (_set("license", None), "predicate.license"),
    "license with an escape": (_set("license", "spdx", "\x9b2J"), "predicate.license.spdx"),
    "license's file": (_set("license", "file", "LICENSE"), "predicate.license.file"),
    "source's hub": (_set("source", "hub", "a/b/c"), "predicate.source.hub"),
    "source's revision": (_set("source", "revision", "main"), "predicate.source.revision"),
    "dtypes a text": (_set("weights", "dtypes", "BF16"), "predicate.weights.dtypes"),
    "parameters negative": (_set("weights", "parameters", -5), "predicate.weights.parameters"),
    "document of no file": (_set("documents", 0, "path", "other"), "predicate.documents"),
    "document's digest": (_set("documents", 0, "sha256", "0" * 64), "predicate.documents"),
    "supersedes": (_set("supersedes", ["x"]), "predicate.supersedes"),
    "revokes": (_set("revokes", 0, "manifest", "x"), "predicate.revokes[0].manifest"),
    "revoked for an escape": (_set("revokes", 0, "reason", "\x1b"), "predicate.revokes[0].reason"),
    "ext a list": (_set("ext", []), "predicate.ext"),
    "ext with an escape": (_set("ext", "x", 0, "y", "\x1b"), "predicate.ext"),
    "ext with an escape in a key": (_set("ext", "\x1b", 1), "predicate.ext"),
}


@pytest.mark.parametrize(("change", "field"), BAD.values(), ids=BAD.keys())
def test_a_broken_statement_is_refused_by_field(change: Change, field: str) -> None:
    document = _document()
    change(document)
    with pytest.raises(ManifestError) as caught:
        _read(document)
    assert caught.value.facts["field"] == field
    assert not set(caught.value.message) & {"\x1b", "\x07", "\x9b", "\n", "\u202e"}


@pytest.mark.parametrize(
    "path",
    [
        "../up",
        "/abs",
        "a\\b",
        "CON",
        "a\x1b[2J",
        "CONFIG.json.",
        "e\u0301",
        "weightshare.json",
        "WeightShare.JSON",
    ],
)
def test_unsafe_paths_are_refused(path: str) -> None:
    document = _document()
    document["predicate"]["files"] = document["predicate"]["files"][:1]
    document["subject"] = document["subject"][:1]
    _both(document, 0, path=path)
    with pytest.raises(UnsafePathError):
        _read(document)


def test_case_twins_are_refused() -> None:
    document = _document()
    twin = copy.deepcopy(document["predicate"]["files"][0]) | {"path": "CONFIG.JSON"}
    document["predicate"]["files"].insert(0, twin)
    document["subject"].insert(0, {"name": "CONFIG.JSON", "digest": {"sha256": twin["sha256"]}})
    with pytest.raises(UnsafePathError, match="ignore case"):
        _read(document)


@pytest.mark.parametrize("name", ["../up", "a/b", "", "nul", "a:"])
def test_an_unsafe_torrent_name_is_refused(name: str) -> None:
    document = _document()
    document["predicate"]["torrent"]["name"] = name
    with pytest.raises(UnsafePathError):
        _read(document)


@pytest.mark.parametrize("version", ["..", "a/b", "a:b", "v1."])
def test_a_version_that_could_be_no_folder_is_refused(version: str) -> None:
    document = _document()
    document["predicate"]["model"]["version"] = version
    with pytest.raises(UnsafePathError):
        _read(document)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(predicateType="https://model_signing/signature/v1.0"),
        lambda d: d.update(predicateType="https://in-toto.io/attestation/svr/v0.1"),
        lambda d: d.update(predicateType="urn:weightshare:release:v2"),
        lambda d: d.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda d: d["predicate"].update(critical=["shards"]),
    ],
)
def test_what_this_version_cannot_judge_is_unsupported(change: Change) -> None:
    document = _document()
    change(document)
    with pytest.raises(UnsupportedError):
        _read(document)


def test_duplicate_keys_are_refused_wherever_they_are() -> None:
    payload = build().to_payload().replace(b'"size":2', b'"size":2,"size":3')
    with pytest.raises(ManifestError, match="there twice"):
        Manifest.from_payload(payload)


@pytest.mark.parametrize(
    "change",
    [
        {"model": ModelFacts("acme/m7b", "1 0", 1, "2026-11-22T10:00:00Z")},
        {"publisher": Publisher("acme", ())},
        {"files": ()},
        {"ext": {"x": "\x1b"}},
        {"ext": {"x": 2**53}},
    ],
)
def test_what_could_not_be_read_again_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        replace(build(), **change).to_payload()


@pytest.mark.timeout(20)
def test_ten_thousand_files_fit() -> None:
    manifest = build(files={f"shard-{n:05}.safetensors": b"%d" % n for n in range(MAX_FILES)})
    assert len(Manifest.from_payload(manifest.to_payload()).files) == MAX_FILES
    assert len(manifest.to_payload()) < 5_000_000
