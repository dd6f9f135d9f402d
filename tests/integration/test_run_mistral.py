"""Mistral's own layout: there and back is the same model, bit for bit, and its tokenizers are mistral-common's."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests.builders_load import Release, flip, release_of
from tests.builders_native import native_tensors, params_of, write_native
from weightshare.errors import CorruptError, MissingExtraError, PickleError, UnsupportedModelError, UsageError
from weightshare.load.loader import Mode, state_dict
from weightshare.run import generation, mistral_native, transformers_runner

SIZES: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
}


def original(folder: Path, kind: str, dtype: torch.dtype = torch.bfloat16) -> tuple[Any, Path]:
    """A small random model and its checkpoint as transformers writes it."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        if kind == "mixtral":
            config: Any = transformers.MixtralConfig(
                **SIZES, num_local_experts=3, num_experts_per_tok=2, sliding_window=None
            )
            model: Any = transformers.MixtralForCausalLM(config)
        else:
            # A head that is not hidden_size / heads, and a window that the test's text fills.
            config = transformers.MistralConfig(**SIZES, head_dim=12, sliding_window=16)
            model = transformers.MistralForCausalLM(config)
    model.to(dtype).eval().save_pretrained(folder)
    return model, folder


def load(release: Release, mode: Mode = "auto", *, allow_pickle: bool = False) -> transformers_runner.Runner:
    return transformers_runner.load(
        release.verified,
        release.folder,
        device="cpu",
        mode=mode,
        layers=release.layers,
        allow_pickle=allow_pickle,
    )


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(torch.arange(3, 60).unsqueeze(0)).logits
    return found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("form", ["single", "sharded", "pth", "pths"])
@pytest.mark.parametrize("kind", ["mistral", "mixtral"])
def test_there_and_back_is_the_same(tmp_path: Path, kind: str, form: str, dtype: torch.dtype) -> None:
    model, plain = original(tmp_path / "plain", kind, dtype)
    on_disk = load_file(plain / "model.safetensors")
    native = native_tensors(on_disk, model.config)
    release = release_of(
        write_native(tmp_path / "model", native, params_of(model.config), form), tmp_path / "keys"
    )
    pickled = form.startswith("pth")
    state = state_dict(
        release.verified, release.folder, device="cpu", layers=release.layers, allow_pickle=pickled
    )
    assert state.tensors.keys() == native.keys()
    assert all(state.tensors[name].equal(tensor) for name, tensor in native.items())

    data = (release.folder / "params.json").read_bytes()
    renamed = mistral_native.read_params(data, "acme/m@1").renamed(state.tensors)
    assert renamed.keys() == on_disk.keys()
    for name, tensor in on_disk.items():
        assert renamed[name].dtype == tensor.dtype
        assert renamed[name].equal(tensor), name

    runner = load(release, allow_pickle=pickled)
    assert type(runner.model) is type(model)
    assert runner.model.dtype == dtype
    assert runner.notes == ()
    reference: Any = type(model).from_pretrained(plain)
    assert logits(runner.model).equal(logits(reference))


@pytest.mark.parametrize("form", ["single", "pth"])
def test_all_but_turned_rows_are_used_as_they_lie(tmp_path: Path, form: str) -> None:
    model, plain = original(tmp_path / "plain", "mistral")
    native = native_tensors(load_file(plain / "model.safetensors"), model.config)
    folder = write_native(tmp_path / "model", native, params_of(model.config), form)
    release = release_of(folder, tmp_path / "keys")
    state = state_dict(release.verified, folder, device="cpu", layers=release.layers, allow_pickle=True)
    pointers = {tensor.data_ptr() for tensor in state.tensors.values()}
    params = mistral_native.read_params((folder / "params.json").read_bytes(), "acme/m@1")
    for name, tensor in params.renamed(state.tensors).items():
        assert (tensor.data_ptr() in pointers) == (".q_proj." not in name and ".k_proj." not in name), name


def test_pickles_need_a_flag_and_a_changed_file_gives_no_model(tmp_path: Path) -> None:
    model, plain = original(tmp_path / "plain", "mistral")
    native = native_tensors(load_file(plain / "model.safetensors"), model.config)
    release = release_of(
        write_native(tmp_path / "model", native, params_of(model.config), "pth"), tmp_path / "keys"
    )
    with pytest.raises(PickleError, match=r"consolidated\.00\.pth"):
        load(release)
    flip(release.folder / "consolidated.00.pth", 30_000)
    with pytest.raises(CorruptError, match=r"consolidated\.00\.pth"):
        load(release, allow_pickle=True)
    flip(release.folder / "consolidated.00.pth", 30_000)
    flip(release.folder / "params.json", 3)
    with pytest.raises(CorruptError, match=r"params\.json"):
        load(release, allow_pickle=True)


GOOD = {
    **{"dim": 32, "n_layers": 2, "head_dim": 8, "hidden_dim": 48, "n_heads": 4, "n_kv_heads": 2},
    **{"norm_eps": 1e-5, "vocab_size": 128},
}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"vision_encoder": {"hidden_size": 3}}, "vision_encoder"),
        ({"quantization": {"qformat_weight": "fp8_e4m3"}, "yarn": {"beta": 4}}, "quantization, yarn"),
        ({"activation": "gelu"}, "activation is 'gelu'"),
        ({"use_biases": True}, "use_biases"),
        ({"sliding_window": [None, 4]}, "sliding_window"),
        ({"n_heads": 0}, "n_heads is 0"),
        ({"n_layers": "2"}, "n_layers"),
        ({"dim": None}, "dim is missing"),
        ({"norm_eps": -1}, "norm_eps"),
        ({"rope_theta": "big"}, "rope_theta"),
        ({"moe": {"num_experts": 3}}, "moe"),
        ({"moe": {"num_experts": 3, "num_experts_per_tok": 2, "expert_hidden_dim": 4}}, "moe"),
    ],
)
def test_params_that_are_not_known_are_named(change: dict[str, object], what: str) -> None:
    with pytest.raises(UnsupportedModelError, match=what):
        mistral_native.read_params(json.dumps({**GOOD, **change}).encode(), "acme/m@1")


@pytest.mark.parametrize("data", [b"[]", b"{", b"", b"[" * 100_000, b"\xff"])
def test_params_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedModelError, match="no JSON object"):
        mistral_native.read_params(data, "acme/m@1")


def test_what_params_leave_out_is_as_in_the_reference() -> None:
    def config(**more: object) -> Any:
        return mistral_native.read_params(json.dumps({**GOOD, **more}).encode(), "acme/m@1").config

    assert config().rope_parameters["rope_theta"] == 1e6
    assert config().sliding_window is None
    assert config(sliding_window=64).rope_parameters["rope_theta"] == 1e4
    assert config(sliding_window=64, rope_theta=7.0).rope_parameters["rope_theta"] == 7.0
    assert config(tied_embeddings=True).tie_word_embeddings
    assert config(max_seq_len=99).max_position_embeddings == 99
    assert config(head_dim=None, n_kv_heads=None).num_key_value_heads == 4


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("vision_encoder.conv.weight", (4, 4)),
        ("layers.0.attention.wq.qscale_weight", (1,)),
        ("layers.0.attention.wq.weight", (31, 32)),
        ("layers.0.attention.wk.weight", (16,)),
        ("layers.x.attention.wk.weight", (16, 32)),
    ],
)
def test_tensors_that_are_not_known_are_named(name: str, shape: tuple[int, ...]) -> None:
    params = mistral_native.read_params(json.dumps(GOOD).encode(), "acme/m@1")
    with pytest.raises(UnsupportedModelError) as caught:
        params.renamed({name: torch.zeros(shape), "rope.freqs": torch.zeros(3)})
    assert caught.value.facts["tensor"] == name


# ---- tokenizers


def shipped(name: str) -> Path:
    """A tokenizer that mistral-common brings along."""
    spec = importlib.util.find_spec("mistral_common")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs mistral-common")
    return Path(spec.submodule_search_locations[0]) / "data" / name


TOKENIZERS = [
    ("tekken.json", "tekken_240911.json"),
    ("tokenizer.model", "tokenizer.model.v1"),
    ("tokenizer.model.v3", "mistral_instruct_tokenizer_240323.model.v3"),
]


@pytest.mark.parametrize(("name", "source"), TOKENIZERS)
def test_tokenizers_read_as_mistral_common_reads_them(tmp_path: Path, name: str, source: str) -> None:
    shipped(source)  # skips without mistral-common
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    # The file's name says which version of sentencepiece model it is, the first one's having none.
    shutil.copyfile(shipped(source), tmp_path / name)
    tokenizer = mistral_native.read_tokenizer(tmp_path, "acme/m@1")
    assert tokenizer is not None
    text = "The capital of France is Paris — 巴黎."
    tokens = tokenizer(text, return_tensors="pt")["input_ids"]
    assert tokenizer.decode(tokens[0], skip_special_tokens=True) == text

    messages = [{"role": "user", "content": "Hello"}]
    theirs = MistralTokenizer.from_file(str(tmp_path / name)).encode_chat_completion(
        ChatCompletionRequest.from_openai(messages=messages)
    )
    assert generation.encode(tokenizer, "Hello").tolist() == [theirs.tokens]
    assert generation.encode(tokenizer, messages).tolist() == [theirs.tokens]


def test_a_native_release_answers(tmp_path: Path) -> None:
    config = transformers.MistralConfig(**{**SIZES, "vocab_size": 32768, "num_hidden_layers": 1})
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model: Any = transformers.MistralForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "plain")
    native = native_tensors(load_file(tmp_path / "plain" / "model.safetensors"), config)
    folder = write_native(tmp_path / "model", native, params_of(config), "single")
    shutil.copyfile(shipped("mistral_instruct_tokenizer_240323.model.v3"), folder / "tokenizer.model.v3")
    release = release_of(folder, tmp_path / "keys")
    with load(release) as runner:
        assert runner.chat
        parts: list[str] = []
        answer = runner.generate("Hello", max_new_tokens=8, on_text=parts.append)
        assert answer.tokens <= 8
        assert "".join(parts) == answer.text
        tokens = generation.encode(runner.tokenizer, "Hello")
        reference: Any = transformers.MistralForCausalLM.from_pretrained(tmp_path / "plain")
        expected = reference.generate(tokens, max_new_tokens=8, do_sample=False)[0, tokens.shape[1] :]
        assert runner.tokenizer is not None
        assert answer.text == runner.tokenizer.decode(expected, skip_special_tokens=True)
        with pytest.raises(UsageError, match="refuses"):
            runner.generate([{"role": "assistant", "content": "I begin."}])
    flip(folder / "tokenizer.model.v3", 1000)
    with pytest.raises(CorruptError, match=r"tokenizer\.model\.v3"):
        load(release)


@pytest.mark.parametrize("beside", [False, True], ids=["tekken alone", "beside tokenizer.json"])
def test_in_transformers_layout_its_own_tokenizer_comes_first(tmp_path: Path, beside: bool) -> None:
    from tests.integration.test_run_tiny import words

    tekken = shipped("tekken_240911.json")
    _, folder = original(tmp_path / "model", "mistral")
    if beside:
        words(folder, chat=True)
    shutil.copyfile(tekken, folder / "tekken.json")
    runner = load(release_of(folder, tmp_path / "keys"))
    assert runner.chat
    assert runner.tokenizer is not None
    assert (type(runner.tokenizer).__name__ == "MistralCommonBackend") != beside
    tokens = generation.encode(runner.tokenizer, "w9").tolist()[0]
    assert (tokens == [5, 9, 6]) == beside


@pytest.mark.parametrize("data", [b"", b"{}", b"no tokenizer", b'{"config": {"pattern": "("}}'])
@pytest.mark.parametrize("name", ["tekken.json", "tokenizer.model.v3"])
def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    shipped(name)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnsupportedModelError, match=name):
        mistral_native.read_tokenizer(tmp_path, "acme/m@1")


def test_a_missing_mistral_common_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.utils.import_utils.is_mistral_common_available", lambda: False)
    (tmp_path / "tekken.json").write_text("{}")
    with pytest.raises(MissingExtraError) as caught:
        mistral_native.read_tokenizer(tmp_path, "acme/m@1")
    assert "weightshare[mistral]" in caught.value.hint
    (tmp_path / "tekken.json").unlink()
    assert mistral_native.read_tokenizer(tmp_path, "acme/m@1") is None
