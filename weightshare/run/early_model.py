"""A model that is built while its weights are still on their way.

Importing transformers takes seconds, so it begins at once. Configuration and tokenizer are proven and read when their
files are here, and an architecture that cannot run is refused then, before the weights have come. When the headers of
all shards are proven, the model is built around memory that is still empty: its parameters are views of where the
weights will be. So nothing is left to do after the last piece but to prove it.

Where transformers made something else of the tensors, as by a cast or by stacking experts, the model holds copies of
nothing; that shows by where its parameters lie, and it is built again when the weights are proven. Until then nobody
but this module sees a model.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightshare.errors import CorruptError, LoadError, MissingExtraError, UnsupportedModelError
from weightshare.load.arrivals import Aborted, Arrivals
from weightshare.run.small_files import is_wanted
from weightshare.run.transformers_runner import Runner
from weightshare.units import GIB

if TYPE_CHECKING:
    import torch

    from weightshare.load.loader import LoadedState
    from weightshare.run.building import Blueprint
    from weightshare.trust.gate import VerifiedManifest

_WARM = GIB
"""Bytes of weights up to which the model is run once for nothing; each byte is read for that."""


def import_runner() -> None:
    """Import what running a model needs; seconds, unless somebody has.

    Raises:
        MissingExtraError: torch or transformers is not installed.
    """
    try:
        import weightshare.run.building
        import weightshare.run.generation  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"Running a model needs the Python package {error.name}, which is not installed.",
            hint="Install it: pip install 'weightshare[run]'",
            package=error.name,
        ) from error


class EarlyModel:
    """The model of one release, made in a thread of the caller's while the release is fetched.

    Args:
        verified: the release's manifest, from the gate.
        arrivals: told by the fetch.
        locations: where each file lies while it is fetched.
        dtype: as for `transformers_runner.load`; with another than `auto` the model is built at the end.

    Attributes:
        shared: whether the model that was built early is the one that is handed out; None before that is known.
    """

    def __init__(
        self,
        verified: VerifiedManifest,
        arrivals: Arrivals,
        locations: Mapping[str, Path],
        *,
        dtype: str = "auto",
    ) -> None:
        self._dtype = dtype
        self._verified = verified
        self._arrivals = arrivals
        self._locations = locations
        self._tensors: queue.SimpleQueue[Mapping[str, torch.Tensor] | None] = queue.SimpleQueue()
        self._blueprint: Blueprint | None = None
        self._built: tuple[Any, list[str]] | None = None
        self.shared: bool | None = None

    # ---- from other threads

    def give(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Where the weights will be."""
        self._tensors.put(tensors)

    def abort(self) -> None:
        """No model is wanted any more."""
        self._arrivals.abort()
        self._tensors.put(None)

    # ---- the thread's own

    def run(self) -> None:
        """Get as far as it goes without the weights.

        Raises:
            Aborted: no model is wanted any more.
            WeightshareError: it cannot be run here; as of `transformers_runner.load`.
        """
        import_runner()
        self._blueprint = self._read()
        tensors = self._tensors.get()
        if tensors is None:
            raise Aborted
        if self._dtype == "auto":
            self._build_early(self._blueprint, tensors)

    def _read(self) -> Blueprint:
        """Wait for the small files, and make of them what can be made."""
        from weightshare.run.layouts import blueprint_of

        manifest = self._verified.manifest
        wanted = [entry.path for entry in manifest.files if is_wanted(entry.path)]
        while True:
            if self._arrivals.here(wanted):
                ended = self._arrivals.ended
                try:
                    return blueprint_of(manifest, ended or Path(), {} if ended else self._locations)
                except CorruptError:
                    if ended is not None:
                        raise
                    # Somebody wrote there, or the file has its final name just now.
            self._arrivals.take(wait=True)

    def _build_early(self, blueprint: Blueprint, tensors: Mapping[str, torch.Tensor]) -> None:
        from weightshare.run.building import build

        device = str(next(iter(tensors.values())).device) if tensors else "cpu"
        try:
            model, notes = build(blueprint, tensors, device, self._verified.release, dtype=None)
        except UnsupportedModelError:
            raise  # tensors are missing, and will be
        except LoadError:
            return  # perhaps only because there is nothing in the tensors yet
        if shares(model, tensors):
            self._built = model, notes
            if device == "cpu" and sum(tensor.nbytes for tensor in tensors.values()) <= _WARM:
                _warm_up(model, blueprint.tokenizer)

    # ---- the end

    def finish(self, state: LoadedState) -> Runner:
        """The model, with weights that are proven; after `run` has returned.

        Raises:
            WeightshareError: as of `transformers_runner.load`.
        """
        from weightshare.run.building import build, dtype_of

        if self._blueprint is None:
            raise AssertionError("the early part has not run")
        self.shared = self._built is not None and shares(self._built[0], state.tensors)
        try:
            if self._built is None or not self.shared:
                self._built = None  # before its memory is needed for the other one
                self._built = build(
                    self._blueprint,
                    state.tensors,
                    state.device,
                    self._verified.release,
                    dtype=dtype_of(self._dtype),
                )
        except BaseException:
            state.close()
            raise
        model, notes = self._built
        state.tensors = {}
        return Runner(self._verified.release, model, self._blueprint.tokenizer, state, (*state.notes, *notes))


def _warm_up(model: Any, tokenizer: Any | None) -> None:
    """Have the libraries do now what they do at the first token of a process: imports, templates, their own threads.

    The weights are not there, or not all of them, so what comes out means nothing, and nobody sees it.
    """
    from weightshare.run.generation import generate

    if tokenizer is None or not model.can_generate():
        return
    with suppress(Exception):  # it may well stumble over what is not there
        generate(model, tokenizer, "Hello", max_new_tokens=1)


def shares(model: Any, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether all that a model keeps of a checkpoint lies in the memory of these tensors."""
    memory = {tensor.untyped_storage().data_ptr() for tensor in tensors.values() if tensor.numel()}
    kept = (tensor for tensor in model.state_dict().values() if tensor.numel())
    return all(tensor.untyped_storage().data_ptr() in memory for tensor in kept)
