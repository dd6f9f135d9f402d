"""The architectures people publish most: tensors as safetensors reads them, logits as transformers has them.

Bit for bit. Models are tiny and random: what can go wrong (tying, stacked experts, rows that are split, buffers that no
file holds, dtypes, shards) does not depend on size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests.builders_load import Release, release_of
from weightshare.load.loader import Mode, state_dict
from weightshare.run import transformers_runner
from weightshare.run.building import build
from weightshare.run.layouts import blueprint_of

SIZES: dict[str, Any] = {
    **{"vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3},
    **{"num_attention_heads": 4, "max_position_embeddings": 64, "pad_token_id": 0},
}
HEADS: dict[str, Any] = {"num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}

MAKERS: Mapping[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, **HEADS)),
    "llama tied": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**SIZES, **HEADS, tie_word_embeddings=True)
    ),
    "mistral": lambda: transformers.MistralForCausalLM(
        transformers.MistralConfig(**SIZES, **HEADS, head_dim=12, sliding_window=16)
    ),
    "mixtral": lambda: transformers.MixtralForCausalLM(
        transformers.MixtralConfig(**SIZES, **HEADS, num_local_experts=3, num_experts_per_tok=2)
    ),
    "qwen2": lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SIZES, **HEADS)),
    "qwen3": lambda: transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(**SIZES, **HEADS, head_dim=16, tie_word_embeddings=True)
    ),
    "qwen3 moe": lambda: transformers.Qwen3MoeForCausalLM(
        transformers.Qwen3MoeConfig(
            **SIZES, **HEADS, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24
        )
    ),
    "gemma2": lambda: transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(**SIZES, **HEADS, head_dim=16, sliding_window=16)
    ),
    "gemma3": lambda: transformers.Gemma3ForCausalLM(
        transformers.Gemma3TextConfig(**SIZES, **HEADS, head_dim=16, sliding_window=16)
    ),
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**SIZES)),
    "bert for classes": lambda: transformers.BertForSequenceClassification(
        transformers.BertConfig(**SIZES, num_labels=5)
    ),
    "roberta": lambda: transformers.RobertaModel(transformers.RobertaConfig(**SIZES, type_vocab_size=1)),
    "t5": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=128, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0
        )
    ),
}
STACKED = {"mixtral": ".experts.", "qwen3 moe": ".experts."}
"""What transformers makes new tensors of, so that those cannot be ours."""

FORMS: Mapping[str, tuple[torch.dtype, bool, Mode]] = {
    "fp32, one file, mapped": (torch.float32, False, "mapped"),
    "bf16, shards, mapped": (torch.bfloat16, True, "mapped"),
    "bf16, one file, private": (torch.bfloat16, False, "private"),
    "fp16, shards, private": (torch.float16, True, "private"),
}


def saved(folder: Path, kind: str, dtype: torch.dtype, *, sharded: bool) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = MAKERS[kind]()
    model.to(dtype).save_pretrained(folder, max_shard_size=20_000 if sharded else "1GB")
    assert (len(list(folder.glob("*.safetensors"))) > 1) == sharded
    return folder


def outputs(model: Any) -> list[torch.Tensor]:
    """Everything a model says of a text, with and without a cache of what went before."""
    tokens = torch.arange(3, 43).unsqueeze(0)
    more = {"decoder_input_ids": tokens[:, :9]} if model.config.is_encoder_decoder else {}
    with torch.inference_mode():
        found = model(tokens, output_hidden_states=True, **more)
    flat = [value for value in found.values() if isinstance(value, torch.Tensor)]
    nested = [value for values in found.values() if isinstance(values, tuple) for value in values]
    return flat + [value for value in nested if isinstance(value, torch.Tensor)]


def on_disk(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for path in folder.glob("*.safetensors"):
        tensors |= load_file(path)
    return tensors


def run(release: Release, mode: Mode) -> transformers_runner.Runner:
    return transformers_runner.load(
        release.verified, release.folder, device="cpu", mode=mode, layers=release.layers
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", MAKERS)
def test_tensors_and_outputs_are_those_of_the_reference(tmp_path: Path, kind: str, form: str) -> None:
    dtype, sharded, mode = FORMS[form]
    folder = saved(tmp_path / "model", kind, dtype, sharded=sharded)
    release = release_of(folder, tmp_path / "keys")

    expected = on_disk(folder)
    state = state_dict(release.verified, folder, device="cpu", mode=mode, layers=release.layers)
    assert state.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert state.tensors[name].dtype == tensor.dtype
        assert state.tensors[name].equal(tensor), name

    runner = run(release, mode)
    reference: Any = type(runner.model).from_pretrained(folder)
    assert runner.notes == ()
    assert runner.model.dtype == reference.dtype == dtype
    assert not runner.model.training
    found, wanted = outputs(runner.model), outputs(reference)
    assert len(found) == len(wanted) > 1
    assert all(a.equal(b) for a, b in zip(found, wanted, strict=True))
    theirs = dict(reference.named_parameters())
    ours = dict(runner.model.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    held = dict(reference.named_buffers())
    assert held.keys() == dict(runner.model.named_buffers()).keys()
    assert all(buffer.equal(held[name]) for name, buffer in runner.model.named_buffers())


@pytest.mark.parametrize("kind", MAKERS)
def test_parameters_are_the_proven_memory_itself(tmp_path: Path, kind: str) -> None:
    folder = saved(tmp_path / "model", kind, torch.bfloat16, sharded=True)
    release = release_of(folder, tmp_path / "keys")
    state = state_dict(release.verified, folder, device="cpu", layers=release.layers)
    ours = {tensor.data_ptr() for tensor in state.tensors.values()}
    blueprint = blueprint_of(release.verified.manifest, folder, {})
    model, notes = build(blueprint, state.tensors, "cpu", "acme/m@1")
    assert notes == []
    copied = {name for name, held in model.named_parameters() if held.data_ptr() not in ours}
    stacked = STACKED.get(kind)
    assert copied == {name for name, _ in model.named_parameters() if stacked and stacked in name}
    assert bool(copied) == bool(stacked)
    assert not any(buffer.is_meta for buffer in model.buffers())


@pytest.mark.parametrize("kind", ["llama tied", "qwen3", "gemma2", "gemma3", "t5"])
def test_tied_weights_are_one_tensor(tmp_path: Path, kind: str) -> None:
    folder = saved(tmp_path / "model", kind, torch.bfloat16, sharded=False)
    model = run(release_of(folder, tmp_path / "keys"), "mapped").model
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    assert head is embedding
    assert "lm_head.weight" not in on_disk(folder)


@pytest.mark.parametrize("kind", ["bert", "roberta", "bert for classes"])
def test_encoders_come_without_a_text_head(tmp_path: Path, kind: str) -> None:
    folder = saved(tmp_path / "model", kind, torch.float32, sharded=False)
    runner = run(release_of(folder, tmp_path / "keys"), "mapped")
    assert type(runner.model) is type(MAKERS[kind]())
    assert not runner.model.can_generate()
    assert not runner.chat
