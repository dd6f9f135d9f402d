"""What file names say of a checkpoint, over listings like those that people publish."""

from __future__ import annotations

import pytest

from weightshare.load.layouts import layout_of

TOKENIZER = ["special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"]
CARD = [".gitattributes", "LICENSE", "README.md"]
SINGLE = [*CARD, "config.json", "generation_config.json", "model.safetensors", *TOKENIZER]
SHARDS = [f"model-{i:05}-of-00003.safetensors" for i in (1, 2, 3)]
SHARDED = [*CARD, "config.json", *SHARDS, "model.safetensors.index.json", *TOKENIZER]
MISTRAL = [*CARD, "consolidated.safetensors", "params.json", "tekken.json"]
ADAPTER = ["README.md", "adapter_config.json", "adapter_model.safetensors"]
DIFFUSERS = [
    *("README.md", "model_index.json", "feature_extractor/preprocessor_config.json"),
    *("scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/model.safetensors"),
    *("text_encoder/model.fp16.safetensors", "text_encoder/pytorch_model.bin", "tokenizer/merges.txt"),
    *("tokenizer/vocab.json", "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors"),
    *("unet/diffusion_pytorch_model.safetensors", "v1-5-pruned.safetensors", "vae/config.json"),
    "vae/diffusion_pytorch_model.safetensors",
]
MINILM = [
    *("1_Pooling/config.json", "README.md", "config.json", "config_sentence_transformers.json"),
    *("model.safetensors", "modules.json", "onnx/model.onnx", "pytorch_model.bin"),
    *("sentence_bert_config.json", "special_tokens_map.json", "tokenizer.json", "vocab.txt"),
]


@pytest.mark.parametrize(
    ("paths", "kind", "weights", "lacks", "extra"),
    [
        pytest.param(SINGLE, "huggingface", ["model.safetensors"], [], "run", id="single"),
        pytest.param(SHARDED, "huggingface", SHARDS, [], "run", id="sharded"),
        pytest.param(
            [*SHARDED, "consolidated.safetensors", "params.json", "tekken.json", "tokenizer.model.v3"],
            *("huggingface", SHARDS, [], "run"),
            id="both layouts, as Mistral publishes them",
        ),
        pytest.param(
            [*SHARDED, "original/consolidated.00.pth", "original/params.json", "original/tokenizer.model"],
            *("huggingface", SHARDS, [], "run"),
            id="both layouts, as Meta publishes them",
        ),
        pytest.param(
            [p for p in SHARDED if p != SHARDS[1]],
            *("huggingface", [SHARDS[0], SHARDS[2]], [SHARDS[1]], "run"),
            id="a shard is missing",
        ),
        pytest.param(
            [*SHARDED, "model.safetensors"], "huggingface", SHARDS, [], "run", id="sharded and whole"
        ),
        pytest.param(
            ["config.json", "weights.safetensors", "vocab.txt"],
            *("huggingface", ["weights.safetensors"], [], "run"),
            id="a shard of another name",
        ),
        pytest.param(
            ["model.safetensors"],
            *("huggingface", ["model.safetensors"], ["config.json", "a tokenizer"], "run"),
            id="weights alone",
        ),
        pytest.param(["config.json", *TOKENIZER], "huggingface", [], ["weights"], "run", id="no weights"),
        pytest.param(
            ["config.json", "pytorch_model.bin", "tokenizer.json"],
            *("huggingface", ["pytorch_model.bin"], ["pytorch_model.bin is a pickle"], "run"),
            id="weights as a pickle",
        ),
        pytest.param(
            MINILM, "huggingface", ["model.safetensors"], ["sentence encoder"], "run", id="sentence encoder"
        ),
        pytest.param(
            ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"],
            *("huggingface", ["model.safetensors"], [], "run"),
            id="an encoder with a WordPiece vocabulary",
        ),
        pytest.param(MISTRAL, "mistral", ["consolidated.safetensors"], [], "mistral", id="Mistral"),
        pytest.param(
            ["config.json", *MISTRAL],
            *("mistral", ["consolidated.safetensors"], [], "mistral"),
            id="Mistral, with a config beside it",
        ),
        pytest.param(
            [
                *("consolidated-00001-of-00002.safetensors", "consolidated-00002-of-00002.safetensors"),
                *("consolidated.safetensors.index.json", "params.json", "tekken.json"),
            ],
            "mistral",
            ["consolidated-00001-of-00002.safetensors", "consolidated-00002-of-00002.safetensors"],
            [],
            "mistral",
            id="Mistral, sharded",
        ),
        pytest.param(
            ["consolidated-00001-of-00002.safetensors", "params.json", "tekken.json"],
            *("mistral", ["consolidated-00001-of-00002.safetensors"]),
            *(["consolidated-00002-of-00002.safetensors"], "mistral"),
            id="Mistral, half of it",
        ),
        pytest.param(
            ["consolidated.00.pth", "params.json", "tokenizer.model"],
            *("mistral", ["consolidated.00.pth"], [], "mistral"),
            id="Mistral, its first release",
        ),
        pytest.param(
            ["consolidated.00.pth", "consolidated.01.pth", "params.json"],
            *("mistral", ["consolidated.00.pth", "consolidated.01.pth"], ["a tokenizer"], "mistral"),
            id="Mistral, pickles, no tokenizer",
        ),
        pytest.param(
            DIFFUSERS,
            "diffusers",
            [
                *("text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors"),
                "vae/diffusion_pytorch_model.safetensors",
            ],
            ["pipeline"],
            "run",
            id="diffusers",
        ),
        pytest.param(
            ["model_index.json", "unet/diffusion_pytorch_model.bin"],
            *("diffusers", [], ["pipeline", "only pickles"], "run"),
            id="diffusers, pickles only",
        ),
        pytest.param(
            ADAPTER, "adapter", ["adapter_model.safetensors"], ["the base model"], "adapters", id="adapter"
        ),
        pytest.param(
            ["adapter_config.json", "adapter_model.bin"],
            *("adapter", ["adapter_model.bin"], ["the base model", "is a pickle"], "adapters"),
            id="adapter as a pickle",
        ),
        pytest.param(
            ["adapter_config.json", "README.md"],
            *("adapter", [], ["the base model", "adapter_model.safetensors"], "adapters"),
            id="adapter without weights",
        ),
        pytest.param(
            [*SINGLE, *ADAPTER],
            *("huggingface", ["model.safetensors"], [], "run"),
            id="a whole model with an adapter",
        ),
        pytest.param(
            ["README.md", "m.Q4_K_M.gguf", "m.Q8_0.gguf"],
            *("gguf", ["m.Q4_K_M.gguf", "m.Q8_0.gguf"], [], "gguf"),
            id="GGUF, two precisions",
        ),
        pytest.param(
            ["Q8/m-00001-of-00002.gguf", "config.json"],
            *("gguf", ["Q8/m-00001-of-00002.gguf"], ["Q8/m-00002-of-00002.gguf"], "gguf"),
            id="GGUF, half of it",
        ),
        pytest.param(
            [*SINGLE, "m.Q8_0.gguf"], "huggingface", ["model.safetensors"], [], "run", id="and GGUF"
        ),
        pytest.param(
            ["model/a.safetensors", "README.md"],
            *("unknown", ["model/a.safetensors"], ["model/a.safetensors is in a folder", "config"], "run"),
            id="weights in a folder",
        ),
        pytest.param(["README.md"], "unknown", [], ["weights", "config.json"], "", id="a card"),
        pytest.param(["model.pt"], "unknown", [], ["model.pt is a pickle", "config"], "", id="a pickle"),
        pytest.param([], "unknown", [], ["weights", "config.json"], "", id="nothing"),
    ],
)
def test_a_listing_is_known_for_what_it_is(
    paths: list[str], kind: str, weights: list[str], lacks: list[str], extra: str
) -> None:
    layout = layout_of(paths)
    assert layout.kind == kind
    assert list(layout.weights) == weights
    assert layout.extra == extra
    assert len(layout.lacks) == len(lacks), layout.lacks
    for found, expected in zip(layout.lacks, lacks, strict=True):
        assert expected in found
    assert layout.pickles == any(path.endswith((".pth", ".bin")) for path in weights)
    assert layout.what
    assert layout_of(list(reversed(paths))).kind == kind


def test_config_and_tokenizer_are_told_from_weights() -> None:
    layout = layout_of(SHARDED)
    assert layout.config == ("config.json", "model.safetensors.index.json")
    assert layout.tokenizer == ("special_tokens_map.json", "tokenizer.json", "tokenizer_config.json")
    assert layout_of(MISTRAL).config == ("params.json",)
    assert layout_of(MISTRAL).tokenizer == ("tekken.json",)
    assert layout_of(ADAPTER).config == ("adapter_config.json",)


def test_the_models_of_a_pipeline_are_named_each_with_its_weights() -> None:
    layout = layout_of(DIFFUSERS)
    assert layout.components == {
        "text_encoder": ("text_encoder/model.safetensors",),
        "unet": ("unet/diffusion_pytorch_model.safetensors",),
        "vae": ("vae/diffusion_pytorch_model.safetensors",),
    }
    assert "unet/config.json" in layout.config
    assert layout.tokenizer == ("tokenizer/merges.txt", "tokenizer/vocab.json")


def test_a_pipeline_with_only_one_precision_is_loaded_in_that() -> None:
    layout = layout_of(["model_index.json", "unet/diffusion_pytorch_model.fp16.safetensors"])
    assert layout.components == {"unet": ("unet/diffusion_pytorch_model.fp16.safetensors",)}


def test_names_long_or_odd_cost_nothing() -> None:
    odd = ["-" * 1000, "a-99999-of-00000.safetensors", "x" * 1000 + "-00001-of-99999.gguf", "\n", "//", "a/"]
    assert layout_of(odd).kind in ("huggingface", "gguf")
