"""A model over several devices: the same logits, its parts where the map says, some of them in host memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.builders_load import Release, release_of
from tests.builders_talkers import talker
from weightshare.run import transformers_runner

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

TWO = {
    "model.embed_tokens": 0,
    "model.rotary_emb": 0,
    "model.layers.0": 0,
    "model.layers.1": 1,
    "model.norm": 1,
    "lm_head": 1,
}


@pytest.fixture
def release(tmp_path: Path) -> Release:
    pytest.importorskip("accelerate")
    return release_of(talker(tmp_path / "model"), tmp_path / "keys")


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(torch.arange(3, 40, device="cuda:0").unsqueeze(0)).logits
    return found.cpu()


def same_as_on_one(release: Release, device_map: str | Mapping[str, str | int]) -> None:
    reference: Any = transformers.AutoModelForCausalLM.from_pretrained(release.folder).to("cuda:0")
    expected = logits(reference)
    with transformers_runner.load(
        release.verified, release.folder, device_map=device_map, layers=release.layers
    ) as runner:
        assert logits(runner.model).equal(expected)
        assert runner.generate("w9 w10", max_new_tokens=5).tokens == 5


def test_half_of_it_stays_in_host_memory(release: Release) -> None:
    same_as_on_one(release, {name: "cpu" if device else "cuda:0" for name, device in TWO.items()})


def test_auto_takes_the_gpu(release: Release) -> None:
    same_as_on_one(release, "auto")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("device_map", [TWO, "balanced"])
def test_two_gpus(release: Release, device_map: str | Mapping[str, str | int]) -> None:
    same_as_on_one(release, device_map)
