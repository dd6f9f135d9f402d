"""Names of real models' tensors, in the order in which the models are built."""

from __future__ import annotations

import random

import pytest

from weightshare.load.tensor_order import place_of

LLAMA = [
    "model.embed_tokens.weight",
    "model.layers.0.input_layernorm.weight",
    "model.layers.2.mlp.down_proj.weight",
    "model.layers.10.mlp.down_proj.weight",
    "model.norm.weight",
    "lm_head.weight",
    "model.rotary_emb.inv_freq",
]
MISTRAL = [
    "tok_embeddings.weight",
    "layers.0.attention.wq.weight",
    "layers.31.feed_forward.w1.weight",
    "norm.weight",
    "output.weight",
]
GPT2 = ["wte.weight", "h.0.ln_1.weight", "h.9.attn.c_attn.weight", "h.11.mlp.c_fc.bias", "ln_f.bias"]
NEOX = [
    "gpt_neox.embed_in.weight",
    "gpt_neox.layers.0.attention.dense.weight",
    "gpt_neox.layers.5.post_attention_layernorm.bias",
    "gpt_neox.final_layer_norm.weight",
    "embed_out.weight",
]
MIXTRAL = [
    "model.embed_tokens.weight",
    "model.layers.3.block_sparse_moe.experts.7.w1.weight",
    "model.layers.4.block_sparse_moe.experts.0.w1.weight",
    "model.norm.weight",
    "lm_head.weight",
]
BERT = [
    "bert.embeddings.LayerNorm.weight",
    "bert.encoder.layer.0.attention.output.LayerNorm.weight",
    "bert.encoder.layer.11.output.dense.weight",
    "classifier.weight",
    "bert.pooler.dense.weight",
]


@pytest.mark.parametrize("names", [LLAMA, MISTRAL, GPT2, NEOX, MIXTRAL, BERT])
def test_a_model_is_built_from_its_embeddings_up(names: list[str]) -> None:
    shuffled = random.Random(1).sample(names, len(names))
    assert sorted(shuffled, key=place_of) == names
    assert len({place_of(name) for name in names}) == len(names)


def test_stacks_beside_each_other_advance_together() -> None:
    names = ["encoder.block.0.w", "decoder.block.0.w", "encoder.block.1.w", "decoder.block.1.w"]
    assert [place_of(name) for name in names] == [(1, 0), (1, 0), (1, 1), (1, 1)]


@pytest.mark.parametrize("name", ["weight", "", "norm1.weight", "w.²", "x" * 10_000, "9" * 10_000])
def test_any_name_has_a_place(name: str) -> None:
    group, number = place_of(name)
    assert 0 <= group <= 4
    assert number >= 0
