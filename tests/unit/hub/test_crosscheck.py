"""Bytes against what the Hub says of them: SHA-256 of large files, git blob ids of small ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from weightshare.errors import CheckpointError, HubMismatchError
from weightshare.hub.crosscheck import Held, git_blob_id, refuse_bytes, refuse_sizes
from weightshare.hub.listing import HubFile

SMALL, LARGE = b'{"a": 1}', b"weights" * 1000
LISTING = {
    "config.json": HubFile(len(SMALL), git_blob_id(SMALL)),
    "model.safetensors": HubFile(len(LARGE), "0" * 40, hashlib.sha256(LARGE).hexdigest()),
}
WHERE = {"repo": "acme/m7b", "commit": "c" * 40}


def held(folder: Path, path: str, data: bytes, said: bytes | None = None) -> Held:
    (folder / path).write_bytes(data)
    said = data if said is None else said
    return Held(path, folder / path, len(said), hashlib.sha256(said).digest())


def test_a_git_blob_id_is_what_git_says() -> None:
    """`printf 'what is up, doc?' | git hash-object --stdin`, as in Pro Git, 10.2; and the empty blob."""
    assert git_blob_id(b"what is up, doc?") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"
    assert git_blob_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_the_same_bytes_pass(tmp_path: Path) -> None:
    files = [held(tmp_path, "config.json", SMALL), held(tmp_path, "model.safetensors", LARGE)]
    assert refuse_bytes(LISTING, files, **WHERE) == 2


@pytest.mark.parametrize(
    ("path", "data", "word"),
    [
        ("config.json", b'{"a": 2}', "git blob id"),
        ("config.json", b"{}", "2 bytes, expected 8"),
        ("model.safetensors", b"weighty" * 1000, "SHA-256"),
        ("model.safetensors", b"", "0 bytes, expected 7000"),
        ("more.json", b"{}", "not in the repository"),
    ],
)
def test_a_difference_is_named(tmp_path: Path, path: str, data: bytes, word: str) -> None:
    with pytest.raises(HubMismatchError, match=word) as error:
        refuse_bytes(LISTING, [held(tmp_path, path, data)], **WHERE)
    assert error.value.exit_code == 4
    assert error.value.facts["paths"] == [path]


def test_sizes_and_names_are_refused_before_anything_is_read() -> None:
    refuse_sizes(LISTING, [("config.json", len(SMALL))], **WHERE)
    with pytest.raises(HubMismatchError) as error:
        refuse_sizes(LISTING, [("config.json", 1), ("more.json", 1), ("model.safetensors", 7000)], **WHERE)
    assert error.value.facts["paths"] == ["config.json", "more.json"]


def test_a_small_file_that_is_another_when_it_is_read_again_is_noticed(tmp_path: Path) -> None:
    """It has the Hub's bytes now, and had others when it was hashed."""
    with pytest.raises(CheckpointError, match="Changed"):
        refuse_bytes(LISTING, [held(tmp_path, "config.json", SMALL, said=b'{"a": 3}')], **WHERE)
