"""What the Hub calls a file's bytes, told without asking it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from weightshare.hub.etags import MOST_IN_GIT, Etags, git_blob_id
from weightshare.hub.listing import HubFile
from weightshare.units import MIB


@pytest.mark.parametrize(
    ("line", "path", "large"),
    [
        ("*.bin filter=lfs", "a.bin", True),
        ("*.bin filter=lfs", "deep/down/a.bin", True),
        ("*.bin filter=lfs", "a.bin.json", False),
        ("/a.bin filter=lfs", "a.bin", True),
        ("/a.bin filter=lfs", "sub/a.bin", False),
        ("sub/*.bin filter=lfs", "sub/a.bin", True),
        ("sub/*.bin filter=lfs", "sub/deep/a.bin", False),
        ("saved_model/**/* filter=lfs", "saved_model/a", True),
        ("saved_model/**/* filter=lfs", "saved_model/x/y/a", True),
        ("saved_model/**/* filter=lfs", "other/saved_model/a", False),
        ("**/a.txt filter=lfs", "a.txt", True),
        ("**/a.txt filter=lfs", "x/y/a.txt", True),
        ("data/** filter=lfs", "data/x/y", True),
        ("data/** filter=lfs", "data", False),
        ("*tfevents* filter=lfs", "runs/events.out.tfevents.1.host", True),
        ("a[[:space:]]b.txt filter=lfs", "a b.txt", True),
        ('"a b.txt" filter=lfs', "a b.txt", True),
        (r"\#a filter=lfs", "#a", True),
        ("# *.txt filter=lfs", "a.txt", False),
        ("*.txt text", "a.txt", False),
        ("*.txt filter=lfs\n*.txt -filter", "a.txt", False),
        ("*.txt filter=lfs\nb.txt !filter", "b.txt", False),
        ("*.txt filter=lfs\n*.txt text", "a.txt", True),
        ("*.txt filter=other", "a.txt", False),
        ("model-[0-9].txt filter=lfs", "model-3.txt", True),
        ("model-[^0-9].txt filter=lfs", "model-3.txt", False),
    ],
)
def test_patterns_are_git_s(line: str, path: str, large: bool, tmp_path: Path) -> None:
    assert Etags(line.encode()).large(path, 10)[0] is large
    if git := shutil.which("git"):
        subprocess.run([git, "init", "-q", str(tmp_path)], check=True)
        (tmp_path / ".gitattributes").write_text(line + "\n")
        said = subprocess.run(
            [git, "check-attr", "-z", "filter", "--", path], cwd=tmp_path, capture_output=True, check=True
        )
        assert (said.stdout.split(b"\0")[2] == b"lfs") is large


def test_what_decides_is_said() -> None:
    listed = {"a.safetensors": HubFile(9, "1" * 40), "b.txt": HubFile(9, "1" * 40, "2" * 64)}
    etags = Etags(b"*.txt filter=lfs\n", listed)
    assert etags.large("a.safetensors", 20 * MIB) == (False, "the Hub's listing of the commit says so")
    assert etags.large("b.txt", 1)[0]
    assert etags.large("c.json", MOST_IN_GIT) == (False, ".gitattributes does not name it")
    assert etags.large("c.json", MOST_IN_GIT + 1) == (True, "it is over 10 MiB")
    assert etags.large("c.txt", 1) == (True, ".gitattributes: *.txt")
    assert not etags.large("c.safetensors", 1)[0]
    assert Etags(None).large("x/c.safetensors", 1) == (True, "the Hub's defaults: *.safetensors")
    assert Etags(None).large("config.json", 1) == (False, "the Hub's defaults do not name it")


def test_a_name_is_one_digest_or_the_other(tmp_path: Path) -> None:
    place = tmp_path / "a"
    place.write_bytes(b"what is this?")
    sha256 = hashlib.sha256(place.read_bytes()).digest()
    # From `git hash-object`.
    assert Etags(None).of("a.json", 13, sha256, place).name == git_blob_id(place)
    assert git_blob_id(place) == hashlib.sha1(b"blob 13\0what is this?").hexdigest()
    assert Etags(None).of("a.bin", 13, sha256, place).name == sha256.hex()


def test_a_hostile_pattern_costs_no_time() -> None:
    began = time.monotonic()
    etags = Etags((b"*a" * 500 + b"b filter=lfs\n" + b"**/" * 300 + b"*x/" * 100 + b" filter=lfs\n") * 20)
    assert not etags.large("a" * 255 + "/" + "x/" * 15 + "a" * 255, 1)[0]
    assert time.monotonic() - began < 5
