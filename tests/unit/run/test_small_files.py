"""Which files transformers gets to see, and what is taken out of them first."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from tests.builders_load import flip, release_of
from weightshare.errors import CorruptError, UnsupportedModelError
from weightshare.run.small_files import is_wanted, proven_folder, read_config

FILES = {
    "config.json": '{"architectures": ["LlamaForCausalLM"]}',
    "tokenizer_config.json": '{"vocab_file": "/etc/passwd", "name_or_path": "x/y", "unk_token": "?"}',
    "additional_chat_templates/tools.jinja": "{{ messages }}",
    "modeling_evil.py": "raise SystemExit",
    "config.json.py": "raise SystemExit",
    "model.safetensors": "weights",
    "README.md": "# hello",
    "tokenizer.pkl": "pickle",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    "path",
    [
        *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "merges.txt"),
        *("special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "spiece.model"),
        *(
            "tokenizer.model",
            "chat_template.jinja",
            "chat_template.json",
            "additional_chat_templates/rag.jinja",
        ),
        *("tokenizer.model.v3", "tekken.json", "sentencepiece.bpe.model", "qwen.tiktoken"),
    ],
)
def test_what_a_tokenizer_may_need_is_wanted(path: str) -> None:
    assert is_wanted(path)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "modeling.py",
            "tokenizer.py",
            "model.safetensors",
            "pytorch_model.bin",
            "tokenizer.pkl",
            "README.md",
        ),
        *(
            "model.safetensors.index.json",
            "adapter_config.json",
            "sub/config.json",
            "x/y.model",
            "evil.jinja",
        ),
    ],
)
def test_the_rest_is_not(path: str) -> None:
    assert not is_wanted(path)


def test_only_proven_small_files_are_copied_and_the_folder_is_private(folder: Path, tmp_path: Path) -> None:
    release = release_of(folder, tmp_path / "keys")
    with proven_folder(release.verified.manifest, folder, {}) as target:
        found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
        assert found == {"config.json", "tokenizer_config.json", "additional_chat_templates/tools.jinja"}
        assert (target / "config.json").read_text() == FILES["config.json"]
        assert json.loads((target / "tokenizer_config.json").read_text()) == {"unk_token": "?"}
        if sys.platform != "win32":
            assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert not target.exists()


def test_a_changed_small_file_is_refused(folder: Path, tmp_path: Path) -> None:
    release = release_of(folder, tmp_path / "keys")
    flip(folder / "tokenizer_config.json", 20)
    with (
        pytest.raises(CorruptError, match="tokenizer_config"),
        proven_folder(release.verified.manifest, folder, {}),
    ):
        pytest.fail("the folder must not be handed out")


@pytest.mark.parametrize("text", ["[]", "{", "null", "[" * 100_000, None])
def test_a_config_that_is_none_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UnsupportedModelError, match=r"config\.json"):
        read_config(tmp_path, "acme/m@1")


@pytest.mark.parametrize(
    "config",
    [
        {"attn_implementation": "evil/kernel"},
        {"text_config": {"_attn_implementation": "evil/kernel@main:run"}},
        {"attn_implementation": {"": "sdpa", "vision_config": "evil/kernel"}},
        {"per_layer_config": [{"experts_implementation": "evil/kernel"}]},
    ],
)
def test_a_config_that_asks_for_a_kernel_from_the_network_is_refused(
    tmp_path: Path, config: dict[str, object]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match="evil/kernel"):
        read_config(tmp_path, "acme/m@1")
    (tmp_path / "config.json").write_text(json.dumps({"attn_implementation": "sdpa", "name": "a/b"}))
    assert read_config(tmp_path, "acme/m@1")["name"] == "a/b"
