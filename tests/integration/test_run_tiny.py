"""Tiny random models through the transformers route: the same logits, our storage, and refusals before any work."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.builders_load import Release, flip, release_of
from weightshare.errors import CheckpointError, CorruptError, LoadError, UnsupportedModelError, UsageError
from weightshare.load.loader import Mode, state_dict
from weightshare.run import building, generation, small_files, transformers_runner

SIZES: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a load connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def checkpoint(folder: Path, kind: str, **more: Any) -> Path:
    """A small random model as `save_pretrained` writes it, in several shards."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "mixtral":
            config: Any = transformers.MixtralConfig(
                **SIZES, num_local_experts=3, num_experts_per_tok=2, **more
            )
            model: Any = transformers.MixtralForCausalLM(config)
        else:
            config = transformers.LlamaConfig(**SIZES, **more)
            model = transformers.LlamaForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size=40_000)
    return folder


def words(folder: Path, *, chat: bool = False) -> None:
    """A tokenizer of whole words: w0 to w127."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(128)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0", eos_token="w2")
    if chat:
        wrapped.chat_template = "w5 {% for m in messages %}{{ m.content }} {% endfor %}w6"
    wrapped.save_pretrained(folder)


def load(release: Release, mode: Mode = "auto") -> transformers_runner.Runner:
    return transformers_runner.load(
        release.verified, release.folder, device="cpu", mode=mode, layers=release.layers
    )


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(torch.arange(3, 40).unsqueeze(0)).logits
    return found


@pytest.fixture(params=["llama", "tied", "mixtral"])
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Release:
    kind = request.param
    folder = checkpoint(
        tmp_path / "model", "mixtral" if kind == "mixtral" else "llama", tie_word_embeddings=kind == "tied"
    )
    return release_of(folder, tmp_path / "keys")


@pytest.mark.parametrize("mode", ["mapped", "private"])
def test_logits_are_those_of_transformers_own_loading(release: Release, mode: Mode) -> None:
    assert len(list(release.folder.glob("*.safetensors"))) > 1
    reference: Any = transformers.AutoModelForCausalLM.from_pretrained(release.folder)
    runner = load(release, mode)
    assert type(runner.model) is type(reference)
    assert runner.model.dtype == reference.dtype == torch.bfloat16
    assert runner.notes == ()
    assert not runner.model.training
    assert logits(runner.model).equal(logits(reference))
    assert (runner.state.mode, runner.state.device) == (mode, "cpu")


def blueprint_of(release: Release) -> building.Blueprint:
    with small_files.proven_folder(release.verified.manifest, release.folder, {}) as target:
        raw = small_files.read_config(target, "acme/m@1")
        return building.read_blueprint(target, raw, "acme/m@1")


def test_tensors_stay_on_their_device(tmp_path: Path) -> None:
    """The device here is `meta`, whose tensors cannot even be moved to the CPU: transformers must not try."""
    release = release_of(checkpoint(tmp_path / "model", "llama"), tmp_path / "keys")
    state = state_dict(release.verified, release.folder, device="cpu", layers=release.layers)
    tensors = {name: tensor.to("meta") for name, tensor in state.tensors.items()}
    model, notes = building.build(blueprint_of(release), tensors, "meta", "acme/m@1")
    assert notes == []
    assert all(parameter.is_meta for parameter in model.parameters())


def test_parameters_keep_our_storage(tmp_path: Path) -> None:
    release = release_of(checkpoint(tmp_path / "model", "llama"), tmp_path / "keys")
    state = state_dict(release.verified, release.folder, device="cpu", layers=release.layers)
    pointers = {name: tensor.data_ptr() for name, tensor in state.tensors.items()}
    blueprint = blueprint_of(release)
    model, notes = building.build(blueprint, state.tensors, "cpu", "acme/m@1")
    assert notes == []
    assert {name: parameter.data_ptr() for name, parameter in model.named_parameters()} == pointers
    assert not any(buffer.is_meta for buffer in model.buffers())
    reference: Any = transformers.AutoModelForCausalLM.from_pretrained(release.folder)
    assert logits(model).equal(logits(reference))


def test_a_changed_weight_or_config_gives_no_model(release: Release) -> None:
    shard = sorted(release.folder.glob("*.safetensors"))[-1]
    flip(shard, shard.stat().st_size - 3)
    with pytest.raises(CorruptError, match=shard.name):
        load(release)
    flip(shard, shard.stat().st_size - 3)
    flip(release.folder / "config.json", 10)
    with pytest.raises(CorruptError, match=r"config\.json"):
        load(release)


def change_config(folder: Path, **more: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


def test_an_architecture_transformers_lacks_is_refused_and_its_code_never_run(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", "llama")
    ran = tmp_path / "ran"
    (folder / "modeling_new.py").write_text(f"open({str(ran)!r}, 'w')")
    (folder / "configuration_new.py").write_text(f"open({str(ran)!r}, 'w')")
    auto_map = {"AutoConfig": "configuration_new.NewConfig", "AutoModelForCausalLM": "modeling_new.NewModel"}
    for change in (
        {"architectures": ["NewModelForCausalLM"]},
        {"model_type": "new_model"},
        {"architectures": ["NewModelForCausalLM"], "model_type": "new_model"},
    ):
        original = (folder / "config.json").read_text()
        change_config(folder, auto_map=auto_map, **change)
        with pytest.raises(UnsupportedModelError, match="never run") as caught:
            load(release_of(folder, tmp_path / "keys"))
        assert caught.value.exit_code == 7
        (folder / "config.json").write_text(original)
    # An architecture that transformers has runs on transformers' code, whatever the release carries beside it.
    change_config(folder, auto_map=auto_map)
    assert type(load(release_of(folder, tmp_path / "keys")).model) is transformers.LlamaForCausalLM
    assert not ran.exists()


@pytest.mark.parametrize("name", ["pipeline", "Trainer", "AutoTokenizer", "logging", "__doc__", "a.b", "", 3])
def test_only_model_classes_are_architectures(tmp_path: Path, name: object) -> None:
    folder = checkpoint(tmp_path / "model", "llama")
    change_config(folder, architectures=[name])
    with pytest.raises(UnsupportedModelError):
        load(release_of(folder, tmp_path / "keys"))


def test_missing_tensors_are_an_error_not_a_random_model(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = checkpoint(tmp_path / "model", "llama")
    (folder / "model.safetensors.index.json").unlink()
    tensors: dict[str, torch.Tensor] = {}
    for path in folder.glob("*.safetensors"):
        tensors |= load_file(path)
        path.unlink()
    gone = tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UnsupportedModelError, match=r"layers\.1\.mlp\.up_proj"):
        load(release_of(folder, tmp_path / "keys"))
    save_file({**tensors, "model.layers.1.mlp.up_proj.weight": gone[:5]}, folder / "model.safetensors")
    with pytest.raises(LoadError):
        load(release_of(folder, tmp_path / "keys"))
    save_file(
        {**tensors, "model.layers.1.mlp.up_proj.weight": gone, "extra": gone.clone()},
        folder / "model.safetensors",
    )
    assert "extra" in load(release_of(folder, tmp_path / "keys")).notes[0]


def test_text_is_the_likeliest_unless_dice_are_asked_for(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", "llama")
    words(folder)
    with load(release_of(folder, tmp_path / "keys")) as runner:
        assert not runner.chat
        parts: list[str] = []
        plain = runner.generate("w3 w4", max_new_tokens=12, on_text=parts.append)
        assert plain.prompt_tokens == 2
        assert 1 <= plain.tokens <= 12
        assert plain.tokens_per_second == pytest.approx(plain.tokens / plain.seconds)
        assert "".join(parts).split() == plain.text.split()
        reference: Any = transformers.AutoModelForCausalLM.from_pretrained(folder)
        expected = reference.generate(torch.tensor([[3, 4]]), max_new_tokens=12, do_sample=False)
        assert plain.text == " ".join(f"w{i}" for i in expected[0, 2:].tolist() if i != 2)

        before = torch.random.get_rng_state()
        drawn = {seed: runner.generate("w3 w4", max_new_tokens=20, seed=seed).text for seed in (1, 2)}
        assert drawn[1] != drawn[2]
        assert runner.generate("w3 w4", max_new_tokens=20, seed=1).text == drawn[1]
        assert torch.random.get_rng_state().equal(before)


def test_a_chat_template_is_used_and_messages_need_one(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", "llama")
    words(folder, chat=True)
    with load(release_of(folder, tmp_path / "keys")) as runner:
        assert runner.chat
        one = runner.generate("w9", max_new_tokens=3)
        assert one.prompt_tokens == 3
        assert runner.generate([{"role": "user", "content": "w9"}], max_new_tokens=3).text == one.text
        assert generation.encode(runner.tokenizer, "w9").tolist() == [[5, 9, 6]]
    (folder / "chat_template.jinja").unlink()
    with (
        load(release_of(folder, tmp_path / "keys")) as runner,
        pytest.raises(UsageError, match="no chat template"),
    ):
        runner.generate([{"role": "user", "content": "w9"}])


def test_prompts_and_settings_that_cannot_be(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", "llama")
    words(folder)
    with load(release_of(folder, tmp_path / "keys")) as runner:
        with pytest.raises(UsageError, match="70 tokens"):
            runner.generate("w3 " * 70)
        assert runner.generate("w3 " * 60, seed=1).tokens <= 4
        with pytest.raises(UsageError, match="empty"):
            runner.generate("")
        for wrong in ({"max_new_tokens": 0}, {"temperature": 0.0}, {"top_p": 1.5}, {"seed": -1}):
            with pytest.raises(UsageError):
                runner.generate("w3", **wrong)


def test_no_text_comes_from_files_that_changed(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", "llama")
    words(folder)
    release = release_of(folder, tmp_path / "keys")
    shard = sorted(folder.glob("*.safetensors"))[0]
    with shard.open("r+b") as file:  # open for writing, so there is no lease
        runner = load(release, "mapped")
        assert shard.name in runner.notes[0]
        file.seek(9000)
        file.write(b"evil")
        file.flush()
        parts: list[str] = []
        with pytest.raises(CheckpointError, match="changed while it was used"):
            runner.generate("w3 w4", max_new_tokens=3, on_text=parts.append)
        assert parts == []


def test_a_model_without_tokenizer_loads_and_says_why_it_does_not_talk(tmp_path: Path) -> None:
    release = release_of(checkpoint(tmp_path / "model", "llama"), tmp_path / "keys")
    runner = load(release)
    assert runner.tokenizer is None
    with pytest.raises(UnsupportedModelError, match="no tokenizer"):
        runner.generate("hello")


def test_nothing_is_written_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = checkpoint(tmp_path / "model", "llama")
    words(folder)
    release = release_of(folder, tmp_path / "keys")
    capfd.readouterr()
    with load(release) as runner:
        runner.generate("w3", max_new_tokens=4, seed=5)
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.is_progress_bar_enabled()
