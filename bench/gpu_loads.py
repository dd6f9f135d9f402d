"""Loads of the benchmark's checkpoint to the GPU, ours and others', all timed from call to tensors that can be used."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.gpu_checkpoint import chill, prove, shards, total, verified, warm

DEVICE = "cuda:0"


def cold_and_warm(folder: Path, load: Callable[[Path], float], runs: int) -> dict[str, Any]:
    """Bytes a second: the process's first load, the median of `runs` more from the page cache, and one cold."""
    torch.empty(1, device=DEVICE)
    warm(folder)
    rates = {"first": load(folder)}
    each = []
    for _ in range(runs):
        warm(folder)  # some drop what they have read
        each.append(load(folder))
    rates["warm"] = statistics.median(each)
    if chill(folder):
        rates["cold"] = load(folder)
    rounded = {name: round(rate) for name, rate in rates.items()}
    return {"bytes_per_second": rounded, "all_runs": [round(rate) for rate in each]}


def timed(load: Callable[[Path], dict[str, torch.Tensor]]) -> Callable[[Path], float]:
    """The same load, as bytes a second; the device's memory is given back before, so that all must ask for it."""

    def run(folder: Path) -> float:
        torch.cuda.empty_cache()
        torch.cuda.synchronize()
        began = time.perf_counter()
        tensors = load(folder)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        loaded = sum(tensor.nbytes for tensor in tensors.values())
        if loaded < 0.99 * total(folder) or not all(tensor.is_cuda for tensor in tensors.values()):
            raise AssertionError(f"{loaded} bytes are on the device, of {total(folder)}")
        del tensors
        return total(folder) / seconds

    return run


def ours(folder: Path, mode: str = "cuda") -> dict[str, torch.Tensor]:
    """Proven, in one of our modes."""
    from weightshare.load.loader import state_dict

    release, layers = verified(folder)
    state = state_dict(release, folder, device=DEVICE, mode=mode, layers=layers)  # type: ignore[arg-type]
    if state.mode != mode:
        raise AssertionError(f"the mode was {state.mode}")
    return state.tensors


def by_safetensors(folder: Path) -> dict[str, torch.Tensor]:
    """One `load_file` after the other."""
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    for path in shards(folder):
        tensors |= load_file(path, device=DEVICE)
    return tensors


def by_fastsafetensors(folder: Path) -> dict[str, torch.Tensor]:
    """All shards at once, without GPUDirect storage."""
    from fastsafetensors import fastsafe_open

    names = [str(path) for path in shards(folder)]
    with fastsafe_open(names, device=DEVICE, nogds=True) as opened:
        return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - it is no mapping


def by_instanttensor(folder: Path) -> dict[str, torch.Tensor]:
    """All shards at once."""
    from instanttensor import safe_open

    with safe_open([str(path) for path in shards(folder)], framework="pt", device=0) as opened:
        return dict(opened.tensors())


LOADS: dict[str, Callable[[Path], float]] = {
    "ours": timed(ours),
    "private": timed(lambda folder: ours(folder, "private")),
    "safetensors": timed(by_safetensors),
    "fastsafetensors": timed(by_fastsafetensors),
    "instanttensor": timed(by_instanttensor),
}


def storage(folder: Path) -> dict[str, Any]:
    """A small random Llama through our loader and transformers: whose storage, and are the logits its own."""
    import transformers

    from weightshare.load.loader import state_dict
    from weightshare.run.building import Blueprint, build

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=8,
        num_attention_heads=16,
        vocab_size=32000,
    )
    place = folder / "llama"
    place.mkdir()
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(place)
    prove(place)
    release, layers = verified(place)
    state = state_dict(release, place, device=DEVICE, mode="cuda", layers=layers)
    config = transformers.AutoConfig.from_pretrained(place)
    blueprint = Blueprint(transformers.LlamaForCausalLM, config, None, None)
    made, _ = build(blueprint, state.tensors, DEVICE, "bench")
    spans = {
        (tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
        for tensor in state.tensors.values()
    }
    kept = [
        any(start <= parameter.data_ptr() < start + size for start, size in spans)
        for parameter in made.parameters()
    ]
    theirs = transformers.LlamaForCausalLM.from_pretrained(place, dtype=torch.bfloat16).to(DEVICE)
    tokens = torch.arange(64, device=DEVICE)[None]
    with torch.inference_mode():
        a, b = made(tokens).logits, theirs(tokens).logits
    return {
        "parameters": len(kept),
        "in_our_storage": sum(kept),
        "buffers_on_device": all(buffer.is_cuda for buffer in made.buffers()),
        "logits_equal": bool(torch.equal(a, b)),
        "logits_differ_at_most": float((a - b).abs().max()),
    }
