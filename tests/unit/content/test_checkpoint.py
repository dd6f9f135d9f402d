"""What may be published and what must not, each refusal with every file it is about."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from weightshare.content import checkpoint
from weightshare.content.checkpoint import scan
from weightshare.errors import (
    CheckpointError,
    LinkError,
    PickleError,
    RefusedContentError,
    SafetensorsError,
    UnsafeNameError,
    UsageError,
    WeightshareError,
)
from weightshare.manifest.model import Weights
from weightshare.units import MAX_FILES

POSIX = pytest.mark.skipif(os.name == "nt", reason="names and links of POSIX")


def shard(dtype: str = "BF16", shape: tuple[int, ...] = (2, 3), name: str = "w") -> bytes:
    items = 1
    for length in shape:
        items *= length
    size = items * {"BF16": 2, "F32": 4}[dtype]
    header = {name: {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(size)


def write_at(path: Path, data: bytes | str = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    write_at(root / "config.json", "{}")
    write_at(root / "model-1.safetensors", shard(name="a"))
    write_at(root / "model-2.safetensors", shard("F32", (4,), name="b"))
    weight_map = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    write_at(root / "model.safetensors.index.json", json.dumps({"weight_map": weight_map}))
    write_at(root / "sub/README.md", "# hello")
    return root


def refusal(root: Path, kind: type[WeightshareError], code: int) -> list[str]:
    """The files that a refusal of just this kind names, in its message and as facts."""
    with pytest.raises(kind) as caught:
        scan(root)
    assert type(caught.value) is kind
    assert caught.value.exit_code == code
    paths = caught.value.facts["paths"]
    assert isinstance(paths, list)
    for path in paths:
        assert ascii(path)[1:-1] in ascii(caught.value.message) or "\\" in ascii(path)
    return paths


def test_a_sound_checkpoint(model: Path) -> None:
    found = scan(model)
    assert [file.path for file in found.files] == [
        "config.json",
        "model-1.safetensors",
        "model-2.safetensors",
        "model.safetensors.index.json",
        "sub/README.md",
    ]
    assert found.files[1].size == (model / "model-1.safetensors").stat().st_size
    assert found.files[0].media_type == "application/json"
    assert found.files[4].location == (model / "sub/README.md").resolve()
    assert found.weights == Weights("safetensors", 10, ("BF16", "F32"))
    assert found.warnings == ()


def test_sorted_by_bytes_not_by_folder(tmp_path: Path) -> None:
    for path in ("b", "a/x", "a-b", "a.b", "é", "z"):
        write_at(tmp_path / path)
    assert [file.path for file in scan(tmp_path).files] == ["a-b", "a.b", "a/x", "b", "z", "é"]


def test_notices_a_file_that_changed_since(model: Path) -> None:
    found = {file.path: file for file in scan(model).files}
    assert all(file.unchanged() for file in found.values())
    (model / "config.json").write_text("[]")
    (model / "sub/README.md").unlink()
    assert [path for path, file in found.items() if not file.unchanged()] == ["config.json", "sub/README.md"]


def test_leaves_out_what_is_not_the_model(model: Path) -> None:
    before = scan(model).files
    for path in (
        *(
            "weightshare.json",
            ".git/config",
            "sub/.git/HEAD",
            ".cache/huggingface/x.lock",
            ".weightshare/part",
        ),
        *(".DS_Store", "sub/.DS_Store", "__pycache__/m.pyc", ".weightshare.tmp"),
    ):
        write_at(model / path)
    assert scan(model).files == before
    for path in ("sub/weightshare.json", ".cache/other", "sub/.cache/huggingface/x"):
        write_at(model / path)
    assert len(scan(model).files) == len(before) + 3


def test_warns_of_code_and_hidden_files(model: Path) -> None:
    write_at(model / "modeling_m.py")
    write_at(model / ".env", "TOKEN=secret")
    write_at(model / ".gitattributes")
    warnings = scan(model).warnings
    assert [("modeling_m.py" in text, ".env" in text) for text in warnings] == [(True, False), (False, True)]
    assert not any(".gitattributes" in text for text in warnings)


# ---- links


@POSIX
def test_links_that_leave_lead_nowhere_or_to_folders(model: Path, tmp_path: Path) -> None:
    write_at(tmp_path / "secret")
    (tmp_path / "elsewhere").mkdir()
    (model / "abs").symlink_to(tmp_path / "secret")
    (model / "rel").symlink_to("../secret")
    (model / "sub/deep").symlink_to("../../secret")
    (model / "dangling").symlink_to("nothing")
    (model / "loop").symlink_to("loop")
    (model / "out").symlink_to(tmp_path / "elsewhere")
    (model / "in").symlink_to("sub")
    (model / "hop").symlink_to("rel")
    assert refusal(model, LinkError, 8) == sorted(
        ["abs", "rel", "sub/deep", "dangling", "loop", "out", "in", "hop"]
    )


@POSIX
def test_a_link_inside_is_followed_but_not_into_what_is_left_out(model: Path) -> None:
    (model / "copy.json").symlink_to("config.json")
    (copy,) = [file for file in scan(model).files if file.path == "copy.json"]
    assert copy.location == (model / "config.json").resolve()
    write_at(model / ".git/config", "token")
    (model / "notes").symlink_to(".git/config")
    assert refusal(model, LinkError, 8) == ["notes"]


@POSIX
def test_a_snapshot_of_the_hub_cache(tmp_path: Path) -> None:
    repository = tmp_path / "hub/models--acme--m7b"
    snapshot = repository / "snapshots" / ("c" * 40)
    write_at(repository / "blobs/aaa", shard())
    write_at(repository / "blobs/bbb", "{}")
    (snapshot / "sub").mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/aaa")
    (snapshot / "sub/config.json").symlink_to("../../../blobs/bbb")
    found = scan(snapshot)
    assert [file.path for file in found.files] == ["model.safetensors", "sub/config.json"]
    assert found.files[0].location == (repository / "blobs/aaa").resolve()
    assert found.files[0].media_type == "application/x-safetensors"
    assert [file.path for file in scan(snapshot / "sub").files] == ["config.json"]

    write_at(tmp_path / "hub/models--acme--other/blobs/ccc")
    (snapshot / "theirs").symlink_to("../../../models--acme--other/blobs/ccc")
    (snapshot / "refs").symlink_to("../../refs/main")
    write_at(repository / "refs/main")
    write_at(repository / "blobs/deep/er")
    (snapshot / "deeper").symlink_to("../../blobs/deep/er")
    assert refusal(snapshot, LinkError, 8) == ["deeper", "refs", "theirs"]


@POSIX
def test_a_blob_in_the_store_that_repositories_share(tmp_path: Path) -> None:
    """huggingface_hub 2 links `blobs/ETAG` on to `blobs/XX/HASH` of the whole cache; nothing else leads there."""
    cache = tmp_path / "hub"
    repository = cache / "models--acme--m7b"
    snapshot = repository / "snapshots" / ("c" * 40)
    shared = f"ab/ab{'0' * 62}"
    write_at(cache / "blobs" / shared, shard())
    write_at(cache / "blobs/ab/notes", "x")
    write_at(cache / "other" / shared, "x")
    (snapshot / "sub").mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs/etag").symlink_to(f"../../blobs/{shared}")
    (snapshot / "model.safetensors").symlink_to("../../blobs/etag")
    (snapshot / "sub/model.safetensors").symlink_to("../../../blobs/etag")
    found = scan(snapshot)
    assert {file.path for file in found.files} == {"model.safetensors", "sub/model.safetensors"}
    assert {file.location for file in found.files} == {(cache / "blobs" / shared).resolve()}

    (snapshot / "straight").symlink_to(f"../../../blobs/{shared}")
    (repository / "blobs/notes").symlink_to("../../blobs/ab/notes")
    (snapshot / "notes").symlink_to("../../blobs/notes")
    (repository / "blobs/elsewhere").symlink_to(f"../../other/{shared}")
    (snapshot / "elsewhere").symlink_to("../../blobs/elsewhere")
    assert refusal(snapshot, LinkError, 8) == ["elsewhere", "notes", "straight"]


@POSIX
def test_a_folder_that_only_looks_like_a_cache(tmp_path: Path) -> None:
    write_at(tmp_path / "x/blobs/aaa")
    snapshot = tmp_path / "x/snapshots/1"
    snapshot.mkdir(parents=True)
    (snapshot / "f").symlink_to("../../blobs/aaa")
    assert refusal(snapshot, LinkError, 8) == ["f"]


@POSIX
def test_a_root_that_is_a_link_is_the_folder_it_leads_to(model: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(model)
    assert [f.path for f in scan(tmp_path / "link").files] == [f.path for f in scan(model).files]


@POSIX
def test_pipes_sockets_and_links_to_devices(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(model / "pipe")
    monkeypatch.chdir(model)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert refusal(model, RefusedContentError, 8) == ["pipe", "socket"]
    (model / "null").symlink_to("/dev/null")
    assert refusal(model, LinkError, 8) == ["null"]


# ---- names


@POSIX
@pytest.mark.parametrize(
    "names",
    [
        ["a:b", "c?", "sub/d*"],
        ["CON", "nul.txt", "sub/com1.json"],
        ["ends ", "dots."],
        ["new\nline", "esc\x1b[2J"],
        ["back\\slash"],
        ["e\u0301"],
        ["Config.json", "CONFIG.JSON"],
        ["stra\u00dfe", "strasse"],
        ["SUB"],
        ["WeightShare.json"],
        ["weightshare.JSON/x"],
        ["weightshare.json/x"],
        ["d/" * 17 + "f"],
        ["x" * 200 + "/" + "y" * 200 + "/" + "z" * 200 + "/" + "q" * 200 + "/" + "r" * 230],
    ],
    ids=ascii,
)
def test_names_that_another_system_could_not_store(model: Path, names: list[str]) -> None:
    for name in names:
        write_at(model / name)
    refused = refusal(model, UnsafeNameError, 8)
    assert set(refused) >= set(names)
    assert set(refused) - set(names) <= {"config.json", "sub/README.md"}


@POSIX
def test_a_name_that_is_no_utf8(model: Path) -> None:
    Path(os.fsdecode(os.fsencode(model) + b"/caf\xe9")).write_bytes(b"x")
    assert refusal(model, UnsafeNameError, 8) == ["caf\udce9"]


@POSIX
def test_folders_may_differ_in_case_as_long_as_their_files_do_not_meet(model: Path) -> None:
    write_at(model / "SUB/other.md")
    scan(model)
    write_at(model / "SUB/readme.MD")
    assert refusal(model, UnsafeNameError, 8) == ["SUB/readme.MD", "sub/README.md"]


# ---- pickles


def test_pickles_only_on_request(model: Path) -> None:
    names = ["a.PT", "b.pth", "c.ckpt", "d.pkl", "pytorch_model.bin", "sub/training_args.bin"]
    for name in names:
        write_at(model / name)
    assert refusal(model, PickleError, 8) == names
    found = scan(model, allow_pickle=True)
    assert len(found.files) == 11
    assert "pytorch_model.bin" in found.warnings[0]


# ---- integrity


def test_every_bad_header_is_named(model: Path) -> None:
    write_at(model / "bad.safetensors", shard() + b"!")
    write_at(model / "sub/worse.SAFETENSORS", b"PK\x03\x04 a zip")
    assert refusal(model, SafetensorsError, 4) == ["bad.safetensors", "sub/worse.SAFETENSORS"]


def test_warnings_of_headers_are_passed_on(model: Path) -> None:
    write_at(model / "none.safetensors", struct.pack("<Q", 2) + b"{}")
    assert any("none.safetensors" in text for text in scan(model).warnings)


def test_an_index_that_names_missing_shards(model: Path) -> None:
    (model / "model-2.safetensors").unlink()
    assert refusal(model, CheckpointError, 4) == ["model-2.safetensors"]


@pytest.mark.parametrize("shard_name", ["../model-1.safetensors", "/etc/passwd", "config.json", ""])
def test_an_index_names_shards_of_its_own_folder(model: Path, shard_name: str) -> None:
    write_at(model / "sub/x.safetensors.index.json", json.dumps({"weight_map": {"a": shard_name}}))
    assert refusal(model, CheckpointError, 4) == [shard_name]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "[" * 100_000]
)
def test_an_index_that_is_none(model: Path, text: str) -> None:
    write_at(model / "other.safetensors.index.json", text)
    assert refusal(model, CheckpointError, 4) == ["other.safetensors.index.json"]


def test_an_index_that_names_tensors_its_shards_lack_is_a_warning(model: Path) -> None:
    weight_map = {"a": "model-1.safetensors", "b": "model-1.safetensors"}
    write_at(model / "model.safetensors.index.json", json.dumps({"weight_map": weight_map}))
    (warning,) = scan(model).warnings
    assert "1 tensors" in warning
    assert "first is b" in warning


def test_weights_published_twice_count_once(model: Path) -> None:
    write_at(model / "consolidated.safetensors", shard(shape=(100,)))
    assert scan(model).weights == Weights("safetensors", 10, ("BF16", "F32"))


def test_no_weights(tmp_path: Path) -> None:
    write_at(tmp_path / "m.gguf")
    assert scan(tmp_path).weights is None


@pytest.mark.parametrize("prepare", [lambda root: None, lambda root: write_at(root / ".git/config")])
def test_an_empty_folder(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    prepare(tmp_path)
    assert refusal(tmp_path, CheckpointError, 4) == []


def test_no_folder(tmp_path: Path) -> None:
    write_at(tmp_path / "file")
    with pytest.raises(UsageError, match="does not exist"):
        scan(tmp_path / "absent")
    with pytest.raises(UsageError, match="is a file"):
        scan(tmp_path / "file")


def test_too_many_files(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 1):
        (tmp_path / str(number)).touch()
    with pytest.raises(CheckpointError, match="10001 files, 10000 at most"):
        scan(tmp_path)
    (tmp_path / "0").unlink()
    assert len(scan(tmp_path).files) == MAX_FILES


def test_a_file_over_the_limit(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MAX_JSON_INTEGER", 1000)
    write_at(model / "fits", bytes(1000))
    write_at(model / "huge", bytes(1001))
    assert refusal(model, CheckpointError, 4) == ["huge"]


def test_scanning_writes_nothing_and_needs_no_right_to(model: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in [model, *model.rglob("*")]}
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        scan(model)
    finally:
        for path in before:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert {path: path.stat().st_mtime_ns for path in [model, *model.rglob("*")]} == before
