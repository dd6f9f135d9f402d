"""The signed statement as bytes: read with every rule of the format, and written the same everywhere.

Unknown fields are ignored, so that a later minor version can add some; an unknown name in `critical` is
refused, which is how a later version says "do not read this without me". Texts that will be shown hold no
control characters, and every path in the statement is one that any system can store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from weightshare.errors import UnsupportedError
from weightshare.manifest import strict_json
from weightshare.manifest.fields import Fields, field_error, read_digest
from weightshare.manifest.file_list import read_files
from weightshare.manifest.info import check_piece_length
from weightshare.manifest.model import (
    ADOPTION,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
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
from weightshare.manifest.paths import check_part, check_paths
from weightshare.manifest.text import quoted, unsafe_character
from weightshare.units import MAX_ENVELOPE, MAX_SIGNATURES

KNOWN_CRITICAL = frozenset({ADOPTION})
"""Extensions this version understands and that a manifest may therefore call critical."""

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?")
"""A publisher's name, and each half of a model id: plain ASCII, so that no two look alike."""

FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]")
"""An OpenSSH fingerprint: 32 bytes in base64 without padding, in its one canonical spelling."""

_T = TypeVar("_T")
_SHA1 = _COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
# Python's versions differ on 24:00:00, so the clock is spelt out here.
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", re.ASCII)


def parse(payload: bytes) -> Manifest:
    """Read a statement. Call it only once a signature over the payload holds.

    Raises:
        ManifestError: it breaks the format; its fact `field` says where.
        UnsupportedError: it is of another kind or version, or asks for an unknown critical extension.
        UnsafePathError: it lists a path that no release may hold.
    """
    root = Fields(strict_json.loads(payload, limit=MAX_ENVELOPE, what="manifest"), "")
    for key, expected in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
        if root.text(key) != expected:
            raise UnsupportedError(
                f"The manifest's `{key}` is {quoted(root.text(key))}, not {expected}.",
                hint="It was made for something else, or by a later version of this program.",
                field=key,
            )
    predicate = root.child("predicate")
    critical = predicate.texts("critical")
    unknown = [name for name in critical if name not in KNOWN_CRITICAL]
    if unknown:
        raise UnsupportedError(
            f"The manifest needs {quoted(unknown[0])}, which this version does not know.",
            hint="Update weightshare.",
            field="predicate.critical",
        )
    files = read_files(root, predicate)
    manifest = Manifest(
        files=files,
        publisher=_publisher(predicate.child("publisher")),
        model=_model(predicate.child("model")),
        torrent=_torrent(predicate.child("torrent"), adopted=ADOPTION in critical),
        license=_maybe(predicate, "license", _license),
        source=_maybe(predicate, "source", _source),
        weights=_maybe(predicate, "weights", _weights),
        documents=tuple(_document(entry) for entry in predicate.children("documents")),
        supersedes=tuple(read_digest(text, "predicate.supersedes") for text in predicate.texts("supersedes")),
        revokes=tuple(
            Revocation(entry.digest("manifest"), entry.text("reason"))
            for entry in predicate.children("revokes")
        ),
        critical=critical,
        ext=MappingProxyType(_ext(predicate)),
    )
    _check_references(manifest)
    return manifest


def serialise(manifest: Manifest) -> bytes:
    """The statement's bytes: sorted keys, no spaces, files by the UTF-8 bytes of their paths.

    Raises:
        ManifestError: the manifest breaks a rule of the format; what is written can always be read.
        UnsafePathError: it lists a path that no release may hold.
    """
    files = sorted(manifest.files, key=lambda entry: entry.path.encode())
    model, publisher, torrent = manifest.model, manifest.publisher, manifest.torrent
    root = {} if publisher.root_version is None else {"rootVersion": publisher.root_version}
    predicate: dict[str, object] = {
        "files": [_file_out(entry) for entry in files],
        "publisher": {"name": publisher.name, "keys": list(publisher.keys)} | root,
        "model": {
            "id": model.id,
            "version": model.version,
            "sequence": model.sequence,
            "released": model.released,
            "summary": model.summary,
        },
        "torrent": {
            "name": torrent.name,
            "pieceLength": torrent.piece_length,
            "hybrid": torrent.hybrid,
        }
        | ({} if torrent.adopts is None else {"adopts": {"infoHashV1": torrent.adopts.hex()}}),
    }
    if manifest.license is not None:
        license_file = {} if manifest.license.file is None else {"file": manifest.license.file}
        predicate["license"] = {"spdx": manifest.license.spdx} | license_file
    if manifest.source is not None:
        predicate["source"] = {"hub": manifest.source.hub, "revision": manifest.source.revision}
    if manifest.weights is not None:
        weights: dict[str, object] = {
            "format": manifest.weights.format,
            "dtypes": list(manifest.weights.dtypes),
        }
        if manifest.weights.parameters is not None:
            weights["parameters"] = manifest.weights.parameters
        predicate["weights"] = weights
    if manifest.documents:
        predicate["documents"] = [
            {"kind": entry.kind, "path": entry.path, "sha256": entry.sha256.hex()}
            for entry in manifest.documents
        ]
    if manifest.supersedes:
        predicate["supersedes"] = [digest.hex() for digest in manifest.supersedes]
    if manifest.revokes:
        predicate["revokes"] = [
            {"manifest": entry.manifest.hex(), "reason": entry.reason} for entry in manifest.revokes
        ]
    if manifest.critical:
        predicate["critical"] = list(manifest.critical)
    if manifest.ext:
        predicate["ext"] = dict(manifest.ext)
    payload = strict_json.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": e.path, "digest": {"sha256": e.sha256.hex()}} for e in files],
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }
    )
    parse(payload)
    return payload


def _file_out(entry: FileEntry) -> dict[str, object]:
    fields: dict[str, object] = {
        "path": entry.path,
        "size": entry.size,
        "sha256": entry.sha256.hex(),
        "mediaType": entry.media_type,
    }
    if entry.pieces_root is not None:
        fields["piecesRoot"] = entry.pieces_root.hex()
    return fields


def _maybe(parent: Fields, key: str, read: Callable[[Fields], _T]) -> _T | None:
    return read(parent.child(key)) if parent.has(key) else None


def _publisher(entry: Fields) -> Publisher:
    keys = entry.texts("keys", MAX_SIGNATURES)
    if not keys or len(set(keys)) != len(keys):
        raise field_error(entry.at("keys"), "one fingerprint at least is expected, each once")
    for key in keys:
        if not FINGERPRINT.fullmatch(key):
            raise field_error(entry.at("keys"), f"{quoted(key)} is no fingerprint (SHA256:…)")
    version = entry.integer("rootVersion") if entry.has("rootVersion") else None
    if version == 0:
        raise field_error(entry.at("rootVersion"), "roots are counted from 1")
    return Publisher(entry.matching("name", NAME, "a name of letters, digits and . _ -"), keys, version)


def _model(entry: Fields) -> ModelFacts:
    model_id, version = entry.text("id"), entry.text("version", limit=100)
    org, slash, name = model_id.partition("/")
    if not slash or not NAME.fullmatch(org) or not NAME.fullmatch(name):
        raise field_error(entry.at("id"), f"{quoted(model_id)}, where ORG/MODEL is expected")
    check_paths([model_id])
    if " " in version:
        raise field_error(entry.at("version"), "it holds a space")
    check_part(version)
    released = entry.matching("released", _TIME, "a time such as 2026-11-22T10:00:00Z")
    try:
        datetime.fromisoformat(released)
    except ValueError as error:
        raise field_error(entry.at("released"), f"{quoted(released)} is no point in time") from error
    return ModelFacts(model_id, version, entry.integer("sequence"), released, entry.text("summary", ""))


def _torrent(entry: Fields, *, adopted: bool) -> TorrentFacts:
    name, piece_length = entry.raw_text("name"), entry.integer("pieceLength")
    check_part(name)
    try:
        check_piece_length(piece_length)
    except ValueError as error:
        raise field_error(entry.at("pieceLength"), str(error)) from error
    facts = TorrentFacts(name, piece_length, entry.boolean("hybrid"))
    if not adopted:
        if entry.has("adopts"):
            raise field_error(entry.at("adopts"), f"`critical` does not name `{ADOPTION}`")
        return facts
    adopts = entry.child("adopts")
    info_hash = adopts.matching("infoHashV1", _SHA1, "a v1 info-hash of 40 hex digits")
    if facts.hybrid:
        raise field_error(entry.at("hybrid"), "an adopted torrent has no v2 half")
    return replace(facts, adopts=bytes.fromhex(info_hash))


def _license(entry: Fields) -> License:
    return License(entry.text("spdx"), entry.raw_text("file") if entry.has("file") else None)


def _source(entry: Fields) -> Source:
    hub = entry.matching("hub", _HUB, "a Hub repository (OWNER/NAME)")
    return Source(hub, entry.matching("revision", _COMMIT, "a commit of 40 hex digits"))


def _weights(entry: Fields) -> Weights:
    parameters = entry.integer("parameters") if entry.has("parameters") else None
    return Weights(entry.text("format"), parameters, entry.texts("dtypes"))


def _document(entry: Fields) -> Document:
    return Document(entry.text("kind"), entry.raw_text("path"), entry.digest("sha256"))


def _check_references(manifest: Manifest) -> None:
    digests = {entry.path: entry.sha256 for entry in manifest.files}
    if manifest.license is not None and manifest.license.file not in (None, *digests):
        raise field_error(
            "predicate.license.file", f"{quoted(manifest.license.file or '')} is not among the files"
        )
    for document in manifest.documents:
        if digests.get(document.path) != document.sha256:
            raise field_error(
                "predicate.documents", f"{quoted(document.path)} is not a file with that digest"
            )


def _ext(predicate: Fields) -> Mapping[str, object]:
    if not predicate.has("ext"):
        return {}
    value = predicate.get("ext")
    if not isinstance(value, dict):
        raise field_error("predicate.ext", "an object is expected")
    pending: list[object] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str) and unsafe_character(item):
            raise field_error("predicate.ext", f"{quoted(item)} holds a control character")
    return value
