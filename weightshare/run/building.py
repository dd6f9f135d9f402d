"""A transformers model around tensors that are already there; no code of a release is run."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import transformers

from weightshare.errors import DeviceError, LoadError, UnsupportedModelError, UsageError
from weightshare.run.placement import Placement, spread
from weightshare.run.quiet import quiet
from weightshare.run.small_files import GENERATION_CONFIG

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
"""What a model can be told to compute in."""

_OWN_CODE = "The release carries code of its own for it, which is never run."


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a release's small files say: model class, config, tokenizer, and how it likes to generate.

    `renamed` makes the names and rows of another layout transformers' own; None where they are.
    """

    model_class: Any
    config: Any
    tokenizer: Any | None
    generation_config: Any | None
    renamed: Callable[[Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]] | None = None


def read_blueprint(target: Path, raw: Mapping[str, Any], release: str) -> Blueprint:
    """Make config and tokenizer from a proven folder; cheap, so it comes before the weights.

    Args:
        target: the folder.
        raw: its `config.json`, as JSON.
        release: what messages call it.

    Raises:
        UnsupportedModelError: transformers does not know the architecture, or cannot make the tokenizer.
    """
    model_class = _model_class(raw, release)
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with quiet():
        try:
            config = transformers.AutoConfig.from_pretrained(target, **local)
        except Exception as error:  # whatever a config can make transformers raise
            raise _unsupported(model_class.__name__, release, "its configuration", error, raw) from error
        tokenizer = None
        if (target / "tokenizer.json").is_file():
            # Which of two tokenizers a release gets must not depend on whether mistral-common is installed here.
            (target / "tekken.json").unlink(missing_ok=True)
        if any(path.name != "config.json" and path.name != GENERATION_CONFIG for path in target.iterdir()):
            try:
                tokenizer = transformers.AutoTokenizer.from_pretrained(target, **local)
            except Exception as error:
                raise _unsupported(model_class.__name__, release, "its tokenizer", error, raw) from error
            tokenizer.name_or_path = release
            mark_chat(tokenizer)
        generation_config = None
        if (target / GENERATION_CONFIG).is_file():
            try:
                generation_config = transformers.GenerationConfig.from_pretrained(
                    target, local_files_only=True
                )
            except Exception as error:
                raise _unsupported(
                    model_class.__name__, release, "its generation config", error, raw
                ) from error
    return Blueprint(model_class, config, tokenizer, generation_config)


def mark_chat(tokenizer: Any) -> None:
    """Let a tokenizer of mistral-common say that it chats: it formats messages, and has no template to show for it."""
    if type(tokenizer).__name__ == "MistralCommonBackend":
        tokenizer.chat_template = "mistral-common"


def build(
    blueprint: Blueprint,
    tensors: Mapping[str, torch.Tensor],
    device: str,
    release: str,
    *,
    dtype: torch.dtype | None = None,
    placement: Placement | None = None,
) -> tuple[Any, list[str]]:
    """Make the model. Its parameters are the given tensors, wherever dtype and layout allow.

    Args:
        blueprint: what the small files say.
        tensors: the proven weights, by their names in the shards.
        device: where they are.
        release: what messages call it.
        dtype: what to compute in, None for what the config says; a cast is a copy on the device. What is quantised
            stays so, and so does what transformers keeps in float32 for a reason.
        placement: where the parts of the model go, if that is not all one device.

    Returns:
        The model, in evaluation mode, and notes about tensors it has no use for.

    Raises:
        UnsupportedModelError: tensors the model needs are not there, or transformers cannot use them.
        DeviceError: the device is too small.
    """
    wanted = dtype or getattr(blueprint.config, "dtype", None) or _first_float(tensors)
    if blueprint.renamed is not None:
        tensors = blueprint.renamed(tensors)
    state: dict[str, Any] = dict(tensors)
    if device != "cpu" or placement is not None:
        # transformers would move each tensor to the CPU: that is where models go for which it has no device
        # map, and a device map makes it set aside memory for the weights a second time.
        state = {name: _Resident(tensor) for name, tensor in tensors.items()}
    try:
        with quiet():
            model, report = blueprint.model_class.from_pretrained(
                None,
                config=blueprint.config,
                state_dict=state,
                dtype=wanted,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
            if placement is not None:
                model = spread(model, placement, release)
            elif any(
                held.device.type != torch.device(device).type
                for held in chain(model.parameters(), model.buffers())
            ):
                model = model.to(device)  # buffers that no file holds, such as the rotary frequencies
    except torch.cuda.OutOfMemoryError as error:
        raise DeviceError(
            f"{device} has no room for {release}.",
            hint="Use a larger device, or `--device cpu`.",
            device=device,
        ) from error
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(
            f"{release}: transformers {transformers.__version__} cannot use its weights: {_first_line(error)}",
            hint="The weights are proven; the model may need another version of transformers or an extra package.",
            architecture=blueprint.model_class.__name__,
        ) from error
    missing = sorted(report["missing_keys"])
    if missing and model.can_generate():
        raise UnsupportedModelError(
            f"{release}: {len(missing)} tensors that {blueprint.model_class.__name__} needs are not in the shards, "
            f"{missing[0]} among them.",
            hint="The publisher must publish the checkpoint again, whole.",
            architecture=blueprint.model_class.__name__,
            missing=missing,
        )
    notes = []
    if dtype is not None:
        notes += _kept(model, dtype)
    if missing:
        notes.append(
            f"{len(missing)} tensors are not in the shards and start at random: {', '.join(missing[:3])}…"
        )
    if unused := sorted(report["unexpected_keys"]):
        notes.append(f"{len(unused)} tensors have no place in the model: {', '.join(unused[:3])}…")
    model.config._name_or_path = release
    if blueprint.generation_config is not None and model.can_generate():
        model.generation_config = blueprint.generation_config
    return model, notes


class _Resident:
    """A tensor in the guise of a safetensors slice, so that it stays on the device it is on."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self.dtype = tensor.dtype
        self.shape = tensor.shape

    def __getitem__(self, _: object) -> _Resident:
        return self

    def to(self, device: object = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The tensor, cast if need be, on the device it is on."""
        return self._tensor if dtype is None else self._tensor.to(dtype)


def _model_class(raw: Mapping[str, Any], release: str) -> Any:
    names = raw.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    if not name:
        raise UnsupportedModelError(
            f"{release}: config.json names no architecture.",
            hint="Release.state_dict gives its tensors without a model around them.",
            architecture="",
        )
    found = getattr(transformers, name, None) if name.isidentifier() else None
    if not (inspect.isclass(found) and issubclass(found, transformers.PreTrainedModel)):
        raise UnsupportedModelError(
            f"{release}: transformers {transformers.__version__} has no {name}."
            + (f" {_OWN_CODE}" if "auto_map" in raw else ""),
            hint="A newer transformers may have it: pip install -U transformers. The files are proven all the same.",
            architecture=name,
        )
    return found


def _unsupported(
    architecture: str, release: str, what: str, error: Exception, raw: Mapping[str, Any]
) -> UnsupportedModelError:
    own = f" {_OWN_CODE}" if "auto_map" in raw else ""
    return UnsupportedModelError(
        f"{release}: transformers {transformers.__version__} cannot use {what}: {_first_line(error)}{own}",
        hint="It may need another version of transformers, or an extra package that the message names.",
        architecture=architecture,
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n", 1)[0] or type(error).__name__
    return text if text.endswith(".") else f"{text}."


def dtype_of(name: str) -> torch.dtype | None:
    """What `bf16`, `fp16` and `fp32` stand for; None for `auto`.

    Raises:
        UsageError: another name.
    """
    if name != "auto" and name not in DTYPES:
        raise UsageError(
            f"{name!r} is no dtype to compute in.", hint=f"Dtypes are auto, {', '.join(DTYPES)}."
        )
    return DTYPES.get(name)


def _kept(model: Any, dtype: torch.dtype) -> list[str]:
    """What was not cast, in words."""
    other = Counter(held.dtype for held in model.parameters() if held.dtype != dtype)
    if not other:
        return []
    kinds = ", ".join(f"{count} in {str(kind).removeprefix('torch.')}" for kind, count in other.items())
    return [f"not cast to {str(dtype).removeprefix('torch.')}, as transformers keeps them: tensors, {kinds}"]


def _first_float(tensors: Mapping[str, torch.Tensor]) -> torch.dtype:
    floats = (tensor.dtype for tensor in tensors.values() if tensor.is_floating_point())
    return next(floats, torch.get_default_dtype())
