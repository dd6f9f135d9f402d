"""Mistral's own layout, made from a transformers model: the way back, for round trips."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

_NAMES = {
    "model.embed_tokens.weight": "tok_embeddings.weight",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm.weight": "attention_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attention.wq.weight",
    "self_attn.k_proj.weight": "attention.wk.weight",
    "self_attn.v_proj.weight": "attention.wv.weight",
    "self_attn.o_proj.weight": "attention.wo.weight",
    "mlp.gate_proj.weight": "feed_forward.w1.weight",
    "mlp.down_proj.weight": "feed_forward.w2.weight",
    "mlp.up_proj.weight": "feed_forward.w3.weight",
    "block_sparse_moe.gate.weight": "feed_forward.gate.weight",
}


def native_name(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name)
    assert layer, name
    if expert := re.fullmatch(r"block_sparse_moe\.experts\.(\d+)\.(w\d)\.weight", layer[2]):
        return f"layers.{layer[1]}.feed_forward.experts.{expert[1]}.{expert[2]}.weight"
    return f"layers.{layer[1]}.{_NAMES[layer[2]]}"


def native_tensors(tensors: Mapping[str, torch.Tensor], config: Any) -> dict[str, torch.Tensor]:
    """Checkpoint tensors of a Mistral or Mixtral, named and laid out as Mistral does."""
    heads = {"wq": config.num_attention_heads, "wk": config.num_key_value_heads}
    found = {}
    for name, tensor in tensors.items():
        native = native_name(name)
        kind = native.rpartition("attention.")[2].removesuffix(".weight")
        if kind in heads:
            # Row i of a head's first half and row i of its second become neighbours.
            rows = []
            for head in tensor.split(tensor.shape[0] // heads[kind]):
                first, second = head.chunk(2)
                rows += [row for pair in zip(first, second, strict=True) for row in pair]
            tensor = torch.stack(rows)
        found[native] = tensor.clone()
    return found


def params_of(config: Any) -> dict[str, Any]:
    """`params.json` for a configuration."""
    params = {
        "dim": config.hidden_size,
        "n_layers": config.num_hidden_layers,
        "head_dim": config.head_dim or config.hidden_size // config.num_attention_heads,
        "hidden_dim": config.intermediate_size,
        "n_heads": config.num_attention_heads,
        "n_kv_heads": config.num_key_value_heads,
        "norm_eps": config.rms_norm_eps,
        "vocab_size": config.vocab_size,
        "rope_theta": config.rope_parameters["rope_theta"],
    }
    if config.sliding_window is not None:
        params["sliding_window"] = config.sliding_window
    if config.model_type == "mixtral":
        params["moe"] = {
            "num_experts": config.num_local_experts,
            "num_experts_per_tok": config.num_experts_per_tok,
        }
    return params


def write_native(folder: Path, tensors: Mapping[str, torch.Tensor], params: object, form: str) -> Path:
    """A native checkpoint as `single`, `sharded`, `pth` or `pths`."""
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(params))
    names = list(tensors)
    halves = [dict.fromkeys(names[::2]), dict.fromkeys(names[1::2])]
    parts = [{name: tensors[name] for name in half} for half in halves]
    if form == "single":
        save_file(dict(tensors), folder / "consolidated.safetensors")
    elif form == "sharded":
        files = [f"consolidated-{i:05}-of-00002.safetensors" for i in (1, 2)]
        index: dict[str, str] = {}
        for file, part in zip(files, parts, strict=True):
            save_file(part, folder / file)
            index |= dict.fromkeys(part, file)
        (folder / "consolidated.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    elif form == "pth":
        torch.save(dict(tensors), folder / "consolidated.00.pth")
    else:
        for i, part in enumerate(parts):
            torch.save(part, folder / f"consolidated.{i:02}.pth")
    return folder
