"""How a checkpoint is laid out, told by its file names alone: what can be said before anything is downloaded.

A name is a hint and no proof. What is loaded is decided again from proven bytes; a file that is not what its name
says is refused there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from weightshare.manifest.kinds import is_pickle

Kind = Literal["huggingface", "mistral", "diffusers", "adapter", "gguf", "unknown"]

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PARAMS = "params.json"
CONSOLIDATED_INDEX = "consolidated.safetensors.index.json"
MODEL_INDEX = "model_index.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "adapter_model.safetensors"
SENTENCE_MODULES = "modules.json"
SUFFIX = ".safetensors"

_CONSOLIDATED = re.compile(r"consolidated([-.]\d+(-of-\d+)?)?\.safetensors")
_CONSOLIDATED_PICKLE = re.compile(r"consolidated(\.\d+)?\.pth")
_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{5,6})-of-(?P<count>\d{5,6})(?P<suffix>\.\w+)")
_PICKLED_MODEL = re.compile(r"(pytorch_model|model)(-\d+-of-\d+)?\.(bin|pt|pth)")
_VARIANT = re.compile(r"\.(bf16|fp16|fp8|ema|non_ema)(?=[.-])")
_TOKENIZER = re.compile(
    r"(tokenizer|special_tokens_map|added_tokens|vocab)[\w.-]*\.json|chat_template[\w.-]*\.(jinja|json)"
    r"|vocab[\w.-]*\.txt|merges\.txt|tekken[\w.-]*\.json"
    r"|[\w.-]+\.(model|model\.v\d+\w*|spm|tiktoken|bpe)"
)
_READS_TEXT = re.compile(
    r"tokenizer\.json|tekken[\w.-]*\.json|vocab[\w.-]*|[\w.-]+\.(model[\w.]*|spm|tiktoken|bpe)"
)

_WHAT = {
    "huggingface": "a transformers model",
    "mistral": "a model in Mistral's own layout",
    "diffusers": "a diffusers pipeline of several models",
    "adapter": "a LoRA or other PEFT adapter",
    "gguf": "GGUF files",
    "unknown": "no layout known here",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """What the file names of a checkpoint say.

    Attributes:
        kind: `huggingface`, `mistral`, `diffusers`, `adapter`, `gguf` or `unknown`.
        weights: the files that a loader reads tensors from, in the order given; of weights that are there twice,
            in two layouts or two precisions, only those that are loaded.
        config: the files that say what the model is.
        tokenizer: the files of its tokenizer.
        components: for a pipeline, each model's folder and its weights.
        pickles: whether `weights` are Python pickles, which are read only with `--allow-pickle`.
        lacks: what is missing for `run` to answer with it, each in words; empty if nothing is, as far as names say.
        extra: the extra that has to be installed to load it, such as `run`; empty where none helps.
    """

    kind: Kind
    weights: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    tokenizer: tuple[str, ...] = ()
    components: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    pickles: bool = False
    lacks: tuple[str, ...] = ()
    extra: str = ""

    @property
    def what(self) -> str:
        """The kind in words, such as `a transformers model`."""
        return _WHAT[self.kind]


def layout_of(paths: Sequence[str]) -> Layout:
    """The layout of a checkpoint with files of these names.

    Args:
        paths: relative, with `/`, as a manifest lists them.
    """
    top = [path for path in paths if "/" not in path]
    found = set(top)
    if MODEL_INDEX in found:
        return _diffusers(paths, top)
    plain = _plain_weights(top)
    if ADAPTER_CONFIG in found and not plain:
        return _adapter(top)
    native = [path for path in top if _CONSOLIDATED.fullmatch(path)]
    pickled = [path for path in top if _CONSOLIDATED_PICKLE.fullmatch(path)]
    if PARAMS in found and (native or pickled) and not (plain and CONFIG in found):
        return _mistral(top, native, pickled)
    gguf = [path for path in paths if path.lower().endswith(".gguf")]
    if gguf and not plain and not native:
        return Layout(
            "gguf", tuple(gguf), _only(top, CONFIG), _tokenizer(top), lacks=_gaps(gguf), extra="gguf"
        )
    if plain or native or CONFIG in found:
        return _huggingface(paths, top, plain or native)
    return _unknown(paths)


def _plain_weights(top: Sequence[str]) -> list[str]:
    """Safetensors at the top that are transformers' own: the numbered shards, the single file, or else all."""
    shards = [path for path in top if path.endswith(SUFFIX) and not _is_other_layout(path)]
    if INDEX in top:
        numbered = [path for path in shards if path.startswith("model-") and _NUMBERED.fullmatch(path)]
        return numbered or shards
    return [SINGLE] if SINGLE in shards else shards


def _is_other_layout(path: str) -> bool:
    return bool(_CONSOLIDATED.fullmatch(path)) or path == ADAPTER


def _huggingface(paths: Sequence[str], top: Sequence[str], weights: Sequence[str]) -> Layout:
    lacks = list(_gaps(weights))
    pickled = [] if weights else [path for path in top if _PICKLED_MODEL.fullmatch(path)]
    if pickled:
        lacks.append(
            f"weights as safetensors: {pickled[0]} is a pickle, which transformers' layout is not loaded from"
        )
    elif not weights:
        lacks.append("weights" + _elsewhere(paths))
    if CONFIG not in top:
        lacks.append(f"a {CONFIG}, which names the architecture")
    lacks += _no_tokenizer(top)
    if SENTENCE_MODULES in top:
        lacks.append(
            f"a head that writes text: it is a sentence encoder ({SENTENCE_MODULES}) and makes vectors"
        )
    return Layout(
        "huggingface",
        tuple(weights or pickled),
        _only(top, CONFIG, "generation_config.json", INDEX),
        _tokenizer(top),
        pickles=bool(pickled),
        lacks=tuple(lacks),
        extra="run",
    )


def _mistral(top: Sequence[str], native: Sequence[str], pickled: Sequence[str]) -> Layout:
    whole = "consolidated.safetensors"
    weights = [whole] if whole in native and CONSOLIDATED_INDEX not in top else list(native or pickled)
    return Layout(
        "mistral",
        tuple(weights),
        _only(top, PARAMS, CONSOLIDATED_INDEX),
        _tokenizer(top),
        pickles=not native,
        lacks=(*_gaps(weights), *_no_tokenizer(top)),
        extra="mistral",
    )


def _diffusers(paths: Sequence[str], top: Sequence[str]) -> Layout:
    folders: dict[str, list[str]] = defaultdict(list)
    pickles: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folder, slash, name = path.partition("/")
        if slash and "/" not in name:
            if name.endswith(SUFFIX):
                folders[folder].append(path)
            elif is_pickle(name):
                pickles[folder].append(path)
    components = {folder: tuple(_without_variants(found)) for folder, found in folders.items()}
    only_pickled = sorted(pickles.keys() - components.keys())
    lacks = [
        "a single model: `run` does not run pipelines; Release.state_dict(component=…) gives each one's tensors"
    ]
    lacks += [gap for weights in components.values() for gap in _gaps(weights)]
    if only_pickled:
        lacks.append(
            f"weights as safetensors in {', '.join(only_pickled)}: only pickles, which are not loaded there"
        )
    elif not components:
        lacks.append("weights in its folders")
    return Layout(
        "diffusers",
        tuple(path for weights in components.values() for path in weights),
        (*_only(top, MODEL_INDEX), *(path for path in paths if _is_component_config(path))),
        tuple(path for path in paths if path.startswith("tokenizer") and "/" in path),
        components=MappingProxyType(components),
        lacks=tuple(lacks),
        extra="run",
    )


def _is_component_config(path: str) -> bool:
    folder, slash, name = path.partition("/")
    return bool(slash and folder) and name in (CONFIG, "scheduler_config.json")


def _adapter(top: Sequence[str]) -> Layout:
    weights = _only(top, ADAPTER)
    pickled = (
        () if weights else tuple(path for path in top if path in ("adapter_model.bin", "adapter_model.pt"))
    )
    lacks = ["the base model it was made for: `--base RELEASE` names it"]
    if pickled:
        lacks.append(f"weights as safetensors: {pickled[0]} is a pickle, which adapters are not loaded from")
    elif not weights:
        lacks.append(f"its weights, {ADAPTER}")
    return Layout(
        "adapter",
        weights or pickled,
        _only(top, ADAPTER_CONFIG),
        _tokenizer(top),
        pickles=bool(pickled),
        lacks=tuple(lacks),
        extra="adapters",
    )


def _unknown(paths: Sequence[str]) -> Layout:
    weights = [path for path in paths if path.endswith(SUFFIX)]
    return Layout(
        "unknown",
        tuple(weights),
        (),
        _tokenizer(paths),
        lacks=(
            "weights at the top of the folder" + _elsewhere(paths),
            f"a {CONFIG}, which names the architecture",
        ),
        extra="run" if weights else "",
    )


def _elsewhere(paths: Sequence[str]) -> str:
    """Where else weights seem to be, for a sentence that says they are not where they should be."""
    if deep := [path for path in paths if path.endswith(SUFFIX)]:
        return f" ({deep[0]} is in a folder)" if "/" in deep[0] else f" ({deep[0]} is something else)"
    if pickled := [path for path in paths if is_pickle(path)]:
        return f" that are loaded ({pickled[0]} is a pickle)"
    return ""


def _gaps(weights: Iterable[str]) -> tuple[str, ...]:
    """The files missing from series like `model-00002-of-00005.safetensors`."""
    series: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for path in weights:
        if match := _NUMBERED.fullmatch(path):
            series[match["stem"], match["count"], match["suffix"]].add(int(match["number"]))
    lacking = []
    for (stem, count, suffix), numbers in series.items():
        missing = int(count) - len(numbers)
        if missing <= 0:
            continue
        first = next(number for number in range(1, int(count) + 2) if number not in numbers)
        more = f" and {missing - 1} more of its series" if missing > 1 else ""
        lacking.append(f"{stem}-{first:0{len(count)}}-of-{count}{suffix}{more}")
    return tuple(lacking)


def _without_variants(paths: Sequence[str]) -> list[str]:
    """Without the files that hold the same weights in another precision."""
    plain = [path for path in paths if not _VARIANT.search(path.rpartition("/")[2])]
    return plain or list(paths)


def _no_tokenizer(top: Sequence[str]) -> list[str]:
    return [] if any(_READS_TEXT.fullmatch(path) for path in top) else ["a tokenizer, to read prompts with"]


def _tokenizer(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if _TOKENIZER.fullmatch(path))


def _only(top: Sequence[str], *names: str) -> tuple[str, ...]:
    return tuple(path for path in top if path in names)
