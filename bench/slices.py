"""How many bytes the ranks of tensor parallelism read together: arithmetic over the shapes of known models.

No model and no file is needed, and no clock: for each rank the pieces are counted that hold a header or something of
its slices, as `weightshare.load.selection` counts them, over the bytes of the checkpoint. 1.0 would be every byte once.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from bench.harness import print_table, publish
from weightshare.content.safetensors_header import TensorInfo
from weightshare.load.selection import Selection, pieces_of
from weightshare.units import KIB, MIB

RANKS = (2, 4, 8)
PIECES = (16 * KIB, MIB, 4 * MIB, 16 * MIB)
HEADER = 64 * KIB
DIMS = {
    "*.o_proj.weight": 1,
    "*.down_proj.weight": 1,
    "*_proj.weight": 0,
    "model.embed_tokens.weight": 0,
    "lm_head.weight": 0,
}


@dataclass(frozen=True)
class Shape:
    """A Llama's sizes, all in items."""

    hidden: int
    inner: int
    layers: int
    keys: int
    words: int


SHAPES = {
    "7B": Shape(4096, 11008, 32, 4096, 32000),
    "8B": Shape(4096, 14336, 32, 1024, 128256),
    "70B": Shape(8192, 28672, 80, 1024, 128256),
}


def tensors(shape: Shape) -> list[TensorInfo]:
    """The tensors of a model in bf16, one behind the other as in one file."""
    h, i, k = shape.hidden, shape.inner, shape.keys
    named = [("model.embed_tokens.weight", (shape.words, h))]
    for layer in range(shape.layers):
        place = f"model.layers.{layer}"
        attention = {"q_proj": (h, h), "k_proj": (k, h), "v_proj": (k, h), "o_proj": (h, h)}
        mlp = {"gate_proj": (i, h), "up_proj": (i, h), "down_proj": (h, i)}
        named += [(f"{place}.self_attn.{name}.weight", size) for name, size in attention.items()]
        named += [(f"{place}.mlp.{name}.weight", size) for name, size in mlp.items()]
    named.append(("lm_head.weight", (shape.words, h)))
    found, at = [], HEADER
    for name, size in named:
        found.append(TensorInfo(name, "BF16", size, at, at + 2 * prod(size)))
        at = found[-1].end
    return found


def read_together(infos: list[TensorInfo], piece: int, ranks: int) -> float:
    """Bytes that all ranks read, over those of the checkpoint."""
    whole = infos[-1].end
    pieces = 0
    for rank in range(ranks):
        select = Selection(rank=rank, of=ranks, dims=DIMS)
        found = {number for run in pieces_of(select.parts(infos), piece) for number in run}
        pieces += len(found | set(range(-(-HEADER // piece))))
    return pieces * piece / whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("bench/results/slices.json"))
    arguments = parser.parse_args()
    rows: list[tuple[object, ...]] = []
    results: dict[str, Any] = {}
    for name, shape in SHAPES.items():
        infos = tensors(shape)
        later = sum(info.size for info in infos if info.name.endswith(("o_proj.weight", "down_proj.weight")))
        share = round(later / infos[-1].end, 3)
        read = {
            f"{piece // KIB} KiB": {ranks: round(read_together(infos, piece, ranks), 2) for ranks in RANKS}
            for piece in PIECES
        }
        results[name] = {"cut_along_a_later_dimension": share, "read_together": read}
        rows += [(name, share, unit, *figures.values()) for unit, figures in read.items()]
    columns = ["Llama", "share cut along dim 1", "unit of proof", *(f"{ranks} ranks" for ranks in RANKS)]
    print_table("Bytes that all ranks read together, over the checkpoint's", columns, rows)
    publish({"benchmark": "slices", "models": results}, as_json=arguments.json, out=arguments.out)


if __name__ == "__main__":
    main()
