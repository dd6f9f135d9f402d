"""LoRA adapters: what peft makes of a folder, made of proven tensors; and what their configurations may not ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.builders_load import Release, flip, release_of
from weightshare.errors import CorruptError, LoadError, UnsupportedModelError
from weightshare.load.loader import state_dict
from weightshare.run import adapters, transformers_runner

# peft asks transformers for what it renamed.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

peft: Any = pytest.importorskip("peft")

SIZES: dict[str, Any] = {
    **{"vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2},
}


def base_folder(folder: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES))
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def adapter_folder(folder: Path, base: Path, **more: Any) -> Path:
    """An adapter as peft saves it, with weights that make a difference."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"], "task_type": "CAUSAL_LM"}
    joined = peft.get_peft_model(model, peft.LoraConfig(**{**settings, **more}))
    generator = torch.Generator().manual_seed(5)
    for name, parameter in joined.named_parameters():
        if ".default" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator).to(parameter.dtype) / 4
    joined.save_pretrained(folder)
    return folder


def load(release: Release) -> transformers_runner.Runner:
    return transformers_runner.load(release.verified, release.folder, device="cpu", layers=release.layers)


def attach(base: Release, adapter: Release) -> transformers_runner.Runner:
    return adapters.attach(load(base), adapter.verified, adapter.folder, layers=adapter.layers)


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(torch.arange(3, 40).unsqueeze(0)).logits
    return found


@pytest.fixture
def base(tmp_path: Path) -> Release:
    return release_of(base_folder(tmp_path / "base"), tmp_path / "keys")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"use_rslora": True, "bias": "all", "rank_pattern": {"up_proj": 2}},
        {"use_dora": True},
        {"modules_to_save": ["lm_head"], "layers_to_transform": [1]},
        {"target_modules": r".*\.(k_proj|down_proj)"},
        {"target_modules": "all-linear", "init_lora_weights": "gaussian"},
    ],
    ids=["plain", "rslora", "dora", "saved modules", "pattern", "all"],
)
def test_an_adapter_is_what_peft_makes_of_its_folder(
    base: Release, tmp_path: Path, more: dict[str, Any]
) -> None:
    folder = adapter_folder(tmp_path / "adapter", base.folder, **more)
    release = release_of(folder, tmp_path / "keys")
    state = state_dict(release.verified, folder, device="cpu", layers=release.layers)
    on_disk = load_file(folder / "adapter_model.safetensors")
    assert state.tensors.keys() == on_disk.keys()
    assert all(state.tensors[name].equal(tensor) for name, tensor in on_disk.items())

    plain = load(base)
    before = logits(plain.model)
    dice = torch.random.get_rng_state()
    runner = attach(base, release)
    assert torch.random.get_rng_state().equal(dice)
    reference = peft.PeftModel.from_pretrained(
        transformers.AutoModelForCausalLM.from_pretrained(base.folder), folder
    )
    assert type(runner.model) is type(reference)
    found = logits(runner.model)
    assert found.equal(logits(reference))
    assert not found.equal(before)
    assert not runner.model.training
    assert runner.state.bytes > plain.state.bytes
    assert runner.release == "acme/model@1 on acme/model@1"


def test_the_model_with_an_adapter_answers_with_its_tokenizer(base: Release, tmp_path: Path) -> None:
    from tests.integration.test_run_tiny import words

    folder = adapter_folder(tmp_path / "adapter", base.folder)
    words(folder, chat=True)
    with attach(base, release_of(folder, tmp_path / "keys")) as runner:
        assert runner.chat
        answer = runner.generate("w3", max_new_tokens=5)
        assert 0 < answer.tokens <= 5
        reference = peft.PeftModel.from_pretrained(
            transformers.AutoModelForCausalLM.from_pretrained(base.folder), folder
        )
        expected = reference.generate(input_ids=torch.tensor([[5, 3, 6]]), max_new_tokens=5, do_sample=False)
        assert answer.text == " ".join(f"w{i}" for i in expected[0, 3:].tolist() if i != 2)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_changed_adapter_is_refused_and_the_base_let_go(base: Release, tmp_path: Path, name: str) -> None:
    folder = adapter_folder(tmp_path / "adapter", base.folder)
    release = release_of(folder, tmp_path / "keys")
    flip(folder / name, 600)
    runner = load(base)
    with pytest.raises(CorruptError, match=name):
        adapters.attach(runner, release.verified, folder, layers=release.layers)
    assert runner.model is None


def changed(folder: Path, **more: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, "megatron_config"),
        ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING"),
        ({"peft_type": None}, "None"),
        ({"use_qalora": True}, "use_qalora"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa"),
        ({"init_lora_weights": "olora"}, "changes the base"),
        ({"arrow_config": {"top_k": 2}}, "arrow_config"),
        ({"from_the_future": [1]}, "from_the_future"),
        ({"r": 0}, "peft"),
    ],
)
def test_what_an_adapter_may_not_ask_for_is_named(
    base: Release, tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    folder = adapter_folder(tmp_path / "adapter", base.folder)
    changed(folder, **change)
    with pytest.raises(LoadError, match=what):
        attach(base, release_of(folder, tmp_path / "keys"))


def test_an_adapter_for_another_model_is_refused(base: Release, tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "adapter", base.folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    name = next(iter(tensors))
    save_file(
        {**tensors, name.replace("layers.0", "layers.7"): tensors[name].clone()},
        folder / "adapter_model.safetensors",
    )
    with pytest.raises(UnsupportedModelError, match=r"layers\.7"):
        attach(base, release_of(folder, tmp_path / "keys"))
    save_file(
        {key: tensor for key, tensor in tensors.items() if key != name}, folder / "adapter_model.safetensors"
    )
    with pytest.raises(UnsupportedModelError, match="lacks"):
        attach(base, release_of(folder, tmp_path / "keys"))
    save_file({**tensors, name: torch.zeros(4, 5)}, folder / "adapter_model.safetensors")
    with pytest.raises(LoadError, match="cannot put"):
        attach(base, release_of(folder, tmp_path / "keys"))
    save_file(tensors, folder / "adapter_model.safetensors")
    changed(folder, target_modules=["nothing_of_the_kind"])
    with pytest.raises(LoadError, match="nothing_of_the_kind"):
        attach(base, release_of(folder, tmp_path / "keys"))


def test_an_adapter_alone_is_no_model(base: Release, tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "adapter", base.folder)
    with pytest.raises(UnsupportedModelError, match="adapter") as caught:
        load(release_of(folder, tmp_path / "keys"))
    assert "--base" in caught.value.hint
