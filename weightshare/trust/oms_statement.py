"""What an OpenSSF Model Signing signature says: which files, or byte ranges of files, have which digests.

An in-toto Statement v1 with the predicate `https://model_signing/signature/v1.0`. Reading is strict wherever two
readers could differ, and lenient only where model_signing 1.1.1 departs from the specification: it sorts by path
components, not by code points, writes shard sizes as `1000.0`, and names the algorithm of a shard
`sha256-sharded-1000`. Source: model-signing-spec v1.0, sections 5 and 6.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from weightshare.errors import ManifestError, NotCheckedError, UnsupportedError
from weightshare.manifest import strict_json
from weightshare.manifest.paths import check_path
from weightshare.manifest.text import quoted, unsafe_character
from weightshare.units import MAX_ENVELOPE, MAX_JSON_INTEGER

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
HASHES = {"sha256": 32, "blake2b": 64}
"""Digest algorithms that are checked here, and the length of their digests in bytes."""
GIT_PATHS = frozenset({".git", ".gitattributes", ".github", ".gitignore"})
"""Left out of every signature unless its signer says otherwise (section 6.2)."""

_KNOWN_HASHES = {**HASHES, "blake3": 32}
_SHARD = re.compile(r"(?P<path>.+):(?P<start>0|[1-9][0-9]{0,15}):(?P<end>[1-9][0-9]{0,15})", re.DOTALL)
_MAX_IGNORED = 10_000


@dataclass(frozen=True, slots=True)
class Resource:
    """A file, or a byte range of one, and its digest.

    Attributes:
        path: relative, `/`-separated, safe.
        digest: 32 bytes for SHA-256, 64 for BLAKE2b.
        start: first byte.
        end: one past the last byte; None for a whole file.
    """

    path: str
    digest: bytes
    start: int = 0
    end: int | None = None

    @property
    def name(self) -> str:
        """As it stands in the statement."""
        return self.path if self.end is None else f"{self.path}:{self.start}:{self.end}"


@dataclass(frozen=True, slots=True)
class Serialization:
    """How a folder became a list of resources.

    Attributes:
        method: `files` or `shards`.
        hash_type: `sha256` or `blake2b`; in a signature that is not checked here, also `blake3`.
        shard_size: bytes; None for whole files.
        allow_symlinks: whether links to files count as the files they lead to.
        ignore_paths: what was left out: each itself, and all below it.
    """

    method: str = "files"
    hash_type: str = "sha256"
    shard_size: int | None = None
    allow_symlinks: bool = False
    ignore_paths: frozenset[str] = GIT_PATHS

    def ignores(self, path: str) -> bool:
        """Whether a file may be there although it is not listed."""
        ends = (at for at, character in enumerate(path) if character == "/")
        return path in self.ignore_paths or any(path[:end] in self.ignore_paths for end in ends)


@dataclass(frozen=True, slots=True)
class Statement:
    """A list of resources with the folder's name. It proves nothing by itself.

    Attributes:
        name: what the signer called the folder; informative.
        resources: in the statement's order.
        serialization: how they were made.
    """

    name: str
    resources: tuple[Resource, ...]
    serialization: Serialization

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that are listed, each once, in order."""
        return tuple(dict.fromkeys(resource.path for resource in self.resources))

    @property
    def root(self) -> bytes:
        """SHA-256 over the raw digests of all resources (section 6.5.1)."""
        return hashlib.sha256(b"".join(resource.digest for resource in self.resources)).digest()

    def to_payload(self) -> bytes:
        """The JSON to sign."""
        serialization: dict[str, object] = {
            "method": self.serialization.method,
            "hash_type": self.serialization.hash_type,
            "allow_symlinks": self.serialization.allow_symlinks,
            "ignore_paths": sorted(self.serialization.ignore_paths),
        }
        if self.serialization.shard_size is not None:
            serialization["shard_size"] = self.serialization.shard_size
        return strict_json.dumps(
            {
                "_type": STATEMENT,
                "subject": [{"name": self.name, "digest": {"sha256": self.root.hex()}}],
                "predicateType": PREDICATE,
                "predicate": {
                    "serialization": serialization,
                    "resources": [
                        {
                            "name": resource.name,
                            "algorithm": self.serialization.hash_type,
                            "digest": resource.digest.hex(),
                        }
                        for resource in self.resources
                    ],
                },
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """Read a statement.

        Raises:
            ManifestError: it breaks the format, or holds a digest or an order that is not its own.
            UnsafePathError: it lists a path that could land elsewhere.
            UnsupportedError: it is another kind of statement.
            NotCheckedError: its digests are of a kind that is not computed here.
        """
        document = strict_json.loads(payload, limit=MAX_ENVELOPE, what="OMS statement", whole_floats=True)
        fields = _object(document, "")
        for key, expected in (("_type", STATEMENT), ("predicateType", PREDICATE)):
            if fields.get(key) != expected:
                raise UnsupportedError(
                    f"The OMS statement, field `{key}`: {_shown(fields.get(key))}, where {expected} is expected.",
                    hint="It is a signature of another kind, and does not speak of a model's files.",
                    field=key,
                )
        predicate = _object(fields.get("predicate"), "predicate")
        serialization = _serialization(predicate.get("serialization"))
        listed = _list(predicate.get("resources"), "predicate.resources")
        if not listed:
            raise oms_error("predicate.resources", "at least one file is expected")
        resources = tuple(_resource(entry, at, serialization) for at, entry in enumerate(listed))
        _check_order(resources)
        if serialization.shard_size is not None:
            _check_shards(resources, serialization.shard_size)
        name, digest = _subject(fields.get("subject"))
        statement = cls(name, resources, serialization)
        if digest != statement.root.hex():
            raise oms_error("subject[0].digest.sha256", "it is not that of the resources below it")
        return statement


def whole_files(name: str, digests: Mapping[str, bytes], ignore_paths: Iterable[str]) -> Statement:
    """A statement of whole files by SHA-256.

    Args:
        name: of the folder.
        digests: path to SHA-256.
        ignore_paths: what may lie in the folder too; listed files below one of them are left out.
    """
    serialization = Serialization(ignore_paths=frozenset(ignore_paths))
    kept = sorted(path for path in digests if not serialization.ignores(path))
    return Statement(name, tuple(Resource(path, digests[path]) for path in kept), serialization)


def oms_error(where: str, problem: str) -> ManifestError:
    """The error for a field that breaks the format."""
    subject = f"The OMS signature, field `{where}`" if where else "The OMS signature"
    return ManifestError(
        f"{subject}: {problem}.", hint="It is damaged, or made by another tool.", field=where
    )


def _serialization(value: object) -> Serialization:
    where = "predicate.serialization"
    fields = _object(value, where)
    method = fields.get("method")
    if method not in ("files", "shards"):
        raise UnsupportedError(
            f"The OMS signature lists resources by {_shown(method)}, where files or shards are expected.",
            hint="It was made by a later version of the standard.",
            field=f"{where}.method",
        )
    hash_type = fields.get("hash_type")
    if not isinstance(hash_type, str) or hash_type not in HASHES:
        raise NotCheckedError(
            f"Not checked: the OMS signature needs {_shown(hash_type)}; known here are {', '.join(HASHES)}.",
            hint="`model_signing verify` may know it.",
        )
    links = fields.get("allow_symlinks")
    if not isinstance(links, bool):
        raise oms_error(f"{where}.allow_symlinks", "true or false is expected")
    size = fields.get("shard_size")
    if (size is None) != (method == "files"):
        raise oms_error(f"{where}.shard_size", "expected with shards, and with them only")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise oms_error(f"{where}.shard_size", "an integer of at least 1 is expected")
    ignored = _list(fields.get("ignore_paths", []), f"{where}.ignore_paths")
    if len(ignored) > _MAX_IGNORED:
        raise oms_error(f"{where}.ignore_paths", f"{len(ignored):,} of them, {_MAX_IGNORED:,} at most")
    paths = [_ignored(path, f"{where}.ignore_paths[{at}]") for at, path in enumerate(ignored)]
    return Serialization(method, hash_type, size, links, GIT_PATHS.union(paths))


def _ignored(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise oms_error(where, "a path is expected")
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise oms_error(where, f"{quoted(value)} is not a path inside the folder")
    return str(path)


def _resource(value: object, at: int, serialization: Serialization) -> Resource:
    where = f"predicate.resources[{at}]"
    fields = _object(value, where)
    name, digest, algorithm = (
        _text(fields.get(key), f"{where}.{key}") for key in ("name", "digest", "algorithm")
    )
    sharded = f"{serialization.hash_type}-sharded-{serialization.shard_size}"
    if algorithm not in (serialization.hash_type, sharded):
        raise oms_error(
            f"{where}.algorithm", f"{quoted(algorithm)}, where {serialization.hash_type} is expected"
        )
    digits = 2 * _KNOWN_HASHES[serialization.hash_type]
    if not re.fullmatch(f"[0-9a-f]{{{digits}}}", digest):
        raise oms_error(f"{where}.digest", f"{digits} lower-case hex digits are expected")
    if serialization.shard_size is None:
        check_path(name)
        return Resource(name, bytes.fromhex(digest))
    match = _SHARD.fullmatch(name)
    if match is None or int(match["end"]) > MAX_JSON_INTEGER:
        raise oms_error(f"{where}.name", f"{quoted(name)}, where PATH:START:END is expected")
    check_path(match["path"])
    return Resource(match["path"], bytes.fromhex(digest), int(match["start"]), int(match["end"]))


def _check_order(resources: Sequence[Resource]) -> None:
    """Each name once, and sorted: by code points as the specification has it, or as model_signing 1.1.1 does."""
    names = [resource.name for resource in resources]
    if len(set(names)) != len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise oms_error("predicate.resources", f"{quoted(twice)} is there twice")
    by_parts = [(resource.path.split("/"), resource.start) for resource in resources]
    if names != sorted(names) and by_parts != sorted(by_parts):
        raise oms_error("predicate.resources", "they are not sorted by name")


def _check_shards(resources: Sequence[Resource], size: int) -> None:
    """The ranges of each file lie side by side from its first byte on, all but the last of the full size."""
    files: dict[str, list[Resource]] = {}
    for resource in resources:
        files.setdefault(resource.path, []).append(resource)
    for path, shards in files.items():
        expected = 0
        for shard in sorted(shards, key=lambda shard: shard.start):
            length = (shard.end or 0) - shard.start
            if shard.start != expected or expected % size or not 0 < length <= size:
                raise oms_error("predicate.resources", f"the shards of {quoted(path)} do not make one file")
            expected += length


def _subject(value: object) -> tuple[str, object]:
    subjects = _list(value, "subject")
    if len(subjects) != 1:
        raise oms_error("subject", f"{len(subjects)} of them, where one is expected")
    fields = _object(subjects[0], "subject[0]")
    name = _text(fields.get("name"), "subject[0].name")
    return name, _object(fields.get("digest"), "subject[0].digest").get("sha256")


def _object(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise oms_error(where, "an object is expected")
    return value


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise oms_error(where, "a list is expected")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise oms_error(where, "a text is expected")
    if where == "subject[0].name" and (len(value) > 1024 or unsafe_character(value)):
        raise oms_error(where, f"{quoted(value)} is no name")
    return value


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else "nothing" if value is None else "something else"
