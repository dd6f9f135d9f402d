"""Which tensors transformers would split among the ranks of tensor parallelism, and along which dimension.

The plan is transformers' own: the model is made on the meta device, without memory for weights, and asked. Names in a
checkpoint are led to the parameters that transformers makes of them, by its own renamings; experts that lie in a file
one by one are cut as the stack of them would be. Where transformers makes of a tensor something that cannot be cut
beforehand, every rank gets the whole tensor, which is always right and never the least.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightshare.errors import MissingExtraError, UnsupportedModelError
from weightshare.load.selection import Split
from weightshare.run.small_files import proven_folder, read_config

if TYPE_CHECKING:
    from weightshare.trust.gate import VerifiedManifest

_COLWISE = frozenset({"colwise", "colwise_gather_output", "colwise_rep"})
_ROWWISE = frozenset({"rowwise", "rowwise_rep", "rowwise_split_input"})
_PACKED = 2  # gate and up, one behind the other
_NUMBER = re.compile(r"\.\d+(?=\.|$)")


@dataclass(frozen=True, slots=True)
class Target:
    """What becomes of a checkpoint's tensor.

    Attributes:
        parameter: the model's parameter that it goes into.
        merged: how many kinds of tensors of the checkpoint make that parameter, along the dimension that is packed.
        movable: whether nothing but stacking and joining is done to it on the way.
    """

    parameter: str
    merged: int = 1
    movable: bool = True


class TensorPlan:
    """How a model's tensors are split; call it with a tensor's name in the checkpoint. For `Selection.dims`.

    Args:
        styles: transformers' plan: module or parameter, numbers as `*`, to the name of a style.
        dims: by parameter, how many dimensions it has.
        transforms: how transformers leads names of a checkpoint to parameters.
        prefix: what the names of the base model's parameters may lack, or have.
    """

    def __init__(
        self, styles: Mapping[str, str], dims: Mapping[str, int], transforms: Sequence[Any], prefix: str
    ) -> None:
        self._styles = styles
        self._dims = dims
        self._renamings = [each for each in transforms if not hasattr(each, "operations")]
        self._converters = [each for each in transforms if hasattr(each, "operations")]
        self._prefix = prefix

    def __call__(self, name: str) -> Split | None:
        """How a tensor of the checkpoint is split; None for one that every rank has whole."""
        target = self._target(name)
        dims = self._dims.get(target.parameter, 0)
        style = self._style(target.parameter)
        if not dims or not style or not target.movable:
            return None
        # Counted from the last dimension: a single expert lacks the first one of the stack.
        along_rows = Split(-min(2, dims))
        if style in _COLWISE or style == "embedding_rowwise":
            return along_rows
        bias = target.parameter.rpartition(".")[2] == "bias"
        if style in _ROWWISE or style == "embedding_colwise":
            return None if bias else Split(-1)
        parts = 1 if target.merged > 1 else _PACKED
        if style == "packed_colwise":
            return along_rows if dims == 1 else Split(along_rows.dim, parts)
        if style == "packed_rowwise":
            return None if dims == 1 else Split(-1, parts)
        return None

    def _style(self, parameter: str) -> str:
        generic = _NUMBER.sub(".*", parameter)
        return self._styles.get(generic) or self._styles.get(generic.rpartition(".")[0], "")

    def _target(self, name: str) -> Target:
        for renaming in self._renamings:
            name, _ = renaming.rename_source_key(name)
        found = Target(name)
        for converter in self._converters:
            renamed, pattern = converter.rename_source_key(name)
            if pattern is not None:
                kinds = {type(operation).__name__ for operation in converter.operations}
                movable = kinds <= {"MergeModulelist", "Concatenate"} and len(converter.target_patterns) == 1
                found = Target(renamed, len(converter.source_patterns), movable)
                break
        for other in (found.parameter.removeprefix(f"{self._prefix}."), f"{self._prefix}.{found.parameter}"):
            if found.parameter not in self._dims and other in self._dims:
                return Target(other, found.merged, found.movable)
        return found


def plan_of(verified: VerifiedManifest, folder: Path, locations: Mapping[str, Path]) -> TensorPlan:
    """The plan for a release, from its proven `config.json`.

    Args:
        verified: the release's manifest, from the gate.
        folder: where its small files lie.
        locations: where files really lie that the folder only links to.

    Raises:
        UnsupportedModelError: transformers does not know the architecture, or has no plan for it.
        MissingExtraError: transformers is not installed.
        CorruptError: a small file is not what was signed.
    """
    try:
        from weightshare.run.building import read_blueprint
    except ImportError as error:
        raise MissingExtraError(
            f"How a model is split among ranks is asked of the Python package {error.name}, which is not installed.",
            hint="Install it: pip install 'weightshare[run]', or say with `dims` how.",
            package=error.name,
        ) from error
    release = verified.release
    with proven_folder(verified.manifest, folder, locations) as target:
        blueprint = read_blueprint(target, read_config(target, release), release)
    return plan_for(blueprint.model_class, blueprint.config, release)


def plan_for(model_class: Any, config: Any, release: str) -> TensorPlan:
    """The plan for a model class of transformers.

    Args:
        model_class: such as `LlamaForCausalLM`.
        config: its config.
        release: what messages call it.

    Raises:
        UnsupportedModelError: transformers has no plan for it.
    """
    import torch

    from weightshare.run.quiet import quiet

    with quiet(), torch.device("meta"):
        model = model_class(config)
    styles = dict(getattr(model, "tp_plan", None) or {})
    if not styles:
        raise UnsupportedModelError(
            f"{release}: transformers has no plan to split a {model_class.__name__} among ranks.",
            hint="Say with `dims` which tensors are split along which dimension.",
            architecture=model_class.__name__,
        )
    dims = {name: parameter.ndim for name, parameter in model.named_parameters(remove_duplicate=False)}
    return TensorPlan(styles, dims, _transforms(model), model_class.base_model_prefix)


def _transforms(model: Any) -> Sequence[Any]:
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
    except ImportError:  # a transformers without conversions: names are as they are
        return ()
    return list(get_model_conversion_mapping(model) or ())
