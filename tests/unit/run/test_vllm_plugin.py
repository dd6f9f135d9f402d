"""The load format for vLLM, as far as it goes without vLLM: what it is told, what it proves, what it hands over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.builders_load import flip
from tests.integration.releases import Published, publish
from weightshare import errors
from weightshare.api.vllm import open_state
from weightshare.errors import CheckpointError, CorruptError, LoadError, UnsupportedModelError, UsageError
from weightshare.load.loader import LoadedState
from weightshare.run.vllm_plugin import Wanted, load_into, report, reported, wanted_of
from weightshare.run.vllm_server import command

WEIGHTS = {"weight": torch.arange(12.0).reshape(3, 4), "bias": torch.tensor([3.0, 2.0, 1.0])}


class Taker(torch.nn.Linear):
    """A layer that takes its weights as a model of vLLM's does."""

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        own = dict(self.named_parameters())
        taken = set()
        for name, tensor in weights:
            own[name].data.copy_(tensor)
            taken.add(name)
        return taken


@pytest.fixture
def published(tmp_path: Path) -> Published:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(WEIGHTS, folder / "model.safetensors")
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    return publish(tmp_path / "home", folder)


def wanted(published: Published, **more: Any) -> Wanted:
    return Wanted(str(published.folder), home=str(published.home / "weightshare"), **more)


@pytest.mark.parametrize("private", [False, True])
def test_a_model_takes_the_proven_tensors(published: Published, private: bool) -> None:
    state = open_state(wanted(published, private=private))
    assert state.mode == ("private" if private else "mapped")
    model = Taker(4, 3)
    load_into(model, state)
    assert all(model.get_parameter(name).equal(tensor) for name, tensor in WEIGHTS.items())
    assert state.tensors == {}


def test_a_flipped_byte_gives_no_tensor(published: Published) -> None:
    flip(published.folder / "model.safetensors", (published.folder / "model.safetensors").stat().st_size - 1)
    with pytest.raises(CorruptError, match=r"model\.safetensors"):
        open_state(wanted(published))


def test_the_config_beside_the_weights_is_proven_where_vllm_reads_it_there(published: Published) -> None:
    flip(published.folder / "config.json", 4)
    assert open_state(wanted(published)).tensors
    with pytest.raises(CorruptError, match=r"config\.json"):
        open_state(wanted(published, small_files=str(published.folder)))


def test_another_release_than_the_one_whose_config_is_used_is_refused(published: Published) -> None:
    envelope = (published.folder / "weightshare.json").read_bytes()
    assert open_state(wanted(published, manifest=hashlib.sha256(envelope).hexdigest())).tensors
    with pytest.raises(CheckpointError, match="expected is 00"):
        open_state(wanted(published, manifest="00" * 32))


def test_a_model_with_a_parameter_too_many_is_refused() -> None:
    model = Taker(4, 3)
    model.extra = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(LoadError, match="1 parameters of Taker got no tensor, extra among them"):
        load_into(model, LoadedState(dict(WEIGHTS), 1, 1.0, "private", "cpu"))
    load_into(model, LoadedState(dict(WEIGHTS), 1, 1.0, "private", "cpu"), quantized=True)


def test_weights_from_a_second_source_are_refused() -> None:
    model: Any = Taker(4, 3)
    model.secondary_weights = ("somebody/else",)
    with pytest.raises(UnsupportedModelError, match="second source"):
        load_into(model, LoadedState(dict(WEIGHTS), 1, 1.0, "private", "cpu"))


def test_what_an_engine_is_told() -> None:
    assert wanted_of("/m", {}) == Wanted("/m", small_files="/m")
    extra = {"release": "acme/m7b", "home": "/h", "trust": ["SHA256:x"], "manifest": "ab", "private": True}
    assert wanted_of("/m", extra) == Wanted(
        "acme/m7b", home="/h", trust=("SHA256:x",), manifest="ab", private=True
    )
    for wrong in ({"relase": "x"}, {"private": "yes"}, {"trust": "SHA256:x"}, {"home": 1}):
        with pytest.raises(UsageError, match="model_loader_extra_config"):
            wanted_of("/m", wrong)


def test_an_error_reaches_whoever_started_the_engine(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    assert reported(path) is None
    report(str(path), CorruptError("a shard", hint="repair", path="m", pieces=[3]))
    found = reported(path)
    assert type(found) is errors.CorruptError
    assert (found.message, found.hint, found.facts) == ("a shard", "repair", {"path": "m", "pieces": [3]})
    report("", CorruptError("nobody asked"))


def test_what_the_proof_rests_on_comes_last() -> None:
    """Of an option that is given twice, vLLM takes the last."""
    line = command(
        Path("/proven"), name="m", host="127.0.0.1", port=1, extra={}, words=("--load-format", "auto", "--x")
    )
    after = line[line.index("--x") + 1 :]
    assert after[after.index("--load-format") + 1] == "weightshare"
    assert after[after.index("--model") + 1] == after[after.index("--tokenizer") + 1] == "/proven"
    assert "--no-trust-remote-code" in after
