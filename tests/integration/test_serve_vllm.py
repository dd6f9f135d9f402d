"""vLLM with the load format `weightshare`: its interface, and a tiny model really served. Skips without vLLM."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.builders_load import flip
from tests.cli.helpers import ok
from tests.integration.asking import serving, text_of
from tests.integration.releases import Published, publish
from tests.integration.running import Running
from tests.integration.test_serve import talker
from weightshare.errors import MissingExtraError, UsageError
from weightshare.run import vllm_plugin, vllm_server

try:
    vllm_server.require()
except MissingExtraError as missing:
    pytest.skip(f"{missing.message} {missing.hint}", allow_module_level=True)

WORDS = ("--engine", "vllm", "--dtype", "fp32", "--", "--enforce-eager", "--max-model-len", "256")
MORE = {"VLLM_CPU_KVCACHE_SPACE": "1"}
WITHIN = 280.0
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("maintainer")
    return publish(home, talker(home / "model"), "--piece-length", "32K")


def test_vllm_has_the_interface_that_the_load_format_is_written_for() -> None:
    from vllm.config.load import LoadConfig
    from vllm.model_executor.model_loader import get_model_loader, register_model_loader
    from vllm.model_executor.model_loader.base_loader import BaseModelLoader

    assert BaseModelLoader.__abstractmethods__ == {"download_model", "load_weights"}
    assert list(inspect.signature(BaseModelLoader.load_weights).parameters) == [
        "self",
        "model",
        "model_config",
    ]
    assert list(inspect.signature(register_model_loader).parameters) == ["load_format"]

    def never(wanted: vllm_plugin.Wanted) -> Any:
        raise AssertionError(wanted)

    vllm_plugin.register(never)
    loader = get_model_loader(LoadConfig(load_format="weightshare", model_loader_extra_config={"x": 1}))
    assert isinstance(loader, BaseModelLoader)

    class Told:
        model = "/m"
        quantization = None

    with pytest.raises(UsageError, match="'x'"):
        loader.load_weights(None, Told())


def test_says_what_transformers_says(published: Published) -> None:
    said = ok(published.home, "run", "acme/m7b", "w7 w9", "--max-new-tokens", "24").split()
    assert len(said) == 24
    with serving(published.home, "acme/m7b", *WORDS, more=MORE, within=WITHIN) as server:
        assert server.listening["engine"] == "vllm"
        assert text_of(server.chat("w7 w9", max_tokens=24, ignore_eos=True)).split() == said
        assert "".join(server.streamed("w7 w9", max_tokens=24, ignore_eos=True)).split() == said
        assert [model["id"] for model in json.loads(server.send("/v1/models")[1])["data"]] == ["acme/m7b@1"]
        assert server.send("/v1/completions", {"model": "other", "prompt": "w7"})[0] == 404


def test_a_corrupted_shard_ends_the_engine_with_its_name(published: Published, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(published.folder, folder)
    shard = sorted(folder.glob("*.safetensors"))[1]
    flip(shard, shard.stat().st_size - 9)
    with Running(published.home, "serve", str(folder), "--port", "0", "--json", *WORDS, more=MORE) as running:
        failure = running.result(4, within=WITHIN)
        assert failure["path"] == shard.name
        assert "listening" not in running.out() + running.err()
