"""The GPU's benchmark, as far as it goes without a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.gpu import ratios
from bench.gpu_checkpoint import chill, make, shards, total, verified, warm
from tests.builders_load import flip
from weightshare.errors import CorruptError
from weightshare.load.loader import state_dict
from weightshare.units import MIB

BENCH = Path(__file__).parents[2] / "bench" / "gpu.py"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_device_it_says_what_it_would_measure_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    ran = subprocess.run(
        [sys.executable, str(BENCH), "--json", "--out", str(out), "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0
    assert ran.stdout.startswith("No CUDA device here")
    assert "hash rate" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_its_checkpoint_is_proven_as_a_release_is(tmp_path: Path) -> None:
    make(tmp_path, 32 * MIB, 2, tensor=8 * MIB)
    assert total(tmp_path) > 32 * MIB
    warm(tmp_path)
    chill(tmp_path)
    release, layers = verified(tmp_path)
    state = state_dict(release, tmp_path, device="cpu", layers=layers)
    assert state.bytes == total(tmp_path)
    assert len(state.tensors) == 4
    state.close()
    flip(shards(tmp_path)[1], 9 * MIB)
    with pytest.raises(CorruptError) as caught:
        state_dict(release, tmp_path, device="cpu", layers=layers)
    assert caught.value.facts["pieces"] == [2]


def test_a_ratio_needs_both_its_figures() -> None:
    def load(warm: int, first: int) -> dict[str, object]:
        return {"bytes_per_second": {"warm": warm, "first": first}}

    parts = {
        "hash": {"best_bytes_per_second": {"1024 MiB": 3e11}},
        "bus": {"best_pinned_bytes_per_second": 50},
        "load ours": load(45, 30),
        "load safetensors": load(9, 10),
        "load fastsafetensors": {"failed": "is not installed"},
    }
    assert ratios(parts) == {
        "hash_gb_per_second_at_1_gib": 300,
        "of_bus": 0.9,
        "vs_safetensors": 5,
        "first_vs_safetensors": 3,
    }
    assert ratios({}) == {}
