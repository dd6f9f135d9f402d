"""A program: what transformers' tensor parallelism gives one rank of a checkpoint, as tensors in a file.

Run by `test_parallel.py` with RANK OF and a CLASS=FOLDER for each; what it gives is in `shards.pt` beside each
folder. No other rank takes part: a process group of torch's that
sends nothing stands in for them, since nothing need be sent to cut a tensor.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import transformers
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers.distributed.parallel_utils import ALL_PARALLEL_STYLES, _get_parameter_plan
from transformers.distributed.sharding_utils import DtensorShardOperation


def main() -> None:
    rank, of, *models = sys.argv[1:]
    dist.init_process_group("fake", store=FakeStore(), rank=int(rank), world_size=int(of))
    mesh = init_device_mesh("cpu", (int(of),))
    for each in models:
        name, _, folder = each.partition("=")
        torch.save(shards(getattr(transformers, name), folder, mesh), Path(folder).with_name("shards.pt"))


def shards(model_class: Any, folder: str, mesh: Any) -> dict[str, torch.Tensor]:
    whole = model_class.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        empty = model_class(whole.config)
    found = {}
    for parameter, value in whole.named_parameters(remove_duplicate=False):
        style = _get_parameter_plan(parameter, empty.tp_plan)
        place, _, leaf = parameter.rpartition(".")
        module = empty.get_submodule(place)
        if style is not None:
            ALL_PARALLEL_STYLES[style].shard_param(module, leaf, mesh)
        cut = getattr(module, leaf)
        mine = DtensorShardOperation(cut).shard_tensor(value) if isinstance(cut, DTensor) else value
        found[parameter] = mine.detach().contiguous().clone()
    return found


if __name__ == "__main__":
    main()
