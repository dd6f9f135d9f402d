"""How a release is loaded and answers: sampling, dtypes, device maps, receipts, and repair on the way."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import weightshare
from tests.builders_load import Release, flip, release_of
from tests.builders_talkers import talker
from tests.cli.helpers import result
from tests.cli.helpers import weightshare as command
from tests.integration.releases import Published, fetch, publish
from tests.integration.running import seeding
from weightshare.api import running
from weightshare.api.repairing import Sources
from weightshare.api.results import Ran
from weightshare.content.home import Home
from weightshare.errors import (
    CorruptError,
    MissingExtraError,
    ReleaseNotFoundError,
    StoreError,
    UnsupportedModelError,
    UsageError,
)
from weightshare.load.loader import state_dict
from weightshare.run import placement, transformers_runner


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny chat model, published."""
    home = tmp_path_factory.mktemp("publisher")
    return publish(home, talker(home / "model"), "--piece-length", "16K", name="acme/chatty")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("release")
    return release_of(talker(folder / "model"), folder / "keys")


def home_of(published: Published) -> Home:
    return Home(published.home / "weightshare")


def ask(published: Published, prompt: str = "w9 w10", **how: Any) -> Ran:
    return running.run("acme/chatty", prompt, home=home_of(published), **{"max_new_tokens": 12, **how})


def test_dice_fall_the_same_for_the_same_seed(published: Published) -> None:
    greedy = ask(published).text
    assert ask(published).text == greedy
    first, second = ask(published, seed=1).text, ask(published, seed=2).text
    assert len({greedy, first, second}) == 3
    assert ask(published, seed=1).text == first
    # Drawing from one token, or from the likeliest share of next to nothing, is no draw at all.
    assert ask(published, seed=1, top_k=1).text == greedy
    assert ask(published, seed=1, top_p=1e-6).text == greedy
    assert ask(published, seed=1, temperature=1e-4).text == greedy
    # A penalty changes what is likeliest, and brings in no dice.
    said = ask(published, "w9", max_new_tokens=40).text.split()
    punished = ask(published, "w9", max_new_tokens=40, repetition_penalty=50.0).text
    assert punished == ask(published, "w9", max_new_tokens=40, repetition_penalty=50.0).text
    assert len(set(punished.split())) >= len(set(said))


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_k": -1},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": float("inf")},
        {"seed": -1},
    ],
)
def test_values_that_mean_nothing_are_refused_before_anything_is_looked_for(
    tmp_path: Path, wrong: Mapping[str, Any]
) -> None:
    with pytest.raises(UsageError):
        running.run("acme/nowhere", "w9", home=Home(tmp_path), **wrong)
    with pytest.raises(ReleaseNotFoundError):
        running.run("acme/nowhere", "w9", home=Home(tmp_path))


def test_the_command_line_says_the_same_of_wrong_values(published: Published) -> None:
    for words in (
        ("--top-p", "1.5"),
        ("--temperature", "0"),
        ("--device", "quantum"),
        ("--dtype", "int3"),
        ("--device-map", "auto", "--device", "cpu"),
    ):
        done = command(published.home, "run", "acme/chatty", "w9", *words)
        assert (done.returncode, done.stdout) == (2, b""), done.stderr


def test_a_prompt_from_the_line_from_stdin_and_from_both(published: Published) -> None:
    words = ("run", "acme/chatty", "--max-new-tokens", "5", "-q")
    given = command(published.home, *words, "w9 w10")
    piped = command(published.home, *words, typed=b"w9 w10\n")
    assert given.returncode == piped.returncode == 0, given.stderr + piped.stderr
    assert given.stdout == piped.stdout
    assert len(given.stdout.split()) == 5
    both = command(published.home, *words, "w10", typed=b"w9\n")  # stdin goes first
    assert both.stdout == given.stdout
    assert command(published.home, *words, typed=b" \n").returncode == 2


def test_why_an_answer_ended(published: Published) -> None:
    assert ask(published, max_new_tokens=3).finish == "length"
    seen: list[str] = []
    stopped = ask(published, max_new_tokens=4000, on_text=seen.append, enough=lambda: len(seen) > 4)
    assert stopped.finish == "interrupted"
    assert 4 < stopped.tokens < 50
    assert stopped.text.split() == "".join(seen).split()


def test_a_template_that_refuses_and_one_that_is_none(tmp_path: Path) -> None:
    strict = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}w5"
    )
    folder = talker(tmp_path / "strict", template=strict)
    with load(release_of(folder, tmp_path / "keys")) as runner:
        assert runner.generate("w9", max_new_tokens=2).tokens == 2
        with pytest.raises(UsageError, match="System role not supported"):
            runner.generate("w9", system="w1")
    (folder / "chat_template.jinja").write_text("{% if %}")
    with (
        load(release_of(folder, tmp_path / "keys")) as runner,
        pytest.raises(UnsupportedModelError, match="template"),
    ):
        runner.generate("w9")


def load(release: Release, **how: Any) -> transformers_runner.Runner:
    return transformers_runner.load(release.verified, release.folder, layers=release.layers, **how)


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(torch.arange(3, 40).unsqueeze(0)).logits
    return found


@pytest.mark.parametrize("name", ["fp32", "fp16", "bf16"])
def test_a_cast_is_that_of_transformers(release: Release, name: str) -> None:
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]
    reference: Any = transformers.AutoModelForCausalLM.from_pretrained(release.folder, dtype=dtype)
    with load(release, device="cpu", dtype=name) as runner:
        assert {held.dtype for held in runner.model.parameters()} == {dtype}
        assert logits(runner.model).equal(logits(reference))


def test_no_dtype_of_that_name(release: Release) -> None:
    with pytest.raises(UsageError, match="int3"):
        load(release, device="cpu", dtype="int3")


class TestDeviceMap:
    """One device is enough to see who goes where; that devices hand on their work is accelerate's, see tests/gpu."""

    @pytest.fixture(autouse=True)
    def _accelerate(self) -> None:
        pytest.importorskip("accelerate")

    @pytest.mark.parametrize("device_map", [{"": "cpu"}, {"model": "cpu", "lm_head": "cpu"}])
    def test_all_on_one(self, release: Release, device_map: Mapping[str, str]) -> None:
        reference: Any = transformers.AutoModelForCausalLM.from_pretrained(release.folder)
        with load(release, device_map=device_map) as runner:
            assert runner.state.device == "cpu"
            assert logits(runner.model).equal(logits(reference))

    @pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU would be chosen")
    @pytest.mark.parametrize("strategy", placement.STRATEGIES)
    def test_without_a_gpu_all_goes_to_the_cpu(self, release: Release, strategy: str) -> None:
        with load(release, device_map=strategy) as runner:
            assert runner.state.device == "cpu"
            assert runner.generate("w9", max_new_tokens=2).tokens == 2

    def test_each_tensor_is_loaded_to_its_own_device_and_none_twice(self, release: Release) -> None:
        modules = {
            "model.embed_tokens": "cpu",
            "model.layers.0": "cpu",
            "model.layers.1": "cpu:0",
            "": "cpu:0",
        }
        asked: dict[str, set[str]] = {}

        def load_to(device: str, select: Any) -> Any:
            state = state_dict(
                release.verified, release.folder, device=device, layers=release.layers, select=select
            )
            asked[device] = set(state.tensors)
            return state

        state = placement.load_each(placement.Placement(modules, "model"), load_to)
        whole = state_dict(release.verified, release.folder, device="cpu", layers=release.layers)
        assert asked["cpu"] == {
            name for name in whole.tensors if name.startswith(("model.embed_tokens.", "model.layers.0."))
        }
        assert asked["cpu:0"] == whole.tensors.keys() - asked["cpu"]
        assert all(state.tensors[name].equal(tensor) for name, tensor in whole.tensors.items())
        assert state.bytes >= sum(tensor.nbytes for tensor in whole.tensors.values())
        state.check()
        state.close()

    def test_one_bad_piece_and_no_device_has_anything(self, release: Release, tmp_path: Path) -> None:
        folder = talker(tmp_path / "model")
        damaged = release_of(folder, tmp_path / "keys")
        shard = sorted(folder.glob("*.safetensors"))[-1]
        flip(shard, shard.stat().st_size - 3)
        with pytest.raises(CorruptError, match=shard.name):
            load(damaged, device_map={"model": "cpu", "lm_head": "cpu"})

    def test_names_of_a_model_within_a_model(self) -> None:
        placed = placement.Placement({"bert.encoder.layer.1": "cuda:1", "bert": "cuda:0", "": "cpu"}, "bert")
        assert placed.devices == ["cuda:1", "cuda:0", "cpu"]
        assert placed.device_of("encoder.layer.1.output.weight") == "cuda:1"
        assert placed.device_of("bert.encoder.layer.1.output.weight") == "cuda:1"
        assert placed.device_of("bert.encoder.layer.11.output.weight") == "cuda:0"
        assert placed.device_of("classifier.weight") == "cpu"

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ("everywhere", "no device map"),
            ({"model.layers.0": "cpu"}, "says nothing of"),
            ({"": "quantum"}, "does not know"),
        ],
    )
    def test_maps_that_cannot_be(self, release: Release, wrong: Any, says: str) -> None:
        with pytest.raises(Exception, match=says) as caught:
            load(release, device_map=wrong)
        assert isinstance(caught.value, weightshare.errors.WeightshareError)

    def test_a_device_and_a_map_do_not_go_together(self, release: Release) -> None:
        with pytest.raises(UsageError, match="device map"):
            load(release, device="cpu", device_map="auto")


def test_without_accelerate_there_is_no_device_map(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match="accelerate"):
        load(release, device_map="auto")


def test_a_receipt_is_believed_on_request_alone_and_the_result_says_so(published: Published) -> None:
    proven = ask(published)
    assert proven.load_trusted == 0
    trusting = ask(published, loading={"trust_receipt": True, "device": "cpu"})
    assert trusting.load_trusted == trusting.load_bytes
    assert trusting.text == proven.text
    assert any("not hashed" in warning for warning in trusting.warnings)
    load = trusting.to_json()["load"]
    assert isinstance(load, dict)
    assert load["verified"] is False


class TestRepair:
    """A release that was fetched and got damaged, its publisher still serving it."""

    @pytest.fixture
    def user(self, tmp_path: Path, published: Published) -> Path:
        home = tmp_path / "user"
        with seeding(published.home, "acme/chatty") as seeder:
            fetch(home, published, "--peer", seeder.peer)
        return home

    @staticmethod
    def damage(user: Path) -> Path:
        folder = next((user / "weightshare" / "models").glob("acme/chatty/*"))
        shard = sorted(folder.glob("*.safetensors"))[0]
        shard.chmod(0o644)
        flip(shard, 20_000)
        return shard

    def test_without_it_the_load_ends_and_names_the_piece(self, user: Path) -> None:
        shard = self.damage(user)
        said = result(user, "run", "acme/chatty", "w9", status=4)
        assert (said["error"], said["path"], said["pieces"]) == ("corrupt", shard.name, [1])
        assert said["tensors"]

    def test_the_bad_piece_alone_is_fetched_and_the_load_goes_on(
        self, user: Path, published: Published
    ) -> None:
        shard = self.damage(user)
        with seeding(published.home, "acme/chatty") as seeder:
            words = ("acme/chatty", "w9 w10", "--max-new-tokens", "12", "--repair", "--peer", seeder.peer)
            said = result(user, "run", *words)
        assert said["load"]["repaired_bytes"] == 16 * 1024
        assert said["load"]["verified"] is True
        assert said["text"] == ask(published).text
        assert shard.read_bytes() == (published.folder / shard.name).read_bytes()
        assert result(user, "run", "acme/chatty", "w9")["load"]["repaired_bytes"] == 0

    def test_verify_repairs_too(self, user: Path, published: Published) -> None:
        shard = self.damage(user)
        (shard.parent / "config.json").unlink()
        with seeding(published.home, "acme/chatty") as seeder:
            said = result(user, "verify", "acme/chatty", "--repair", "--peer", seeder.peer)
        assert said["ok"] is True
        size = (published.folder / "config.json").stat().st_size
        assert said["repaired_bytes"] == 16 * 1024 + size
        assert shard.read_bytes() == (published.folder / shard.name).read_bytes()

    def test_in_python(self, user: Path, published: Published) -> None:
        self.damage(user)
        home = Home(user / "weightshare")
        with pytest.raises(CorruptError):
            weightshare.from_pretrained("acme/chatty", home=home)
        with seeding(published.home, "acme/chatty") as seeder:
            host, _, port = seeder.peer.rpartition(":")
            model, tokenizer = weightshare.from_pretrained(
                "acme/chatty",
                home=home,
                repair=True,
                network="local",
                peers=[(host, int(port))],
                dtype="fp32",
            )
        assert model.dtype is torch.float32
        assert tokenizer is not None

    def test_nobody_to_ask_is_an_error_of_the_network(self, user: Path) -> None:
        self.damage(user)
        done = command(user, "run", "acme/chatty", "w9", "--repair", "--timeout", "1")
        assert done.returncode == 5, done.stderr

    def test_a_publishers_own_folder_is_left_alone(self, tmp_path: Path) -> None:
        mine = publish(tmp_path / "home", talker(tmp_path / "model"), name="acme/mine")
        shard = sorted(mine.folder.glob("*.safetensors"))[0]
        flip(shard, 20_000)
        before = shard.read_bytes()
        with pytest.raises(StoreError, match="published from"):
            running.open_runner("acme/mine", home=home_of(mine), repair=Sources(network="local"))
        assert shard.read_bytes() == before
