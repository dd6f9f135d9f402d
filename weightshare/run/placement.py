"""A model over several devices: which part goes where, and every proven tensor straight to its own device.

The plan is made before a weight is read, by accelerate's rules on a model without weights, which knows how large its
layers are and which of them must stay whole. Then the tensors of each device are loaded there, as if they were a
release of their own: read, proven, handed out. accelerate's hooks carry the activations from one device to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from weightshare.errors import DeviceError, LoadError, MissingExtraError, UsageError
from weightshare.load.loader import LoadedState
from weightshare.load.selection import Selection
from weightshare.run.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from weightshare.run.building import Blueprint

STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")

DeviceMap = str | Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Placement:
    """Which device each part of a model goes to.

    Attributes:
        modules: module name to device, as torch writes it; the name "" stands for the whole model.
        prefix: what the names of a checkpoint may lack, or have too much: the name of the model within the model.
    """

    modules: Mapping[str, str]
    prefix: str = ""

    @property
    def devices(self) -> list[str]:
        """The devices, the one that the model begins on first."""
        return list(dict.fromkeys(self.modules.values()))

    def device_of(self, name: str) -> str:
        """Where the tensor of this name goes; what belongs to no module goes where the model begins."""
        inner = f"{self.prefix}."
        for known, least in ((name, 1), (inner + name, 2), (name.removeprefix(inner), 1)):
            parts = known.split(".")
            for length in range(len(parts), least - 1, -1):
                if (device := self.modules.get(".".join(parts[:length]))) is not None:
                    return device
        return self.modules.get("", self.devices[0])


@dataclass(frozen=True, slots=True)
class OnDevice(Selection):
    """The tensors of one device, whichever they are."""

    wanted: Callable[[str], bool] = bool

    @property
    def everything(self) -> bool:
        """Never: what it chooses is only known by asking."""
        return False

    def chooses(self, name: str) -> bool:
        """Whether a tensor of this name goes there."""
        return self.wanted(name)

    def require(self, names: Collection[str], release: str) -> None:
        """A device may have nothing to do; that is for the one who made the plan to know."""


def plan(blueprint: Blueprint, device_map: DeviceMap, dtype: torch.dtype | None, release: str) -> Placement:
    """Decide where the parts of a model go.

    Args:
        blueprint: the model, without weights.
        device_map: one of `STRATEGIES`, or module names to devices; a number is a GPU.
        dtype: what its weights will be held as; None for what the config says.
        release: what messages call it.

    Raises:
        MissingExtraError: accelerate is not installed.
        UsageError: no such strategy, or a map that leaves modules out.
        DeviceError: the model does not fit, or there is no such device.
    """
    accelerate = _accelerate()
    if isinstance(device_map, str) and device_map not in STRATEGIES:
        raise UsageError(
            f"{device_map!r} is no device map.",
            hint=f"Device maps are {', '.join(STRATEGIES)}, or in Python a mapping of modules to devices.",
        )
    with quiet(), torch.device("meta"):
        model = blueprint.model_class(blueprint.config)
    model.tie_weights()
    dtype = dtype or getattr(blueprint.config, "dtype", None)
    if isinstance(device_map, str):
        whole = list(model._no_split_modules or ())
        room = None
        if device_map != "sequential":
            room = accelerate.utils.get_balanced_memory(
                model,
                dtype=dtype,
                no_split_module_classes=whole,
                low_zero=device_map == "balanced_low_0",
            )
        found = accelerate.infer_auto_device_map(
            model, max_memory=room, dtype=dtype, no_split_module_classes=whole
        )
        if "disk" in found.values():
            raise DeviceError(
                f"{release} does not fit into the memory of the GPUs and of this machine together.",
                hint="Use fewer bytes a weight (--dtype bf16), or larger devices.",
                device=device_map,
            )
    else:
        found = dict(device_map)
        left = [name for name, _ in model.named_parameters() if not _covered(name, found)]
        if left:
            more = f" and {len(left) - 1} others" if len(left) > 1 else ""
            raise UsageError(
                f"The device map says nothing of {left[0]}{more}.",
                hint='Give each module a device; the name "" stands for all that are not named.',
            )
    return Placement({name: _device(value) for name, value in found.items()}, model.base_model_prefix)


def load_each(placement: Placement, load: Callable[[str, Selection], LoadedState]) -> LoadedState:
    """Load the tensors of each device there, and hand them out as one state once all are proven.

    Args:
        placement: what goes where.
        load: loads a selection to a device.

    Raises:
        WeightshareError: as `load` does; what was loaded before is given back.
    """
    states: list[LoadedState] = []

    def there(device: str, name: str) -> bool:
        return placement.device_of(name) == device

    try:
        for device in placement.devices:
            states.append(load(device, OnDevice(wanted=partial(there, device))))
    except BaseException:
        for state in states:
            state.close()
        raise
    tensors = {name: tensor for state in states for name, tensor in state.tensors.items()}
    return replace(
        states[0],
        tensors=tensors,
        bytes=sum(state.bytes for state in states),
        seconds=sum(state.seconds for state in states),
        device=", ".join(dict.fromkeys(state.device for state in states)),
        mode=", ".join(dict.fromkeys(state.mode for state in states)),
        notes=tuple(dict.fromkeys(note for state in states for note in state.notes)),
        tensor_bytes=sum(state.tensor_bytes for state in states),
        _holder=_Several(states),
    )


def spread(model: Any, placement: Placement, release: str) -> Any:
    """Put what is left of a model where it belongs, and have its devices hand their work on to each other.

    Args:
        model: with its weights in place.
        placement: what goes where.
        release: what messages call it.

    Raises:
        DeviceError: a device has no room.
        LoadError: accelerate cannot spread this model.
    """
    accelerate = _accelerate()
    try:
        with quiet():
            return accelerate.dispatch_model(
                model,
                device_map=dict(placement.modules),
                skip_keys=getattr(model, "_skip_keys_device_placement", None),
            )
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"{release} has no room on {', '.join(placement.devices)}.",
            hint="Use larger devices, or `--device cpu`.",
            device=placement.devices[0],
        ) from error
    except Exception as error:  # whatever a model can make accelerate raise
        raise LoadError(
            f"{release}: accelerate {accelerate.__version__} cannot spread it over several devices: {error}",
            hint="The weights are proven; one device that is large enough needs no accelerate.",
        ) from error


class _Several:
    """What holds the bytes of several loads."""

    def __init__(self, states: Sequence[LoadedState]) -> None:
        self._states = states
        self.notes: list[str] = []

    def settle(self) -> None:
        """Each has settled by itself."""

    def check(self) -> None:
        """Raise if one of them no longer holds what was proven."""
        for state in self._states:
            state.check()

    def close(self) -> None:
        """Let go of all."""
        for state in self._states:
            state.close()


def _accelerate() -> Any:
    try:
        import accelerate
        import accelerate.utils
    except ImportError as error:
        raise MissingExtraError(
            "A device map needs the Python package accelerate, which is not installed.",
            hint="Install it: pip install 'weightshare[gpus]'",
            package="accelerate",
        ) from error
    return accelerate


def _covered(name: str, modules: Mapping[str, object]) -> bool:
    parts = name.split(".")
    return "" in modules or any(".".join(parts[:length]) in modules for length in range(1, len(parts) + 1))


def _device(value: object) -> str:
    """A device as torch writes it; a number is one of the accelerators, as accelerate counts them."""
    text = str(value)
    if text.isdigit():
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        text = f"{accelerator.type if accelerator is not None else 'cuda'}:{text}"
    try:
        torch.device(text)
    except RuntimeError as error:
        raise DeviceError(
            f"The device map names {text!r}, which torch does not know.",
            hint="Devices are cpu, cuda:0, cuda:1 and so on; a number alone is a GPU.",
            device=text,
        ) from error
    return text
