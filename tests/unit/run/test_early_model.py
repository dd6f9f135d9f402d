"""A model built around memory that is still empty is the model that one gets afterwards, or is not used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.builders_load import PIECE, Release, flip, release_of
from tests.integration.test_run_tiny import change_config, checkpoint, logits, words
from weightshare.errors import CorruptError, UnsupportedModelError
from weightshare.load.arrivals import Aborted, Arrivals
from weightshare.load.loader import state_dict
from weightshare.run import transformers_runner
from weightshare.run.early_model import EarlyModel


def early_of(release: Release, dtype: str = "auto") -> tuple[EarlyModel, Arrivals]:
    """Of a release whose files have all arrived."""
    sizes = {entry.path: entry.size for entry in release.verified.manifest.files}
    arrivals = Arrivals(sizes, PIECE)
    for path, size in sizes.items():
        for piece in range(-(-size // PIECE)):
            arrivals.piece(path, piece, proven=False)
    locations = {path: release.folder / path for path in sizes}
    return EarlyModel(release.verified, arrivals, locations, dtype=dtype), arrivals


@pytest.mark.parametrize(
    ("kind", "dtype", "shared"),
    [("llama", "auto", True), ("mixtral", "auto", False), ("llama", "fp32", False)],
)
def test_weights_that_come_later_are_the_models(tmp_path: Path, kind: str, dtype: str, shared: bool) -> None:
    folder = checkpoint(tmp_path / "model", kind)
    words(folder)
    release = release_of(folder, tmp_path / "keys")
    state = state_dict(release.verified, release.folder, device="cpu", mode="private", layers=release.layers)
    weights = {name: tensor.clone() for name, tensor in state.tensors.items()}
    for tensor in state.tensors.values():
        tensor.zero_()
    early, _ = early_of(release, dtype)
    early.give(dict(state.tensors))
    early.run()
    for name, tensor in state.tensors.items():
        tensor.copy_(weights[name])
    runner = early.finish(state)
    assert early.shared is shared
    plain = transformers_runner.load(
        release.verified, release.folder, device="cpu", dtype=dtype, layers=release.layers
    )
    assert logits(runner.model).equal(logits(plain.model))
    assert runner.notes == plain.notes == ()
    said = runner.generate("w3 w4", max_new_tokens=6)
    assert said.text == plain.generate("w3 w4", max_new_tokens=6).text


def test_an_architecture_nobody_has_needs_no_weights_to_be_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", "llama")
    change_config(folder, architectures=["NoSuchModel"])
    early, _ = early_of(release_of(folder, tmp_path / "keys"))
    with pytest.raises(UnsupportedModelError, match="NoSuchModel"):
        early.run()


def test_a_missing_tensor_is_an_error_before_the_others_are_here(tmp_path: Path) -> None:
    release = release_of(checkpoint(tmp_path / "model", "llama"), tmp_path / "keys")
    state = state_dict(release.verified, release.folder, device="cpu", layers=release.layers)
    gone = {
        name: torch.zeros_like(t) for name, t in state.tensors.items() if "layers.1.mlp.up_proj" not in name
    }
    early, _ = early_of(release)
    early.give(gone)
    with pytest.raises(UnsupportedModelError, match="up_proj"):
        early.run()


def test_a_config_that_is_not_the_signed_one_is_never_read(tmp_path: Path) -> None:
    release = release_of(checkpoint(tmp_path / "model", "llama"), tmp_path / "keys")
    flip(release.folder / "config.json", 10)
    early, arrivals = early_of(release)
    arrivals.end(release.folder)
    with pytest.raises(CorruptError, match=r"config\.json"):
        early.run()


def test_an_abort_ends_it_wherever_it_waits(tmp_path: Path) -> None:
    release = release_of(checkpoint(tmp_path / "model", "llama"), tmp_path / "keys")
    early, _ = early_of(release)
    early.abort()
    with pytest.raises(Aborted):
        early.run()
