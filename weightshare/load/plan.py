"""Which files of a release are the shards to load, told by the signed manifest and the index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from weightshare.errors import CheckpointError, UnsupportedModelError
from weightshare.load.proven import read_proven
from weightshare.manifest.kinds import is_pickle

if TYPE_CHECKING:
    from weightshare.load.selection import Selection
    from weightshare.manifest.model import FileEntry, Manifest

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to load.

    Attributes:
        shards: the files, in the manifest's order.
        index: tensor name to the path of its shard, as the index says; empty without an index.
    """

    shards: tuple[FileEntry, ...]
    index: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(entry.size for entry in self.shards)


def make_plan(manifest: Manifest, folder: Path, locations: Mapping[str, Path]) -> Plan:
    """Choose the shards of a release.

    The index (`model.safetensors.index.json`) decides where there is one, then `model.safetensors`, then all
    safetensors files at the top of the folder: some releases carry the same weights twice, in a second
    layout.

    Raises:
        UnsupportedModelError: no safetensors file at the top of the folder. Facts: `architecture` (empty).
        CheckpointError: the index is none, or names a file that the release does not have.
        CorruptError: the index is not what was signed.
    """
    entries = {entry.path: entry for entry in manifest.files}
    if INDEX in entries:
        index = _read_index(entries[INDEX], folder, locations)
        wanted = set(index.values())
        if missing := sorted(wanted - entries.keys()):
            raise CheckpointError(
                f"{INDEX} names {missing[0]}, which is not in the release.",
                hint="The publisher must publish the checkpoint again, whole.",
                path=INDEX,
                missing=missing,
            )
        return Plan(tuple(entry for entry in manifest.files if entry.path in wanted), MappingProxyType(index))
    if SINGLE in entries:
        return Plan((entries[SINGLE],))
    shards = tuple(entry for entry in manifest.files if entry.path.endswith(SUFFIX) and "/" not in entry.path)
    if not shards:
        raise _nothing_to_load(manifest)
    return Plan(shards)


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
    return {str(name): str(path) for name, path in index.items()}


def _is_shard(value: object) -> bool:
    return isinstance(value, str) and value.endswith(SUFFIX) and "/" not in value


def _nothing_to_load(manifest: Manifest) -> UnsupportedModelError:
    paths = [entry.path for entry in manifest.files]
    if deep := [path for path in paths if path.endswith(SUFFIX)]:
        found = f"its safetensors files lie in folders ({deep[0]}), as in a pipeline of several models"
    elif gguf := [path for path in paths if path.endswith(".gguf")]:
        found = f"its weights are GGUF ({gguf[0]})"
    elif pickles := [path for path in paths if is_pickle(path)]:
        found = f"its weights are pickles ({pickles[0]}), which are never loaded"
    else:
        found = "it holds no weights that this program knows"
    return UnsupportedModelError(
        f"{manifest.release}: no safetensors file at the top of the folder; {found}.",
        hint="The files are proven all the same: give the folder to a program that knows them.",
        architecture="",
    )
