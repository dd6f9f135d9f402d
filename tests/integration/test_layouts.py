"""Releases of every layout through the public verbs and the command: what loads, and what is said of what does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import weightshare
from tests.builders_load import flip
from tests.builders_native import native_tensors, params_of, write_native
from tests.cli.helpers import result
from tests.integration.releases import publish
from tests.integration.test_run_adapters import adapter_folder, base_folder, logits
from tests.integration.test_run_tiny import words
from weightshare.content.home import Home
from weightshare.errors import CheckpointError, CorruptError, PickleError, ReleaseNotFoundError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def home_of(folder: Path) -> Home:
    """The home that the command uses when the user's is `folder`."""
    return Home(folder / "weightshare")


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A diffusers folder: two text encoders with equal tensor names, a sharded unet, another precision beside it."""
    folder = tmp_path / "pipeline"
    generator = torch.Generator().manual_seed(2)

    def some(name: str) -> torch.Tensor:
        return torch.randn(len(name), 40, generator=generator)

    for encoder in ("text_encoder", "text_encoder_2"):
        (folder / encoder).mkdir(parents=True)
        save_file({"embed.weight": some(encoder)}, folder / encoder / "model.safetensors")
    unet = folder / "unet"
    unet.mkdir()
    index = {}
    for i in (1, 2):
        file = f"diffusion_pytorch_model-0000{i}-of-00002.safetensors"
        save_file({f"block.{i}": some(file)}, unet / file)
        index[f"block.{i}"] = file
    (unet / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    save_file({"block.1": some("x").half()}, unet / "diffusion_pytorch_model.fp16.safetensors")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    return folder


class TestPipelines:
    def test_each_model_has_its_own_proven_tensors(self, pipeline: Path, tmp_path: Path) -> None:
        publish(tmp_path, pipeline)
        release = weightshare.open("acme/m7b", home=home_of(tmp_path))
        assert release.components == ("text_encoder", "text_encoder_2", "unet")
        for encoder in ("text_encoder", "text_encoder_2"):
            expected = load_file(pipeline / encoder / "model.safetensors")
            found = release.state_dict("cpu", component=encoder)
            assert found.keys() == expected.keys()
            assert all(found[name].equal(tensor) for name, tensor in expected.items())
        unet = release.state_dict("cpu", component="unet")
        assert unet.keys() == {"block.1", "block.2"}
        assert {tensor.dtype for tensor in unet.values()} == {torch.float32}

    def test_what_is_wrong_in_one_model_does_not_keep_the_others_back(
        self, pipeline: Path, tmp_path: Path
    ) -> None:
        publish(tmp_path, pipeline)
        shard = pipeline / "unet" / "diffusion_pytorch_model-00002-of-00002.safetensors"
        flip(shard, shard.stat().st_size - 1)
        release = weightshare.open("acme/m7b", home=home_of(tmp_path))
        assert release.state_dict("cpu", component="text_encoder")
        with pytest.raises(CorruptError, match=r"unet/diffusion_pytorch_model-00002"):
            release.state_dict("cpu", component="unet")

    def test_an_index_that_names_what_is_not_there(self, pipeline: Path, tmp_path: Path) -> None:
        path = pipeline / "unet" / "diffusion_pytorch_model.safetensors.index.json"
        table = json.loads(path.read_text())
        table["weight_map"]["block.3"] = table["weight_map"]["block.1"]
        path.write_text(json.dumps(table))
        publish(tmp_path, pipeline)
        with pytest.raises(CheckpointError, match=r"block\.3"):
            weightshare.open("acme/m7b", home=home_of(tmp_path)).state_dict("cpu", component="unet")

    def test_running_one_says_what_it_is_and_how_to_get_at_it(self, pipeline: Path, tmp_path: Path) -> None:
        publish(tmp_path, pipeline)
        error = result(tmp_path, "run", "acme/m7b", "hello", "--device", "cpu", status=7)
        assert "pipeline of several models" in error["message"]
        assert "state_dict(component=" in error["hint"]
        assert "text_encoder_2" in error["hint"]
        release = weightshare.open("acme/m7b", home=home_of(tmp_path))
        with pytest.raises(UsageError, match="text_encoder, text_encoder_2, unet"):
            release.state_dict("cpu", component="vae")


class TestAdapters:
    @pytest.fixture
    def folders(self, tmp_path: Path) -> tuple[Path, Path]:
        base = base_folder(tmp_path / "base")
        words(base)
        adapter = adapter_folder(tmp_path / "adapter", base)
        return base, adapter

    @staticmethod
    def say(adapter: Path, name: str | None) -> None:
        path = adapter / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": name}))

    def test_the_base_is_the_one_it_names_or_the_one_that_is_given(
        self, folders: tuple[Path, Path], tmp_path: Path
    ) -> None:
        peft: Any = pytest.importorskip("peft")
        base, adapter = folders
        self.say(adapter, "acme/base")
        publish(tmp_path, base, name="acme/base")
        publish(tmp_path, adapter, name="acme/lora")
        reference = peft.PeftModel.from_pretrained(
            transformers.AutoModelForCausalLM.from_pretrained(base), adapter
        )
        home = home_of(tmp_path)
        for named in (None, "acme/base", base):
            model, tokenizer = weightshare.from_pretrained("acme/lora", base=named, home=home, device="cpu")
            assert logits(model).equal(logits(reference))
            assert tokenizer is not None
        ran = result(tmp_path, "run", "acme/lora", "w3 w4", "--device", "cpu", "--max-new-tokens", "3")
        assert ran["tokens"] > 0
        assert any("acme/base" in warning for warning in ran["warnings"])

    @pytest.mark.parametrize(
        ("named", "what"),
        [
            ("acme/other", "no such release is here"),
            ("/etc", "does not say by name"),
            ("../../base", "does not say by name"),
            (None, "does not say by name"),
        ],
    )
    def test_a_base_that_is_not_here_is_asked_for(
        self, folders: tuple[Path, Path], tmp_path: Path, named: str | None, what: str
    ) -> None:
        base, adapter = folders
        self.say(adapter, named)
        publish(tmp_path, base, name="acme/base")
        publish(tmp_path, adapter, name="acme/lora")
        with pytest.raises(ReleaseNotFoundError, match=what) as caught:
            weightshare.from_pretrained("acme/lora", home=home_of(tmp_path), device="cpu")
        assert "--base" in caught.value.hint

    def test_a_base_for_what_is_no_adapter_is_refused(
        self, folders: tuple[Path, Path], tmp_path: Path
    ) -> None:
        publish(tmp_path, folders[0], name="acme/base")
        with pytest.raises(UsageError, match="needs no base"):
            weightshare.from_pretrained("acme/base", base="acme/base", home=home_of(tmp_path))


def test_a_native_release_in_pickles_runs_on_request(tmp_path: Path) -> None:
    config = transformers.MistralConfig(
        **{"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1},
        **{"num_attention_heads": 4, "num_key_value_heads": 2},
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model: Any = transformers.MistralForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "plain")
    model = transformers.MistralForCausalLM.from_pretrained(tmp_path / "plain")
    tensors = native_tensors(load_file(tmp_path / "plain" / "model.safetensors"), config)
    folder = write_native(tmp_path / "model", tensors, params_of(config), "pth")
    publish(tmp_path, folder, "--allow-pickle")
    home = home_of(tmp_path)
    found, tokenizer = weightshare.from_pretrained("acme/m7b", home=home, device="cpu", allow_pickle=True)
    assert tokenizer is None
    with torch.inference_mode():
        tokens = torch.arange(20).unsqueeze(0)
        assert found(tokens).logits.equal(model(tokens).logits)
    state = weightshare.open("acme/m7b", home=home).state_dict("cpu", allow_pickle=True)
    assert all(state[name].equal(tensor) for name, tensor in tensors.items())
    with pytest.raises(PickleError):
        weightshare.open("acme/m7b", home=home).state_dict("cpu")
    error = result(tmp_path, "run", "acme/m7b", "hello", "--device", "cpu", status=8)
    assert "--allow-pickle" in error["hint"]
    error = result(tmp_path, "run", "acme/m7b", "hello", "--device", "cpu", "--allow-pickle", status=7)
    assert "tokenizer" in error["message"]
    shutil.rmtree(folder)
