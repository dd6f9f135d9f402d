"""A LoRA adapter on a base model: both proven, joined by peft, which sees tensors and values but no file.

An adapter's configuration can ask for more than arithmetic: a module to import, or weights to be fetched and reckoned
with first. Only what describes an adapter that is finished is taken over; anything else that is set is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from weightshare.errors import LoadError, MissingExtraError, UnsupportedModelError
from weightshare.load.layouts import ADAPTER_CONFIG, layout_of
from weightshare.load.loader import state_dict
from weightshare.load.proven import read_proven
from weightshare.progress import Observer, ignore

if TYPE_CHECKING:
    from weightshare.manifest.model import Manifest
    from weightshare.run.transformers_runner import Runner
    from weightshare.trust.gate import VerifiedManifest

_NONE: Mapping[bytes, bytes] = MappingProxyType({})
_NO_LOCATIONS: Mapping[str, Path] = MappingProxyType({})

_TAKEN = frozenset(
    {
        *("r", "target_modules", "exclude_modules", "lora_alpha", "fan_in_fan_out", "bias", "use_rslora"),
        *("modules_to_save", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern"),
        *("use_dora", "lora_bias", "target_parameters", "task_type"),
    }
)
_MEANINGLESS = frozenset(
    {
        # bookkeeping, and how the adapter was trained: its weights are there now
        *("peft_type", "base_model_name_or_path", "revision", "auto_mapping", "peft_version"),
        *("inference_mode", "lora_dropout", "init_lora_weights", "eva_config", "runtime_config"),
        *("megatron_core", "ensure_weight_tying"),
    }
)
_PLAIN_BEGINNINGS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of `init_lora_weights` that leave the base as it is. Others, such as `pissa`, begin by changing the base."""


def read_adapter_config(manifest: Manifest, folder: Path, locations: Mapping[str, Path]) -> dict[str, Any]:
    """The proven `adapter_config.json` of a release.

    Raises:
        CorruptError: it is not what was signed.
        UnsupportedModelError: there is none, or it is no JSON object.
    """
    entry = next((entry for entry in manifest.files if entry.path == ADAPTER_CONFIG), None)
    if entry is None:
        raise _unsupported(manifest.release, f"it has no {ADAPTER_CONFIG}, so it is no adapter")
    try:
        config = json.loads(read_proven(entry, folder, locations))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise _unsupported(manifest.release, f"its {ADAPTER_CONFIG} is no JSON object")
    return config


def attach(
    runner: Runner,
    verified: VerifiedManifest,
    folder: Path,
    *,
    layers: Mapping[bytes, bytes] = _NONE,
    locations: Mapping[str, Path] = _NO_LOCATIONS,
    workers: int | None = None,
    observe: Observer = ignore,
) -> Runner:
    """Put an adapter on a model that is loaded; the runner given is the one returned, and closed on an error.

    The adapter's weights are copied as they are proven: they are small, and peft casts them.

    Args:
        runner: the base model.
        verified: the adapter's manifest, from the gate.
        folder: where its files lie.
        layers: as for `load.loader.state_dict`.
        locations: likewise.
        workers: likewise.
        observe: told how many of its bytes are proven.

    Raises:
        CorruptError, SafetensorsError, CheckpointError: as `load.loader.state_dict` does.
        UnsupportedModelError: a kind of adapter that is not known here, or one that does not fit the model.
        MissingExtraError: peft is not installed.
    """
    try:
        config = _lora_config(read_adapter_config(verified.manifest, folder, locations), verified.release)
        tokenizer = _tokenizer(verified.manifest, folder, locations, runner)
        state = state_dict(
            verified,
            folder,
            device=runner.state.device,
            mode="private",
            layers=layers,
            locations=locations,
            workers=workers,
            observe=observe,
        )
        with state:
            runner.model = _joined(runner.model, config, state.tensors, verified.release, runner.release)
    except BaseException:
        runner.close()
        raise
    runner.tokenizer = tokenizer
    runner.notes = (*runner.notes, f"the adapter {verified.release} is on the base model {runner.release}")
    runner.release = f"{verified.release} on {runner.release}"
    runner.state.bytes += state.bytes
    runner.state.seconds += state.seconds
    return runner


def _lora_config(given: Mapping[str, Any], release: str) -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError(
            f"Using an adapter needs the Python package {error.name or 'peft'}, which is not installed.",
            hint="Install it: pip install 'weightshare[adapters]'",
            package=error.name or "peft",
        ) from error
    kind = given.get("peft_type")
    if kind != "LORA":
        raise _unsupported(
            release, f"its {ADAPTER_CONFIG} describes a {str(kind)[:80]}, and only LORA is known here"
        )
    if given.get("init_lora_weights", True) not in _PLAIN_BEGINNINGS:
        began = str(given["init_lora_weights"])[:80]
        raise _unsupported(
            release,
            f"it was begun with {began}, which changes the base model; convert it to a plain LoRA first",
        )
    defaults = json.loads(json.dumps(peft.LoraConfig().to_dict(), default=_plain))
    odd = [
        key
        for key, value in given.items()
        if key not in _TAKEN | _MEANINGLESS
        and value not in (None, False, [], {})
        and value != defaults.get(key)
    ]
    if odd:
        raise _unsupported(
            release, f"its {ADAPTER_CONFIG} sets {', '.join(sorted(odd))}, which is not known here"
        )
    try:
        return peft.LoraConfig(
            **{key: value for key, value in given.items() if key in _TAKEN}, inference_mode=True
        )
    except Exception as error:  # whatever values can make peft raise
        raise _unsupported(
            release, f"peft {peft.__version__} cannot use its {ADAPTER_CONFIG}: {_line(error)}"
        ) from error


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


def _joined(model: Any, config: Any, tensors: Mapping[str, Any], release: str, base: str) -> Any:
    import peft
    import torch

    from weightshare.run.quiet import quiet

    try:
        # peft begins with random weights, all of which are replaced: the caller's dice are left as they lie.
        with quiet(), torch.random.fork_rng([]):
            joined = peft.get_peft_model(model, config)
            expected = set(peft.get_peft_model_state_dict(joined, save_embedding_layers=False))
            result = peft.set_peft_model_state_dict(joined, dict(tensors))
    except Exception as error:  # whatever an adapter for another model can make peft raise
        raise LoadError(
            f"{release}: peft {peft.__version__} cannot put it on {base}: {_line(error)}",
            hint="Name the model it was made for with --base.",
            architecture=type(model).__name__,
        ) from error
    missing, unknown = sorted(expected - tensors.keys()), sorted(result.unexpected_keys)
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"has {unknown[0]}, for which the model has no place"
        raise UnsupportedModelError(
            f"{release} does not fit {base}: it {what}.",
            hint="Name the model it was made for with --base.",
            architecture=type(model).__name__,
            missing=missing,
            unknown=unknown,
        )
    return joined.eval()


def _tokenizer(manifest: Manifest, folder: Path, locations: Mapping[str, Path], runner: Runner) -> Any | None:
    """The adapter's own tokenizer where it has one: its tokens or its chat template may be others."""
    names = {path.rpartition("/")[2] for path in layout_of([e.path for e in manifest.files]).tokenizer}
    if "tokenizer_config.json" not in names:
        return runner.tokenizer
    import transformers

    from weightshare.run.quiet import quiet
    from weightshare.run.small_files import proven_folder

    with proven_folder(manifest, folder, locations) as target, quiet():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                target, config=runner.model.config, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # whatever its files can make transformers raise
            raise _unsupported(
                manifest.release, f"transformers cannot use its tokenizer: {_line(error)}"
            ) from error
    tokenizer.name_or_path = manifest.release
    return tokenizer


def _line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:300] or type(error).__name__


def _unsupported(release: str, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{release}: {why}.",
        hint="Release.state_dict gives an adapter's tensors without a model around them.",
        architecture="",
    )
