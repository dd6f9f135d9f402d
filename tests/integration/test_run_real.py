"""Real models, from conversion to text: SmolLM2 answers, MiniLM embeds, and every tensor is what safetensors reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests.builders_load import Release, flip, release_of
from weightshare.errors import CorruptError, UnsupportedModelError
from weightshare.load.loader import Mode, state_dict
from weightshare.run import demo_checkpoint, transformers_runner
from weightshare.units import MIB

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def chat(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return release_of(smollm2, tmp_path_factory.mktemp("keys"), piece_length=MIB)


def test_the_demo_checkpoint_is_whole_and_found_again(smollm2: Path) -> None:
    shards = sorted(smollm2.glob("*.safetensors"))
    assert len(shards) == 5
    assert all(shard.stat().st_size <= 64 * MIB for shard in shards)
    names = {path.name for path in smollm2.iterdir()}
    assert {"README.md", "LICENSE", "config.json", "tokenizer.json", "chat_template.jinja"} <= names
    assert "Apache" in (smollm2 / "LICENSE").read_text()
    assert demo_checkpoint.GGUF in (smollm2 / "README.md").read_text()
    written = (smollm2 / "config.json").stat().st_mtime_ns
    assert demo_checkpoint.build(smollm2.parent) == smollm2
    assert (smollm2 / "config.json").stat().st_mtime_ns == written


@pytest.mark.parametrize("mode", ["mapped", "private"])
def test_every_tensor_is_what_safetensors_reads(chat: Release, mode: Mode) -> None:
    state = state_dict(chat.verified, chat.folder, device="cpu", mode=mode, layers=chat.layers)
    names = set()
    for shard in chat.folder.glob("*.safetensors"):
        for name, tensor in load_file(shard).items():
            assert state.tensors[name].equal(tensor)
            names.add(name)
    assert names == set(state.tensors)
    assert len(names) == 272


def test_the_capital_of_france_and_the_logits_of_transformers(chat: Release) -> None:
    with transformers_runner.load(chat.verified, chat.folder, device="cpu", layers=chat.layers) as runner:
        parts: list[str] = []
        answer = runner.generate("What is the capital of France?", max_new_tokens=16, on_text=parts.append)
        assert "Paris" in answer.text
        assert "".join(parts) == answer.text
        assert 0 < answer.tokens <= 16
        reference: Any = transformers.AutoModelForCausalLM.from_pretrained(chat.folder)
        tokens = runner.tokenizer("The quick brown fox", return_tensors="pt")  # type: ignore[misc]
        with torch.inference_mode():
            assert runner.model(**tokens).logits.equal(reference(**tokens).logits)


@pytest.mark.parametrize("mode", ["mapped", "private"])
def test_one_bit_in_a_real_shard_is_found(chat: Release, tmp_path: Path, mode: Mode) -> None:
    folder = tmp_path / "model"
    shutil.copytree(chat.folder, folder)
    shard = folder / "model-00003-of-00005.safetensors"
    flip(shard, 37 * MIB + 12345)
    with pytest.raises(CorruptError, match="piece 37 of 60") as caught:
        transformers_runner.load(chat.verified, folder, device="cpu", mode=mode, layers=chat.layers)
    assert caught.value.facts["path"] == shard.name
    assert caught.value.facts["pieces"] == [37]


def test_a_sentence_encoder_embeds_and_does_not_talk(minilm: Path, tmp_path: Path) -> None:
    release = release_of(minilm, tmp_path / "keys", piece_length=MIB)
    state = state_dict(release.verified, minilm, device="cpu", layers=release.layers)
    expected = load_file(minilm / "model.safetensors")
    assert state.tensors.keys() == expected.keys()
    assert all(state.tensors[name].equal(tensor) for name, tensor in expected.items())

    runner = transformers_runner.load(release.verified, minilm, device="cpu", layers=release.layers)
    assert type(runner.model) is transformers.BertModel
    tokenizer: Any = runner.tokenizer
    reference: Any = transformers.AutoModel.from_pretrained(minilm)
    tokens = tokenizer("The quick brown fox", return_tensors="pt")
    with torch.inference_mode():
        found, wanted = runner.model(**tokens), reference(**tokens)
    assert found.last_hidden_state.equal(wanted.last_hidden_state)
    assert found.pooler_output.equal(wanted.pooler_output)

    def embed(text: str) -> torch.Tensor:
        with torch.inference_mode():
            found: torch.Tensor = runner.model(**tokenizer(text, return_tensors="pt")).last_hidden_state.mean(
                1
            )
        return found

    def likeness(a: str, b: str) -> float:
        return float(torch.cosine_similarity(embed(a), embed(b)))

    assert likeness("a cat", "a kitten") > likeness("a cat", "the stock market") + 0.3
    with pytest.raises(UnsupportedModelError, match=r"BertModel.*does not generate text") as caught:
        runner.generate("hello")
    assert "weightshare.from_pretrained" in caught.value.hint
    assert caught.value.exit_code == 7
