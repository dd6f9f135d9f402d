"""The load format `weightshare` for vLLM: its weights are read, proven and handed over by our loader.

vLLM finds the plugin by the entry point `weightshare` of the group `vllm.general_plugins`, in each of its processes.
An engine that is started with `--load-format weightshare` then asks this loader for the model's weights, and the
loader gives it proven tensors one by one. What the release is, `model_loader_extra_config` says, or else it is the
folder that vLLM was given as the model.

Written for vLLM 0.32, whose interface is `vllm.model_executor.model_loader.register_model_loader` and the two abstract
methods of `BaseModelLoader`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightshare.errors import LoadError, UnsupportedModelError, UsageError, WeightshareError
from weightshare.load.loader import LoadedState

FORMAT = "weightshare"
KEYS = frozenset({"release", "home", "trust", "manifest", "private", "report"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an engine was told to load, from its model argument and `model_loader_extra_config`.

    Attributes:
        release: a name, info-hash or folder.
        home: weightshare's folder; empty for the default one.
        trust: fingerprints to pin if the publisher is unknown.
        manifest: SHA-256 of the signed manifest that the release must have, in hex; empty for any.
        private: copy the weights before they are proven, instead of mapping the files.
        small_files: where vLLM reads config and tokenizer; empty where somebody else proved what is there.
        report: a file to write an error to, for whoever started the engine; empty for none.
    """

    release: str
    home: str = ""
    trust: tuple[str, ...] = ()
    manifest: str = ""
    private: bool = False
    small_files: str = ""
    report: str = ""


def wanted_of(model: str, extra: Mapping[str, Any]) -> Wanted:
    """Read what an engine was told.

    Args:
        model: vLLM's model argument, a folder.
        extra: `model_loader_extra_config`.

    Raises:
        UsageError: a key or a value that means nothing here.
    """
    if unknown := sorted(set(extra) - KEYS):
        raise UsageError(
            f"model_loader_extra_config has {unknown[0]!r}, which the load format weightshare does not take.",
            hint=f"It takes {', '.join(sorted(KEYS))}.",
        )
    trust = extra.get("trust", ())
    texts = {name: extra.get(name, "") for name in ("release", "home", "manifest", "report")}
    if not all(isinstance(value, str) for value in texts.values()) or not isinstance(
        extra.get("private", False), bool
    ):
        raise UsageError("model_loader_extra_config holds texts, and true or false for 'private'.")
    if isinstance(trust, str) or not all(isinstance(item, str) for item in trust):
        raise UsageError("model_loader_extra_config: 'trust' is a list of fingerprints.")
    return Wanted(
        release=texts["release"] or model,
        home=texts["home"],
        trust=tuple(trust),
        manifest=texts["manifest"],
        private=bool(extra.get("private", False)),
        # Config and tokenizer were proven by whoever gave the engine another folder than the release's own.
        small_files="" if texts["release"] else model,
        report=texts["report"],
    )


def register(open_state: Callable[[Wanted], LoadedState]) -> None:
    """Make the load format known to vLLM, in this process.

    Args:
        open_state: finds a release, proves its weights and gives them, on the CPU.
    """
    from vllm.model_executor.model_loader import register_model_loader

    register_model_loader(FORMAT)(loader_class(open_state))


def loader_class(open_state: Callable[[Wanted], LoadedState]) -> Any:
    """The loader, as a class of vLLM's kind."""
    from vllm.model_executor.model_loader.base_loader import BaseModelLoader

    class WeightshareLoader(BaseModelLoader):  # type: ignore[misc]
        """Hands proven tensors to a model that vLLM has built."""

        def download_model(self, model_config: Any) -> None:
            """Nothing is downloaded: a release is fetched first, by `weightshare fetch`."""

        def load_weights(self, model: Any, model_config: Any) -> None:
            """Prove the release's weights, then let the model take them.

            Raises:
                CorruptError: bytes are not what was signed; the engine does not start.
                WeightshareError: the release is not here, or its publisher is not known.
            """
            wanted = wanted_of(str(model_config.model), self.load_config.model_loader_extra_config or {})
            try:
                load_into(model, open_state(wanted), quantized=model_config.quantization is not None)
            except WeightshareError as error:
                report(wanted.report, error)
                raise

    return WeightshareLoader


def load_into(model: Any, state: LoadedState, *, quantized: bool = False) -> None:
    """Let a model of vLLM's take the tensors, and see that it lacks none and that the files stayed as they were.

    Args:
        model: with vLLM's `load_weights`, which copies what it is given.
        state: the tensors; closed in the end.
        quantized: the model makes parameters of its own from the tensors, so that names cannot be compared.

    Raises:
        UnsupportedModelError: the model wants weights from elsewhere, too.
        LoadError: parameters got no tensor.
        CorruptError, CheckpointError: the mapped files changed meanwhile.
    """
    with state:
        if getattr(model, "secondary_weights", ()):
            raise UnsupportedModelError(
                f"{type(model).__name__} wants weights from a second source, which no signature covers.",
                hint="Serve it without weightshare, if you trust that source.",
                architecture=type(model).__name__,
            )
        loaded = model.load_weights(_one_by_one(state.tensors))
        state.check()
    if loaded is None or quantized:
        return
    # Scales of a cache and the like belong to a layer's method and need not be in a checkpoint, as vLLM sees it.
    exempt = {
        f"{name}.{own}" if name else own
        for name, module in model.named_modules()
        if hasattr(getattr(module, "quant_method", None), "process_weights_after_loading")
        for own, _ in module.named_parameters()
    }
    if missing := sorted({name for name, _ in model.named_parameters()} - set(loaded) - exempt):
        raise LoadError(
            f"{len(missing)} parameters of {type(model).__name__} got no tensor, {missing[0]} among them.",
            hint="The publisher must publish the checkpoint again, whole; or this vLLM knows another layout.",
            missing=missing,
        )


def report(path: str, error: WeightshareError) -> None:
    """Leave an error for whoever started the engine: it ends with a status that says nothing."""
    if path:
        facts = {name: value for name, value in error.facts.items() if isinstance(value, str | int | list)}
        text = json.dumps([type(error).__name__, error.message, error.hint, facts])
        Path(path).write_text(text, "utf-8")


def reported(path: Path) -> WeightshareError | None:
    """The error that was left in a file, None if there is none."""
    from weightshare import errors

    try:
        name, message, hint, facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    kind = getattr(errors, name, LoadError)
    found: WeightshareError = kind(message, hint=hint, **facts)
    return found


def _one_by_one(tensors: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each tensor once; what the model has taken need not stay."""
    for name in list(tensors):
        yield name, tensors.pop(name)
