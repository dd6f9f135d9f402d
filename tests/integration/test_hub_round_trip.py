"""From one user's Hub cache into another's: huggingface_hub and transformers, unmodified, at both ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders_checkpoints import contents, place
from tests.builders_hub_releases import on_disk, stamps
from tests.cli.helpers import environment, weightshare
from tests.fixtures_models import linked
from tests.hub_server import serve
from tests.integration.running import Running, Seeder
from weightshare.units import MIB

pytestmark = pytest.mark.model

REPO = "HuggingFaceTB/SmolLM2-135M-Instruct"
HUB = "import sys; from huggingface_hub.cli.hf import main; sys.argv[0] = 'hf'; main()"
ASK = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
repo = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(repo, local_files_only=True)
model = AutoModelForCausalLM.from_pretrained(repo, local_files_only=True)
chat = [{"role": "user", "content": "What is the capital of France?"}]
ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
out = model.generate(**ids, max_new_tokens=12, do_sample=False)
print(tokenizer.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))
"""
# A cache that nobody in this process's mount namespace can write to.
_READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


def read_only(cache: Path) -> tuple[str, ...]:
    """The words that run a command for which a folder is mounted read-only; skips the test where that cannot be."""
    words = ("unshare", "--mount", "sh", "-c", _READ_ONLY, str(cache))
    if sys.platform != "linux" or not shutil.which("unshare"):
        pytest.skip("a read-only mount of one's own takes Linux and util-linux")
    tried = subprocess.run([*words, "touch", str(cache / "x")], capture_output=True, check=False)
    if b"Read-only file system" not in tried.stderr:
        pytest.skip(f"no mount namespace of one's own here: {tried.stderr.decode().strip()}")
    return words


def python(home: Path, *words: str, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", *words],
        env=environment(home, more),
        cwd=home,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    return done.stdout.decode()


def test_a_model_goes_from_cache_to_cache(smollm2: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    mine, theirs = one / "hub", two / "hub"
    for folder in (mine, theirs):
        folder.mkdir(parents=True)
    model = linked(smollm2, tmp_path / "model")
    place(model, {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
    with serve(model, REPO) as hub:
        online = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
        python(one, HUB, "download", REPO, "--quiet", HF_HUB_CACHE=str(mine), **online)
        before = stamps(mine)
        alone = read_only(mine)
        assert weightshare(one, "keys", "new", "HuggingFaceTB").returncode == 0
        with Running(
            one, "publish", "--hub", REPO, "--json", before=alone, more={"HF_HUB_CACHE": str(mine), **online}
        ) as publishing:
            published = publishing.result(within=120)
        with (
            Seeder(one, before=alone) as seeder,
            Running(
                two,
                *(
                    "fetch",
                    published["magnet"],
                    "--trust",
                    published["publisher"],
                    "--peer",
                    seeder.peer,
                    "--json",
                ),
                more={"HF_HUB_CACHE": str(theirs)},
            ) as fetching,
        ):
            fetched = fetching.result(within=180)
        assert stamps(mine) == before

        snapshot = theirs / f"models--{REPO.replace('/', '--')}" / "snapshots" / hub.commit
        assert fetched["path"] == str(snapshot)
        assert contents(snapshot) == contents(model)
        assert on_disk(two) < sum(file.stat().st_size for file in model.rglob("*")) + MIB
        listed = python(two, HUB, "cache", "ls", "--revisions", "--format", "json", HF_HUB_CACHE=str(theirs))
        assert REPO in listed
        assert hub.commit in listed
        assert '"main"' in listed
        strict = ("--fail-on-extra-files", "--fail-on-missing-files")
        verified = python(two, HUB, "cache", "verify", REPO, *strict, HF_HUB_CACHE=str(theirs), **online)
        assert "All checksums match" in verified
        blobs = {os.readlink(file).rpartition("/")[2] for file in snapshot.iterdir()}
        asked = len(hub.asked)
        python(two, HUB, "download", REPO, "--quiet", HF_HUB_CACHE=str(theirs), **online)
        again = [request for request in hub.asked[asked:] if "/resolve/" in request.path]
        assert not again, "huggingface_hub finds every file where it looks"
    assert blobs == {file.name for file in (mine / snapshot.parts[-3] / "blobs").iterdir()}, (
        "by its own names"
    )
    assert "Paris" in python(two, ASK, REPO, HF_HUB_CACHE=str(theirs))
