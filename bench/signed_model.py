"""A checkpoint of random bytes with a signed manifest, made once and opened again by each process of a benchmark.

The checkpoint is a Llama of tensors of bfloat16, whose names, shapes and config transformers knows, so that its own
loading can be measured beside ours. How many layers it has follows from the bytes wanted.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.builders_load import Release, release_of
from weightshare.trust.gate import verify
from weightshare.trust.keys import FileSigner
from weightshare.trust.pins import Pin
from weightshare.trust.publishers import KnownPublishers
from weightshare.units import MIB

PIECE = 4 * MIB

_HIDDEN, _INNER, _VOCABULARY, _HEADS, _GROUPS = 2048, 5632, 16384, 16, 4
_PREFIX = "model.layers.{}."


def make(work: Path, size: int, shards: int) -> None:
    """Write a checkpoint of about `size` bytes under `work`, with its manifest, key and piece layers."""
    folder = work / "model"
    folder.mkdir()
    tensors = list(_tensors(size))
    total = sum(_bytes(shape) for _, shape in tensors)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        portion: dict[str, tuple[int, ...]] = {}
        goal, filled = total // shards, 0
        while tensors and (filled < goal or number == shards - 1):
            tensor, shape = tensors.pop(0)
            portion[tensor] = shape
            filled += _bytes(shape)
        weight_map |= dict.fromkeys(portion, name)
        _write(folder / name, portion)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(_config(weight_map)))
    release = release_of(folder, work / "keys", piece_length=PIECE)
    (work / "envelope").write_bytes(release.verified.envelope)
    layers = {root.hex(): layer.hex() for root, layer in release.layers.items()}
    (work / "layers.json").write_text(json.dumps(layers))


def read(work: Path) -> Release:
    """The release made under `work`, its signature checked again."""
    key = FileSigner.load(work / "keys" / "key").public_key
    known = KnownPublishers(()).add(Pin("acme", key.fingerprint, key))
    layers = json.loads((work / "layers.json").read_text())
    return Release(
        work / "model",
        verify((work / "envelope").read_bytes(), known),
        {bytes.fromhex(root): bytes.fromhex(layer) for root, layer in layers.items()},
    )


def _tensors(size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    layer: Mapping[str, tuple[int, ...]] = {
        "input_layernorm.weight": (_HIDDEN,),
        "mlp.down_proj.weight": (_HIDDEN, _INNER),
        "mlp.gate_proj.weight": (_INNER, _HIDDEN),
        "mlp.up_proj.weight": (_INNER, _HIDDEN),
        "post_attention_layernorm.weight": (_HIDDEN,),
        "self_attn.k_proj.weight": (_HIDDEN * _GROUPS // _HEADS, _HIDDEN),
        "self_attn.o_proj.weight": (_HIDDEN, _HIDDEN),
        "self_attn.q_proj.weight": (_HIDDEN, _HIDDEN),
        "self_attn.v_proj.weight": (_HIDDEN * _GROUPS // _HEADS, _HIDDEN),
    }
    yield "model.embed_tokens.weight", (_VOCABULARY, _HIDDEN)
    each = sum(map(_bytes, layer.values()))
    outside = 2 * _bytes((_VOCABULARY, _HIDDEN))
    for number in range(max(1, round((size - outside) / each))):
        for name, shape in layer.items():
            yield _PREFIX.format(number) + name, shape
    yield "model.norm.weight", (_HIDDEN,)
    yield "lm_head.weight", (_VOCABULARY, _HIDDEN)


def _bytes(shape: tuple[int, ...]) -> int:
    items = 1
    for length in shape:
        items *= length
    return 2 * items


def _write(path: Path, tensors: Mapping[str, tuple[int, ...]]) -> None:
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        begin, end = end, end + _bytes(shape)
        table[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps(table).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        left = end
        while left:
            left -= file.write(os.urandom(min(left, 8 * MIB)))


def _config(weight_map: Mapping[str, str]) -> dict[str, object]:
    numbers = {int(name.split(".")[2]) for name in weight_map if name.startswith("model.layers.")}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": _HIDDEN,
        "intermediate_size": _INNER,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _GROUPS,
        "num_hidden_layers": len(numbers),
        "vocab_size": _VOCABULARY,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "dtype": "bfloat16",
    }
