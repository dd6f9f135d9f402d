"""A verified release as a transformers model: proven weights, proven config, proven tokenizer.

torch and transformers are imported when a model is loaded, so that their absence is an error with a hint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from weightshare.errors import MissingExtraError, UnsupportedModelError, UsageError
from weightshare.load.loader import LoadedState, Mode, state_dict
from weightshare.progress import Observer, ignore

if TYPE_CHECKING:
    from weightshare.content.receipts import Receipt
    from weightshare.load.selection import Selection
    from weightshare.run.generation import Generation, Message
    from weightshare.run.placement import DeviceMap
    from weightshare.trust.gate import VerifiedManifest

_NONE: Mapping[bytes, bytes] = MappingProxyType({})
_NO_LOCATIONS: Mapping[str, Path] = MappingProxyType({})


@dataclass(slots=True)
class Runner:
    """A model that is ready.

    Attributes:
        release: `ORG/MODEL@VERSION`.
        model: the transformers model, in evaluation mode.
        tokenizer: its tokenizer, None if the release has none.
        state: what was loaded: bytes, seconds, mode, device. Its `tensors` are empty; the model has them.
        notes: what a careful user wants to know.
    """

    release: str
    model: Any
    tokenizer: Any | None
    state: LoadedState
    notes: tuple[str, ...] = ()

    @property
    def chat(self) -> bool:
        """Whether the model answers messages; if not, it continues a text."""
        return bool(self.tokenizer is not None and self.tokenizer.chat_template)

    def generate(
        self,
        prompt: str | Sequence[Message],
        *,
        max_new_tokens: int = 256,
        seed: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        system: str | None = None,
        on_text: Callable[[str], None] | None = None,
        enough: Callable[[], bool] | None = None,
    ) -> Generation:
        """Let the model answer a prompt, or continue it where it is no chat model.

        The likeliest token is chosen each time, unless `seed`, `temperature`, `top_p` or `top_k` is given: then
        tokens are drawn, with the release's own settings for what is not given.

        Args:
            prompt: a text, or the messages of a chat so far.
            max_new_tokens: where to stop at the latest.
            seed: makes the draw repeatable.
            temperature: above 0; higher is wilder.
            top_p: draw from the likeliest tokens that add up to this share.
            top_k: draw from so many of the likeliest tokens; 0 for no such limit.
            repetition_penalty: makes tokens that were used less likely; draws nothing by itself.
            system: what the model is told before all else; takes a chat template.
            on_text: given the text as it comes; the files are checked before the first word and after the last.
            enough: asked after every token whether to stop there.

        Raises:
            UnsupportedModelError: the model does not generate text, or has no tokenizer.
            UsageError: arguments that mean nothing, or a prompt longer than the model can take.
            CorruptError, CheckpointError: the mapped files changed; the text is not handed out.
        """
        name = type(self.model).__name__
        if not self.model.can_generate():
            raise UnsupportedModelError(
                f"{self.release} is a {name}: it turns text into vectors or scores, and does not generate text.",
                hint="In Python: model, tokenizer = weightshare.from_pretrained(…)",
                architecture=name,
            )
        if self.tokenizer is None:
            raise UnsupportedModelError(
                f"{self.release} has no tokenizer among its files, so it cannot read a prompt.",
                hint="In Python: model, _ = weightshare.from_pretrained(…), with a tokenizer from elsewhere.",
                architecture=name,
            )
        from weightshare.run.generation import generate
        from weightshare.run.sampling import Sampling

        self.state.check()
        answer = generate(
            self.model,
            self.tokenizer,
            prompt,
            max_new_tokens=max_new_tokens,
            sampling=Sampling(seed, temperature, top_p, top_k, repetition_penalty),
            system=system,
            on_text=on_text,
            enough=enough,
        )
        self.state.check()
        return answer

    def close(self) -> None:
        """Let go of the model and its files."""
        self.model = self.tokenizer = None
        self.state.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(
    verified: VerifiedManifest,
    folder: Path,
    *,
    device: str = "auto",
    mode: Mode = "auto",
    dtype: str = "auto",
    device_map: DeviceMap | None = None,
    layers: Mapping[bytes, bytes] = _NONE,
    locations: Mapping[str, Path] = _NO_LOCATIONS,
    workers: int | None = None,
    allow_pickle: bool = False,
    receipts: Mapping[str, Receipt] | None = None,
    observe: Observer = ignore,
) -> Runner:
    """Load a release into the transformers class that its config names.

    Config and tokenizer are made from proven bytes before the weights are touched, so an unknown architecture
    costs no time. Code that a release carries is never run.

    Args:
        verified: the release's manifest, from the gate.
        folder: where its files lie.
        device: as for `load.loader.state_dict`.
        mode: as for `load.loader.state_dict`.
        dtype: `auto` (as the release's config says), `bf16`, `fp16` or `fp32`: a cast is a copy, made of proven
            weights on the device they are on. Quantised weights stay what they are.
        device_map: spreads the model over several devices, and each tensor is loaded to its own; see `placement`.
        layers: as for `load.loader.state_dict`.
        locations: as for `load.loader.state_dict`.
        workers: as for `load.loader.state_dict`.
        allow_pickle: as for `load.loader.state_dict`.
        receipts: as for `load.loader.state_dict`; not used with a device map over several devices. Config and
            tokenizer are hashed in any case.
        observe: told how many bytes of the weights are proven.

    Raises:
        UnsupportedModelError: transformers does not know the architecture, or cannot use what the release
            holds.
        MissingExtraError: torch or transformers is not installed.
        CorruptError, SafetensorsError, CheckpointError, PickleError, DeviceError, UsageError: as
            `load.loader.state_dict` does.
    """
    try:
        from weightshare.run.building import build, dtype_of
        from weightshare.run.layouts import blueprint_of
        from weightshare.run.placement import load_each, plan
    except ImportError as error:
        raise MissingExtraError(
            f"Running a model needs the Python package {error.name}, which is not installed.",
            hint="Install it: pip install 'weightshare[run]'",
            package=error.name,
        ) from error
    release = verified.release
    wanted = dtype_of(dtype)
    if device_map is not None and device != "auto":
        raise UsageError(
            "A device is one, and a device map spreads the model over several.", hint="Give one of the two."
        )
    blueprint = blueprint_of(verified.manifest, folder, locations)
    placement = plan(blueprint, device_map, wanted, release) if device_map is not None else None
    if placement is not None and len(placement.devices) == 1:
        device, placement = placement.devices[0], None

    def load_to(device: str, select: Selection | None = None) -> LoadedState:
        return state_dict(
            verified,
            folder,
            device=device,
            mode=mode,
            layers=layers,
            locations=locations,
            workers=workers,
            select=select,
            allow_pickle=allow_pickle,
            receipts=receipts,
            observe=observe,
        )

    if placement is None:
        state = load_to(device)
    elif blueprint.renamed is not None:  # the map has other names than the files
        state = load_to("cpu")
    else:
        state = load_each(placement, load_to)
    try:
        model, notes = build(
            blueprint, state.tensors, state.device, release, dtype=wanted, placement=placement
        )
    except BaseException:
        state.close()
        raise
    state.tensors = {}  # what the model made something else of need not stay
    return Runner(release, model, blueprint.tokenizer, state, (*state.notes, *notes))
