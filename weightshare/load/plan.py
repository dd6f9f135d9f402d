"""Which files of a release are the shards to load, told by the signed manifest and the index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from weightshare.errors import CheckpointError, PickleError, UnsupportedModelError, UsageError
from weightshare.load.layouts import CONSOLIDATED_INDEX, Layout, layout_of
from weightshare.load.layouts import INDEX as INDEX
from weightshare.load.layouts import SUFFIX as SUFFIX
from weightshare.load.proven import read_proven
from weightshare.manifest.kinds import is_pickle

if TYPE_CHECKING:
    from weightshare.load.selection import Selection
    from weightshare.manifest.model import FileEntry, Manifest

_INDEX_SUFFIX = ".safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to load.

    Attributes:
        shards: the files, in the manifest's order.
        index: tensor name to the path of its shard, as the index says; empty without an index.
        pickles: whether the shards are files of `torch.save`, and not of safetensors.
    """

    shards: tuple[FileEntry, ...]
    index: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    pickles: bool = False

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(entry.size for entry in self.shards)


def make_plan(
    manifest: Manifest,
    folder: Path,
    locations: Mapping[str, Path],
    *,
    component: str = "",
    allow_pickle: bool = False,
) -> Plan:
    """Choose the shards of a release.

    The index decides where there is one, then `model.safetensors`, then all safetensors files at the top of the
    folder: some releases carry the same weights twice, in a second layout or another precision.

    Args:
        manifest: a verified one.
        folder: where the release's files lie.
        locations: where files really lie that the folder only links to.
        component: of a pipeline of several models, the folder of the one to load.
        allow_pickle: whether Mistral's `consolidated.*.pth` may be loaded.

    Raises:
        UnsupportedModelError: no weights that this program loads. Facts: `architecture` (empty).
        PickleError: the weights are pickles, and those were not allowed. Facts: `paths`.
        UsageError: a pipeline and no component, or one that is not there. Facts: `components`.
        CheckpointError: the index is none, or names a file that the release does not have.
        CorruptError: the index is not what was signed.
    """
    layout = layout_of([entry.path for entry in manifest.files])
    if component or layout.kind == "diffusers":
        weights = _component(manifest, layout, component)
        return _plan(manifest, folder, locations, weights, _index_of(component, manifest, weights))
    if layout.kind == "mistral" and layout.pickles:
        if not allow_pickle:
            raise PickleError(
                f"{manifest.release}: its weights are pickles: {', '.join(layout.weights)}.",
                hint="Add --allow-pickle if you trust the publisher that far: torch's restricted unpickler, which "
                "makes tensors and nothing else, reads them.",
                paths=list(layout.weights),
            )
        return Plan(_entries(manifest, layout.weights), pickles=True)
    if layout.pickles or not layout.weights or layout.kind in ("gguf", "unknown"):
        raise _nothing_to_load(manifest, layout)
    index = {"huggingface": INDEX, "mistral": CONSOLIDATED_INDEX}.get(layout.kind, "")
    return _plan(manifest, folder, locations, layout.weights, index if index in layout.config else "")


def _plan(
    manifest: Manifest, folder: Path, locations: Mapping[str, Path], weights: Sequence[str], index_path: str
) -> Plan:
    entries = {entry.path: entry for entry in manifest.files}
    if not index_path:
        return Plan(_entries(manifest, weights))
    index = _read_index(entries[index_path], folder, locations)
    if missing := sorted(set(index.values()) - entries.keys()):
        raise CheckpointError(
            f"{index_path} names {missing[0]}, which is not in the release.",
            hint="The publisher must publish the checkpoint again, whole.",
            path=index_path,
            missing=missing,
        )
    return Plan(_entries(manifest, index.values()), MappingProxyType(index))


def _entries(manifest: Manifest, paths: Iterable[str]) -> tuple[FileEntry, ...]:
    wanted = set(paths)
    return tuple(entry for entry in manifest.files if entry.path in wanted)


def _component(manifest: Manifest, layout: Layout, component: str) -> Sequence[str]:
    names = ", ".join(layout.components) or "none"
    if not component:
        raise UnsupportedModelError(
            f"{manifest.release} is {layout.what}, each with weights of its own: {names}.",
            hint="In Python: weightshare.open(…).state_dict(component=…) loads one of them, proven.",
            architecture="",
            components=list(layout.components),
        )
    if component not in layout.components:
        raise UsageError(
            f"{manifest.release} has no model called {component!r} in it; it has {names}.",
            hint="A component is the name of a folder with weights, in a pipeline of several models.",
            components=list(layout.components),
        )
    return layout.components[component]


def _index_of(component: str, manifest: Manifest, weights: Sequence[str]) -> str:
    """The index in a component's folder whose series is the one to load, empty if there is none."""
    for entry in manifest.files:
        parent, _, name = entry.path.rpartition("/")
        stem = entry.path.removesuffix(_INDEX_SUFFIX)
        if parent == component and name.endswith(_INDEX_SUFFIX) and weights[0].startswith(f"{stem}-"):
            return entry.path
    return ""


def narrowed(plan: Plan, selection: Selection, release: str) -> Plan:
    """The shards that a selection needs, as far as the index tells; without one, all of them.

    Raises:
        UsageError: the selection names what is not there, or leaves nothing.
    """
    if not plan.index:
        return plan
    selection.require(plan.index.keys(), release)
    needed = {path for name, path in plan.index.items() if selection.chooses(name)}
    index = {name: path for name, path in plan.index.items() if path in needed}
    return Plan(tuple(entry for entry in plan.shards if entry.path in needed), index)


def _read_index(entry: FileEntry, folder: Path, locations: Mapping[str, Path]) -> dict[str, str]:
    data = read_proven(entry, folder, locations)
    try:
        table = json.loads(data)
        index = table["weight_map"]
        sound = isinstance(index, dict) and index and all(_is_shard(value) for value in index.values())
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise CheckpointError(
            f"{entry.path}: no `weight_map` from tensor names to safetensors files beside it.",
            hint="The publisher must publish the checkpoint again, with the index its tools wrote.",
            path=entry.path,
        )
    parent, slash, _ = entry.path.rpartition("/")
    return {str(name): f"{parent}{slash}{path}" for name, path in index.items()}


def _is_shard(value: object) -> bool:
    return isinstance(value, str) and value.endswith(SUFFIX) and "/" not in value


def _nothing_to_load(manifest: Manifest, layout: Layout) -> UnsupportedModelError:
    paths = [entry.path for entry in manifest.files]
    if deep := [path for path in paths if path.endswith(SUFFIX)]:
        found = f"its safetensors files lie in folders ({deep[0]})"
    elif layout.kind == "gguf":
        found = f"its weights are GGUF ({layout.weights[0]})"
    elif pickles := [path for path in paths if is_pickle(path)]:
        found = f"its weights are pickles ({pickles[0]}), which are loaded from Mistral's own layout only"
    else:
        found = "it holds no weights that this program knows"
    return UnsupportedModelError(
        f"{manifest.release}: no safetensors file at the top of the folder; {found}.",
        hint="The files are proven all the same: give the folder to a program that knows them.",
        architecture="",
    )
