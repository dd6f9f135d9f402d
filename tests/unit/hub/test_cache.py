"""What is found in a Hub cache, whole or not, and what is no cache's business."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weightshare.errors import UsageError
from weightshare.hub import cache
from weightshare.hub.cache import HubName
from weightshare.hub.listing import HubFile
from weightshare.hub.settings import HubSettings

COMMIT = "c" * 40
NAME = HubName("acme/m7b")


@pytest.fixture
def settings(tmp_path: Path) -> HubSettings:
    return HubSettings.from_environment({"HF_HUB_CACHE": str(tmp_path)})


@pytest.fixture
def repository(settings: HubSettings) -> Path:
    folder = settings.repository("acme/m7b")
    for part in ("blobs", "refs", "trees", f"snapshots/{COMMIT}/sub"):
        (folder / part).mkdir(parents=True)
    (folder / "refs/main").write_text(COMMIT)
    (folder / "blobs/aaa").write_bytes(b"{}")
    (folder / "snapshots" / COMMIT / "config.json").symlink_to("../../blobs/aaa")
    (folder / "snapshots" / COMMIT / "sub/b.json").symlink_to("../../../blobs/aaa")
    return folder


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("acme/m7b", "acme/m7b", "main"),
        ("acme/m7b@v1.0", "acme/m7b", "v1.0"),
        ("acme/m7b@refs/pr/3", "acme/m7b", "refs/pr/3"),
        (f"a_B-c/1.2-x@{COMMIT}", "a_B-c/1.2-x", COMMIT),
    ],
)
def test_a_name(text: str, repo: str, revision: str) -> None:
    assert HubName.parse(text) == HubName(repo, revision)


@pytest.mark.parametrize(
    "text",
    [
        "m7b",
        "acme/m7b@",
        "acme/m7b@../../x",
        "a/b/c",
        "../x",
        "acme/m7b@a//b",
        "acme/..",
        "/etc/passwd",
        "a--b/c",
        "acme/m\n7b",
    ],
)
def test_a_text_that_is_no_name(text: str) -> None:
    with pytest.raises(UsageError, match="no repository"):
        HubName.parse(text)


def test_a_branch_leads_to_its_snapshot(settings: HubSettings, repository: Path) -> None:
    found = cache.find(settings, NAME)
    assert found is not None
    assert (found.commit, found.folder) == (COMMIT, repository / "snapshots" / COMMIT)
    assert found.present() == {"config.json", "sub/b.json"}
    (repository / "blobs/aaa").unlink()
    assert found.present() == frozenset()
    assert cache.commits(settings, "acme/m7b") == (COMMIT,)


def test_a_commit_needs_no_branch(settings: HubSettings, repository: Path) -> None:
    (repository / "refs/main").unlink()
    assert cache.find(settings, NAME) is None
    found = cache.find(settings, HubName("acme/m7b", COMMIT))
    assert found is not None
    assert cache.find(settings, HubName("acme/m7b", "d" * 40)) is None
    assert cache.find(settings, HubName("acme/other")) is None
    assert cache.commits(settings, "acme/other") == ()


@pytest.mark.parametrize("text", ["", "main", "../../../x", "C" * 40, "c" * 39])
def test_a_ref_that_names_no_commit_is_none(settings: HubSettings, repository: Path, text: str) -> None:
    (repository / "refs/main").write_text(text)
    assert cache.find(settings, NAME) is None


def test_a_download_that_was_cut_short_is_seen(settings: HubSettings, repository: Path) -> None:
    assert cache.unfinished(settings, "acme/m7b") == ()
    (repository / "blobs/aaa.0123abcd.incomplete").write_bytes(b"")
    assert cache.unfinished(settings, "acme/m7b") == ()  # of a file that is there
    (repository / "blobs/bbb.0123abcd.incomplete").write_bytes(b"")
    (repository / "blobs/ccc.incomplete").write_bytes(b"")  # as huggingface_hub wrote them before 1.0
    assert cache.unfinished(settings, "acme/m7b") == ("bbb", "ccc")


def test_the_kept_listing_is_read(settings: HubSettings, repository: Path) -> None:
    found = cache.find(settings, NAME)
    assert found is not None
    assert cache.kept_listing(found) is None
    place = repository / "trees" / f"{COMMIT}.json"
    files = {
        "config.json": {"size": 2, "blob_id": "9e26"},
        "model.safetensors": {
            "size": 9,
            "blob_id": "11",
            "lfs_sha256": "ab",
            "lfs_size": 9,
            "xet_hash": "cd",
        },
    }
    place.write_text(json.dumps({"format_version": 1, "files": files}))
    assert cache.kept_listing(found) == {
        "config.json": HubFile(2, "9e26"),
        "model.safetensors": HubFile(9, "11", "ab"),
    }
    for text in (
        '{"format_version": 2, "files": {}}',
        '{"format_version": 1, "files": {"a": {}}}',
        "[]",
        "{",
        "\xff",
    ):
        place.write_text(text)
        assert cache.kept_listing(found) is None
