from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.builders_oms import FILES, Json, resource, root_of, shards, statement
from weightshare.errors import ManifestError, NotCheckedError, UnsafePathError, UnsupportedError
from weightshare.trust.oms_statement import GIT_PATHS, Resource, Statement, whole_files


def parse(said: Json) -> Statement:
    return Statement.parse(json.dumps(said).encode())


def test_whole_files_are_listed_by_code_point_and_read_back() -> None:
    digests = {path: hashlib.sha256(data).digest() for path, data in reversed(FILES.items())}
    made = whole_files("m", digests, GIT_PATHS | {"model.sig"})
    assert made.paths == tuple(sorted(FILES))
    assert Statement.parse(made.to_payload()) == Statement(
        "m",
        tuple(Resource(path, digests[path]) for path in sorted(FILES)),
        made.serialization,
    )
    said = json.loads(made.to_payload())
    assert said["subject"] == statement()["subject"]
    assert said["predicate"]["resources"] == statement()["predicate"]["resources"]


def test_what_is_ignored_is_not_listed() -> None:
    digests = dict.fromkeys((".gitattributes", ".github/x", "sub/.gitignore", "model.sig", "a"), bytes(32))
    made = whole_files("m", digests, GIT_PATHS | {"model.sig"})
    assert made.paths == ("a", "sub/.gitignore")


def test_ignored_folders_take_in_what_is_below_them_and_nothing_else() -> None:
    ignores = parse(statement(ignore_paths=["cache/", "./x//y"])).serialization.ignores
    assert [
        path for path in ("cache", "cache/a/b", "cached", "sub/cache", "x/y", ".git/HEAD") if ignores(path)
    ] == [
        "cache",
        "cache/a/b",
        "x/y",
        ".git/HEAD",
    ]


def test_shards() -> None:
    said = statement(shards(FILES, 1000), method="shards", shard_size=1000)
    read = parse(said)
    assert read.serialization.shard_size == 1000
    assert read.paths == ("a-b/c.txt", "a/c.txt", "config.json", "model.safetensors")
    assert [(r.start, r.end) for r in read.resources[3:]] == [(0, 1000), (1000, 2000), (2000, 2560)]


def test_what_model_signing_writes_against_the_specification() -> None:
    by_parts = sorted(FILES.items(), key=lambda item: item[0].split("/"))
    assert [path for path, _ in by_parts] != sorted(FILES)
    assert parse(statement([resource(*item) for item in by_parts])).paths[0] == "a/c.txt"
    pieces = shards({"a": bytes(2500), "b": bytes(20)}, 10)
    pieces.sort(key=lambda entry: (entry["name"][0], int(entry["name"].split(":")[1])))
    for entry in pieces:
        entry["algorithm"] = "sha256-sharded-10"
    read = parse(statement(pieces, method="shards", shard_size=10.0))
    assert read.serialization.shard_size == 10
    assert len(read.resources) == 252


def test_what_else_may_be_there_is_passed_over() -> None:
    said = statement()
    said["predicate"]["more"] = 1
    said["predicate"]["resources"][0]["annotations"] = {"a": "b"}
    assert parse(said).paths == tuple(sorted(FILES))


def _edited(edit: Callable[[Json], Any], *, root: bool = True) -> Json:
    said = statement()
    edit(said)
    if root:
        said["subject"][0]["digest"]["sha256"] = root_of(said["predicate"]["resources"])
    return said


def _rename(name: str) -> Callable[[Json], Any]:
    def edit(said: Json) -> None:
        said["predicate"]["resources"] = sorted(
            [*said["predicate"]["resources"], resource(name, b"")], key=lambda entry: str(entry["name"])
        )

    return edit


def _first(said: Json) -> Json:
    first: Json = said["predicate"]["resources"][0]
    return first


BROKEN: dict[str, tuple[Json, str]] = {
    "no resources": (statement([]), "at least one file"),
    "reordered": (_edited(lambda said: said["predicate"]["resources"].reverse()), "not sorted"),
    "reordered, root kept": (
        _edited(lambda said: said["predicate"]["resources"].reverse(), root=False),
        "not sorted",
    ),
    "twice": (_edited(_rename("config.json")), "'config.json' is there twice"),
    "another root": (
        _edited(lambda said: said["subject"][0]["digest"].update(sha256="00" * 32), root=False),
        "not that of the resources",
    ),
    "no root": (_edited(lambda said: said["subject"][0]["digest"].clear(), root=False), "not that of"),
    "a digest exchanged": (
        _edited(lambda said: _first(said).update(digest="00" * 32), root=False),
        "not that of",
    ),
    "two subjects": (
        _edited(lambda said: said["subject"].append(said["subject"][0])),
        "2 of them, where one",
    ),
    "no subject": (_edited(lambda said: said["subject"].clear(), root=False), "0 of them, where one"),
    "no name": (_edited(lambda said: said["subject"][0].pop("name")), "a text is expected"),
    "a name for terminals": (_edited(lambda said: said["subject"][0].update(name="\x1b[2J")), "is no name"),
    "upper-case digest": (
        _edited(lambda said: _first(said).update(digest=_first(said)["digest"].upper())),
        "64 lower-case hex digits",
    ),
    "a short digest": (_edited(lambda said: _first(said).update(digest="ab")), "64 lower-case hex digits"),
    "another algorithm": (_edited(lambda said: _first(said).update(algorithm="blake2b")), "where sha256 is"),
    "an algorithm of shards": (
        _edited(lambda said: _first(said).update(algorithm="sha256-sharded-7")),
        "where sha256 is",
    ),
    "no links rule": (statement(allow_symlinks="false"), "true or false"),
    "files with a shard size": (statement(shard_size=5), "with them only"),
    "shards without one": (statement(shards(FILES, 9), method="shards"), "expected with shards"),
    "shards of nothing": (statement(shards(FILES, 9), method="shards", shard_size=0), "at least 1"),
    "shards of a half": (statement(shards(FILES, 9), method="shards", shard_size=9.5), "no integer"),
    "other shards": (statement(shards(FILES, 9), method="shards", shard_size=10), "do not make one file"),
    "a shard dropped": (statement(shards(FILES, 9)[1:], method="shards", shard_size=9), "do not make one"),
    "a file among shards": (statement(method="shards", shard_size=9), "where PATH:START:END"),
    "an octal shard": (
        statement([resource("a:0:07", b"")], method="shards", shard_size=9),
        "where PATH:START:END",
    ),
    "an ignored parent": (statement(ignore_paths=["../x"]), "not a path inside"),
    "an ignored root": (statement(ignore_paths=["/"]), "not a path inside"),
    "everything ignored": (statement(ignore_paths=["."]), "not a path inside"),
    "ignored numbers": (statement(ignore_paths=[1]), "a path is expected"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_statements_are_refused(case: str) -> None:
    said, problem = BROKEN[case]
    with pytest.raises(ManifestError, match=problem):
        parse(said)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../b", "a\\b", "x\x00", "a//b", "./a", "", "a:0:1", "NUL"]
)
def test_unsafe_paths_are_refused(name: str) -> None:
    with pytest.raises((UnsafePathError, ManifestError)):
        parse(_edited(_rename(name)))
    with pytest.raises((UnsafePathError, ManifestError)):
        parse(statement([resource(f"{name}:0:1", b"x")], method="shards", shard_size=9))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("predicateType", "https://model_signing/signature/v1.1"),
        ("predicateType", "https://model_signing/Digests/v0.1"),
        ("predicateType", None),
    ],
)
def test_other_statements_are_refused(key: str, value: object) -> None:
    with pytest.raises(UnsupportedError, match=key):
        parse(statement() | {key: value})


@pytest.mark.parametrize("hash_type", ["blake3", "md5", None])
def test_digests_that_are_not_computed_here_are_not_checked(hash_type: object) -> None:
    with pytest.raises(NotCheckedError, match="Not checked"):
        parse(statement(hash_type=hash_type))


def test_two_readings_of_one_payload_are_refused() -> None:
    text = json.dumps(statement())
    with pytest.raises(ManifestError, match="there twice"):
        Statement.parse((text[:-1] + ', "subject": []}').encode())
