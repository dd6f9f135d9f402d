"""Where other programs keep models on this machine, as each of them documents it.

- Hugging Face Hub cache, which vLLM, transformers and newer versions of llama.cpp use: `HF_HUB_CACHE`, see
  `weightshare.hub.settings`.
- Ollama, `docs/faq`: `OLLAMA_MODELS`, else `~/.ollama/models`; where its Linux installer made a user for the service,
  `/usr/share/ollama/.ollama/models`. The files are `blobs/sha256-<digest>`.
- LM Studio, "Import Models" and its `lms` tool: `models` in the folder that `~/.lmstudio-home-pointer` names, in
  `~/.lmstudio`, or in `~/.cache/lm-studio` as older versions had it; `downloadsFolder` in its `settings.json`.
- llama.cpp, `fs_get_cache_directory`: `LLAMA_CACHE`, else `llama.cpp` in the platform's cache folder.
- vLLM, `vllm/envs.py`: `VLLM_CACHE_ROOT`, else `vllm` in `XDG_CACHE_HOME` or `~/.cache`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_POINTER_LIMIT = 4096
_SETTINGS_LIMIT = 1024 * 1024
_OLLAMA_SERVICE = Path("/usr/share/ollama/.ollama/models")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder to look in, and whose it is; empty for one that the user named."""

    tool: str
    path: Path


def known_places(
    env: Mapping[str, str], hub_cache: Path, *, system: str = sys.platform, service: Path = _OLLAMA_SERVICE
) -> tuple[Place, ...]:
    """The folders where models of other programs may lie, each once; whether they are there is not looked at.

    Args:
        env: the environment that those programs would see.
        hub_cache: the Hub cache.
        system: as `sys.platform` has it.
        service: where Ollama's service on Linux keeps its models.
    """
    home = Path(env.get("HOME") or env.get("USERPROFILE") or Path.home())
    caches = Path(env["XDG_CACHE_HOME"]) if env.get("XDG_CACHE_HOME") else home / ".cache"
    places = [Place("Hugging Face", hub_cache)]
    # `blobs` and not the folder around it: it may be a link to another disk, and the rest of it is small notes.
    named = env.get("OLLAMA_MODELS", "").strip(" \"'")
    ollama = [_folder(named, home)] if named else [home / ".ollama" / "models"]
    if system == "linux":
        ollama.append(service)
    places += [Place("Ollama", folder / "blobs") for folder in ollama]
    places += [Place("LM Studio", folder) for folder in _lm_studio(home)]
    places.append(Place("llama.cpp", _llama_cpp(env, home, caches, system)))
    root = env.get("VLLM_CACHE_ROOT")
    places.append(Place("vLLM", _folder(root, home) if root else caches / "vllm"))
    once: dict[Path, Place] = {}
    for place in places:
        once.setdefault(place.path, place)
    return tuple(once.values())


def _llama_cpp(env: Mapping[str, str], home: Path, caches: Path, system: str) -> Path:
    if env.get("LLAMA_CACHE"):
        return _folder(env["LLAMA_CACHE"], home)
    if system == "darwin":
        return home / "Library" / "Caches" / "llama.cpp"
    if system == "win32":
        return Path(env.get("LOCALAPPDATA") or home / "AppData" / "Local") / "llama.cpp"
    return caches / "llama.cpp"


def _lm_studio(home: Path) -> Iterator[Path]:
    own = [home / ".lmstudio", home / ".cache" / "lm-studio"]
    pointed = _read(home / ".lmstudio-home-pointer", _POINTER_LIMIT).strip()
    if pointed and Path(pointed).is_absolute():
        own.insert(0, Path(pointed))
    for folder in own:
        yield folder / "models"
        try:
            said = json.loads(_read(folder / "settings.json", _SETTINGS_LIMIT) or "{}")
        except (ValueError, RecursionError):
            continue
        downloads = said.get("downloadsFolder") if isinstance(said, dict) else None
        if isinstance(downloads, str) and Path(downloads).is_absolute():
            yield Path(downloads)


def _read(path: Path, limit: int) -> str:
    """A small text file of another program; empty if it is not there or is no such thing."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(limit).decode()
    except (OSError, ValueError):
        return ""


def _folder(named: str, home: Path) -> Path:
    """A folder as a variable names it: `~` is the home folder of the environment given."""
    return home / named[2:] if named.startswith("~/") else Path(named).absolute()
