"""What the environment says of the Hub: the same variables and precedence as huggingface_hub's, read at call time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from weightshare.errors import UsageError
from weightshare.hub.settings import PUBLIC_ENDPOINT, HubSettings


@pytest.mark.parametrize(
    ("env", "cache"),
    [
        ({}, "/home/ann/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x", "HF_HOME": "/h"}, "/h/hub"),
        ({"HF_HOME": "~/models"}, "/home/ann/models/hub"),
        ({"HF_HOME": "/h", "HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
        ({"HF_HOME": "/h", "HUGGINGFACE_HUB_CACHE": "/old", "HF_HUB_CACHE": "/c"}, "/c"),
        ({"HF_HUB_CACHE": "$DATA/${SUB}/hub", "DATA": "/data", "SUB": "s"}, "/data/s/hub"),
        ({"HF_HUB_CACHE": ""}, "/home/ann/.cache/huggingface/hub"),
    ],
)
def test_the_cache_lies_where_the_variables_say(env: dict[str, str], cache: str) -> None:
    assert HubSettings.from_environment({"HOME": "/home/ann", **env}).cache == Path(cache)


def test_it_lies_where_huggingface_hub_itself_looks(tmp_path: Path) -> None:
    code = (
        "import json, huggingface_hub.constants as c; from weightshare.hub.settings import HubSettings as S;"
        "s = S.from_environment();"
        "print(json.dumps([[str(s.cache), s.endpoint, s.offline], [c.HF_HUB_CACHE, c.ENDPOINT, c.HF_HUB_OFFLINE]]))"
    )
    env = {**os.environ, "HF_HOME": "$BASE/hf", "BASE": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9/"}
    env |= {"HF_HUB_OFFLINE": "on"}
    ours, theirs = json.loads(subprocess.check_output([sys.executable, "-c", code], env=env, timeout=60))
    assert ours == theirs


def test_the_endpoint_is_the_public_one_or_the_one_named() -> None:
    assert HubSettings.from_environment({"HOME": "/h"}).endpoint == PUBLIC_ENDPOINT
    found = HubSettings.from_environment({"HOME": "/h", "HF_ENDPOINT": "http://mirror.example:8080/hf/"})
    assert (found.endpoint, found.host) == ("http://mirror.example:8080/hf", "mirror.example")
    url = found.resolve_url("acme/m7b", "a/b", "sub dir/x?.json")
    assert url == "http://mirror.example:8080/hf/acme/m7b/resolve/a%2Fb/sub%20dir/x%3F.json"


@pytest.mark.parametrize(
    "text", ["huggingface.co", "ftp://x", "https://", "https://a:b@x", "https://x/?q", "https://x y"]
)
def test_an_endpoint_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        HubSettings.from_environment({"HF_ENDPOINT": text})


def test_the_token_comes_from_the_variable_or_the_file(tmp_path: Path) -> None:
    base = {"HF_HOME": str(tmp_path)}
    assert HubSettings.from_environment(base).token is None
    (tmp_path / "token").write_text("hf_file\n")
    assert HubSettings.from_environment(base).token == "hf_file"
    found = HubSettings.from_environment({**base, "HF_TOKEN": " hf_said\r\n"})
    assert found.token == "hf_said"
    assert "hf_said" not in repr(found)
    other = tmp_path / "other"
    other.write_text("hf_other")
    assert HubSettings.from_environment({**base, "HF_TOKEN_PATH": str(other)}).token == "hf_other"
    assert HubSettings.from_environment({**base, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}).token is None
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    assert HubSettings.from_environment(base).token is None


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_offline_is_honoured(value: str, offline: bool) -> None:
    assert HubSettings.from_environment({"HF_HUB_OFFLINE": value}).offline is offline
    assert HubSettings.from_environment({"TRANSFORMERS_OFFLINE": value}).offline is offline


def test_a_repository_has_its_folder_in_the_cache() -> None:
    found = HubSettings.from_environment({"HF_HUB_CACHE": "/c"})
    assert found.repository("acme/m7b") == Path("/c/models--acme--m7b")
    assert found.offline_too().offline
