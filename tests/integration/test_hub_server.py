"""huggingface_hub, unmodified, takes the stand-in for the Hub for the Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_server import serve

CLIENT = """
import json, sys
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError
api = HfApi()
info = api.model_info("org/model", files_metadata=True)
found = {"snapshot": snapshot_download("org/model"), "sha": info.sha, "licence": info.card_data.license}
found["checked"] = api.verify_repo_checksums("org/model").checked_count
found["lfs"] = {s.rfilename: s.lfs.sha256 for s in info.siblings if s.lfs}
found["paths"] = [p.path for p in api.get_paths_info("org/model", ["sub/x y.json", "none"], expand=True)]
for repo, error in (("org/model", RemoteEntryNotFoundError), ("org/other", RepositoryNotFoundError)):
    try:
        api.hf_hub_download(repo, "none")
    except error:
        pass
print(json.dumps(found))
"""


@pytest.mark.parametrize("gated", [False, True])
def test_huggingface_hub_downloads_and_verifies(tmp_path: Path, gated: bool) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(os.urandom(300_000))
    (folder / "sub" / "x y.json").write_text("{}")
    (folder / "README.md").write_text("---\nlicense: mit\n---\nhello\n")
    token = "hf_secret" if gated else None
    with serve(folder, "org/model", token=token, cached=gated) as hub:
        env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
        env |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_TOKEN": token or ""}
        ran = subprocess.run(
            [sys.executable, "-c", CLIENT], env=env, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        assert not any(asked.authorization for asked in hub.asked if asked.at == "store")
        assert hub.count("store") == 1
    found = json.loads(ran.stdout)
    assert found["sha"] == hub.commit
    assert found["licence"] == "mit"
    assert found["checked"] == 3
    assert found["lfs"] == {"model.safetensors": hub.blobs["model.safetensors"].sha256}
    assert found["paths"] == ["sub/x y.json"]
    for path, blob in hub.blobs.items():
        assert (Path(found["snapshot"]) / path).read_bytes() == blob.file.read_bytes()
