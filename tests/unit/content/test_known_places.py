"""Where other programs keep models, as they document it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weightshare.content.known_places import known_places


def places(
    home: Path, env: dict[str, str] | None = None, *, system: str = "linux", hub: Path = Path("/hub")
) -> dict[str, list[Path]]:
    """The folders of each program."""
    found: dict[str, list[Path]] = {}
    for place in known_places(
        {"HOME": str(home), **(env or {})}, hub, system=system, service=Path("/srv/ol")
    ):
        found.setdefault(place.tool, []).append(place.path)
    return found


def test_with_nothing_set_they_are_in_the_home_folder(tmp_path: Path) -> None:
    assert places(tmp_path) == {
        "Hugging Face": [Path("/hub")],
        "Ollama": [tmp_path / ".ollama/models/blobs", Path("/srv/ol/blobs")],
        "LM Studio": [tmp_path / ".lmstudio/models", tmp_path / ".cache/lm-studio/models"],
        "llama.cpp": [tmp_path / ".cache/llama.cpp"],
        "vLLM": [tmp_path / ".cache/vllm"],
    }


@pytest.mark.parametrize(
    ("name", "value", "tool", "expected"),
    [
        ("OLLAMA_MODELS", "/big/ollama", "Ollama", "/big/ollama/blobs"),
        ("OLLAMA_MODELS", ' "/big/ollama" ', "Ollama", "/big/ollama/blobs"),
        ("LLAMA_CACHE", "/big/llama", "llama.cpp", "/big/llama"),
        ("XDG_CACHE_HOME", "/big/cache", "llama.cpp", "/big/cache/llama.cpp"),
        ("XDG_CACHE_HOME", "/big/cache", "vLLM", "/big/cache/vllm"),
        ("VLLM_CACHE_ROOT", "/big/vllm", "vLLM", "/big/vllm"),
    ],
)
def test_the_programs_own_variables_say_otherwise(
    name: str, value: str, tool: str, expected: str, tmp_path: Path
) -> None:
    assert places(tmp_path, {name: value})[tool][0] == Path(expected)


def test_a_variable_may_begin_with_the_home_folder(tmp_path: Path) -> None:
    assert places(tmp_path, {"VLLM_CACHE_ROOT": "~/v"})["vLLM"] == [tmp_path / "v"]


@pytest.mark.parametrize(
    ("system", "expected"),
    [("darwin", "Library/Caches/llama.cpp"), ("win32", "AppData/Local/llama.cpp")],
)
def test_llama_cpp_follows_the_platform(system: str, expected: str, tmp_path: Path) -> None:
    found = places(tmp_path, system=system)
    assert found["llama.cpp"] == [tmp_path / expected]
    assert found["Ollama"] == [tmp_path / ".ollama/models/blobs"], "no service of Linux's there"


def test_lm_studio_says_itself_where_its_models_are(tmp_path: Path) -> None:
    elsewhere = tmp_path / "studio"
    elsewhere.mkdir()
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{elsewhere}\n")
    (elsewhere / "settings.json").write_text(json.dumps({"downloadsFolder": str(tmp_path / "downloads")}))
    assert places(tmp_path)["LM Studio"][:2] == [elsewhere / "models", tmp_path / "downloads"]


@pytest.mark.parametrize("pointer", [b"\xff\xfe", b"relative/folder", b""])
@pytest.mark.parametrize("settings", [b"{", b"[]", b'{"downloadsFolder": 3}', b'{"downloadsFolder": "here"}'])
def test_what_it_says_may_be_nonsense(pointer: bytes, settings: bytes, tmp_path: Path) -> None:
    (tmp_path / ".lmstudio").mkdir()
    (tmp_path / ".lmstudio-home-pointer").write_bytes(pointer)
    (tmp_path / ".lmstudio/settings.json").write_bytes(settings)
    assert places(tmp_path)["LM Studio"] == [
        tmp_path / ".lmstudio/models",
        tmp_path / ".cache/lm-studio/models",
    ]


def test_a_folder_that_two_programs_share_is_looked_in_once(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    found = places(tmp_path, {"LLAMA_CACHE": str(shared), "VLLM_CACHE_ROOT": str(shared)}, hub=shared)
    assert found["Hugging Face"] == [shared]
    assert "llama.cpp" not in found
    assert "vLLM" not in found
