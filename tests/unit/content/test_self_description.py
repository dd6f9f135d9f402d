"""What a release's small files say, honest ones and ones made to mislead."""

from __future__ import annotations

import json

import pytest

from weightshare.content.self_description import MAX_ALL, MAX_FILE, describe, named_kernel, telling


def test_small_files_alone_are_read_and_few_bytes_together() -> None:
    names = [f"additional_chat_templates/{number}.jinja" for number in range(4)]
    sizes = {
        "config.json": 700,
        "model.safetensors": 10,
        "tokenizer.json": 10,
        "sub/config.json": 10,
        "generation_config.json": 0,
        "tokenizer_config.json": MAX_FILE + 1,
        **dict.fromkeys(names, MAX_FILE),
    }
    wanted, too_long = telling(sizes)
    assert "config.json" in wanted
    assert sum(sizes[path] for path in wanted) <= MAX_ALL
    assert set(wanted) | set(too_long) == {"config.json", "tokenizer_config.json", *names}
    assert "tokenizer_config.json" in too_long


def test_what_a_release_with_code_says() -> None:
    config = {
        "architectures": ["NewForCausalLM", 3],
        "model_type": "new",
        "auto_map": {"AutoConfig": "configuration_new.NewConfig", "AutoTokenizer": ["a.B", None]},
        "custom_pipelines": {"text-generation": {"impl": "pipeline_new.Run", "pt": ["AutoModel"]}},
    }
    says = describe(
        {
            "config.json": json.dumps(config).encode(),
            "tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": "acme/other--tok.Tok"}}',
            "README.md": b"{",
        }
    )
    assert says.read == ("config.json", "tokenizer_config.json")
    assert says.architectures == ("NewForCausalLM",)
    assert says.model_type == "new"
    assert {code.where for code in says.code} == {
        "configuration_new.NewConfig",
        "a.B",
        "pipeline_new.Run",
        "acme/other--tok.Tok",
    }
    assert {code.path for code in says.code} == {"config.json", "tokenizer_config.json"}
    assert says.problems == ()


def test_templates_are_found_wherever_they_may_stand() -> None:
    several = {
        "chat_template": [{"name": "default", "template": "A"}, {"name": "tool_use", "template": "B"}, 3]
    }
    says = describe(
        {
            "tokenizer_config.json": json.dumps(several).encode(),
            "chat_template.jinja": b"C\xff",
            "chat_template.json": b'{"chat_template": {"rag": "D"}}',
            "additional_chat_templates/x.jinja": b"E",
        }
    )
    found = {(one.name, one.path, one.text) for one in says.templates}
    assert found == {
        ("default", "tokenizer_config.json", "A"),
        ("tool_use", "tokenizer_config.json", "B"),
        ("default", "chat_template.jinja", "C\\xff"),
        ("rag", "chat_template.json", "D"),
        ("x", "additional_chat_templates/x.jinja", "E"),
    }


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"null"],
)
def test_files_that_are_no_json_are_named_and_nothing_is_raised(data: bytes) -> None:
    says = describe({"config.json": data})
    assert says.problems == ("config.json is not a JSON object",)
    assert says.architectures == ()


@pytest.mark.parametrize(
    "key", ["architectures", "model_type", "auto_map", "chat_template", "custom_pipelines"]
)
@pytest.mark.parametrize("value", [3, None, [], {}, [[]], {"a": 3}, [None], {"a": [3]}, True])
def test_fields_of_the_wrong_kind_say_nothing(key: str, value: object) -> None:
    data = json.dumps({key: value}).encode()
    says = describe({"config.json": data, "tokenizer_config.json": data})
    assert (says.architectures, says.model_type, says.code, says.templates) == ((), "", (), ())


def test_a_kernel_is_found_however_deep_it_is_hidden() -> None:
    config: object = {"attn_implementation": "evil/kernel"}
    for _ in range(50_000):
        config = {"a": [config]}
    assert named_kernel(config) == "evil/kernel"
    assert named_kernel({"attn_implementation": "sdpa", "name": "a/b"}) == ""
