"""A rank's slices of a checkpoint against those that transformers' own tensor parallelism cuts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.builders_load import release_of
from weightshare.errors import UnsupportedModelError
from weightshare.load.loader import state_dict
from weightshare.load.selection import Selection, Split
from weightshare.run.parallel import plan_for, plan_of

RANK, OF = 1, 3

_TINY: dict[str, Any] = {
    # 50 and 101 do not divide by three: the last rank has less.
    **{"vocab_size": 101, "hidden_size": 24, "intermediate_size": 50, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 64},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}
_MODELS: list[tuple[str, str, dict[str, Any]]] = [
    ("LlamaForCausalLM", "LlamaConfig", {"attention_bias": True, "mlp_bias": True}),
    ("LlamaForCausalLM", "LlamaConfig", {"tie_word_embeddings": True}),
    ("MixtralForCausalLM", "MixtralConfig", {"num_local_experts": 4}),
    ("Qwen2ForCausalLM", "Qwen2Config", {}),
    ("Qwen3MoeForCausalLM", "Qwen3MoeConfig", {"num_experts": 4, "moe_intermediate_size": 14}),
    ("Gemma3ForCausalLM", "Gemma3TextConfig", {}),
    ("Phi3ForCausalLM", "Phi3Config", {}),
    (
        "GraniteMoeForCausalLM",
        "GraniteMoeConfig",
        {"num_local_experts": 4},
    ),  # gate and up packed in the file, too
]


_RENAMED = {
    "MixtralForCausalLM": {"block_sparse_moe": "mlp"},
    "GraniteMoeForCausalLM": {
        "input_linear.weight": "experts.gate_up_proj",
        "output_linear.weight": "experts.down_proj",
        "router.layer.weight": "router.weight",
    },
}


def make(folder: Path, name: str, config: str, more: dict[str, Any]) -> None:
    torch.manual_seed(3)
    model = getattr(transformers, name)(getattr(transformers, config)(**_TINY | more))
    for parameter in model.parameters():  # biases are zeros, and norms ones, which any slice equals
        torch.nn.init.normal_(parameter)
    model.save_pretrained(folder)


def stacked(tensors: dict[str, torch.Tensor], experts: int) -> dict[str, torch.Tensor]:
    """As transformers stacks the experts that lie in a checkpoint one by one: gate and up behind each other."""
    found = {name: tensor for name, tensor in tensors.items() if not re.search(r"experts\.\d", name)}
    for kind, gate, up, down in (
        ("block_sparse_moe", "w1", "w3", "w2"),
        ("mlp", "gate_proj", "up_proj", "down_proj"),
    ):
        for layer in range(2):
            place = f"model.layers.{layer}.{kind}.experts"
            if f"{place}.0.{gate}.weight" not in tensors:
                continue
            each = [f"{place}.{expert}" for expert in range(experts)]
            packed = [torch.cat([tensors[f"{e}.{gate}.weight"], tensors[f"{e}.{up}.weight"]]) for e in each]
            found[f"model.layers.{layer}.mlp.experts.gate_up_proj"] = torch.stack(packed)
            found[f"model.layers.{layer}.mlp.experts.down_proj"] = torch.stack(
                [tensors[f"{e}.{down}.weight"] for e in each]
            )
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Each model's folder; what transformers cuts of it for the rank is beside it."""
    found, arguments = [], [str(RANK), str(OF)]
    for name, config, more in _MODELS:
        folder = tmp_path_factory.mktemp(name) / "model"
        make(folder, name, config, more)
        found.append(folder)
        arguments.append(f"{name}={folder}")
    program = Path(__file__).with_name("shards_of_transformers.py")
    subprocess.run([sys.executable, str(program), *arguments], check=True, capture_output=True, timeout=200)
    return found


@pytest.mark.parametrize("number", range(len(_MODELS)), ids=[f"{n}{i}" for i, (n, *_) in enumerate(_MODELS)])
def test_a_rank_gets_what_transformers_would_cut_for_it(
    tmp_path: Path, folders: list[Path], number: int
) -> None:
    name, _, more = _MODELS[number]
    release = release_of(folders[number], tmp_path / "keys", piece_length=16384)
    plan = plan_of(release.verified, release.folder, {})
    expected = torch.load(folders[number].with_name("shards.pt"))
    state = state_dict(
        release.verified,
        release.folder,
        device="cpu",
        layers=release.layers,
        select=Selection(rank=RANK, of=OF, dims=plan),
    )
    found = stacked(state.tensors, 4)
    for old, new in _RENAMED.get(name, {}).items():
        found = {each.replace(old, new): tensor for each, tensor in found.items()}
    if more.get("tie_word_embeddings") or name.startswith("Gemma"):
        expected.pop("lm_head.weight")
    assert found.keys() == expected.keys()
    assert [n for n in found if found[n].shape != expected[n].shape] == []
    assert [n for n in found if not found[n].equal(expected[n])] == []
    whole = sum(path.stat().st_size for path in release.folder.glob("*.safetensors"))
    assert state.tensor_bytes < 0.6 * whole  # and it was split at all


def test_names_without_the_prefix_of_the_base_model_mean_the_same() -> None:
    model_config = transformers.LlamaConfig(**_TINY)
    plan = plan_for(transformers.LlamaForCausalLM, model_config, "acme/m@1")
    for name in ("model.layers.1.mlp.down_proj.weight", "layers.1.mlp.down_proj.weight"):
        assert plan(name) == Split(-1)
    assert plan("model.layers.1.mlp.down_proj.scale") is None
    assert plan("something.else") is None


def test_a_model_without_a_plan_is_refused() -> None:
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    with pytest.raises(UnsupportedModelError, match="no plan to split a BertModel"):
        plan_for(transformers.BertModel, config, "acme/bert@1")
