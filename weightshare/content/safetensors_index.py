"""`*.safetensors.index.json`: which shard holds which tensor, checked against the shards that are there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from weightshare.content.safetensors_header import Header
from weightshare.errors import CheckpointError, DiskError
from weightshare.manifest.text import escape

SUFFIX = ".safetensors.index.json"
_MAX_SIZE = 100_000_000


def check(
    locations: Mapping[str, Path], headers: Mapping[str, Header], warnings: list[str]
) -> frozenset[str]:
    """Check every index of a checkpoint; returns the shards they name.

    Args:
        locations: release path to file, of all files.
        headers: release path to header, of all shards.
        warnings: takes a line for each index that names a tensor which its shard does not hold.

    Raises:
        CheckpointError: an index is no index, or names shards that are not there. Fact `paths`: the shards.
        DiskError: an index cannot be read.
    """
    missing: dict[str, set[str]] = {}
    named: set[str] = set()
    for path, location in locations.items():
        if not path.lower().endswith(SUFFIX):
            continue
        folder = PurePosixPath(path).parent
        strangers = []
        names = {shard: {tensor.name for tensor in header.tensors} for shard, header in headers.items()}
        for tensor, shard in _weight_map(path, location).items():
            target = str(folder / shard)
            if target not in headers:
                missing.setdefault(path, set()).add(shard)
            elif tensor not in names[target]:
                strangers.append(tensor)
            named.add(target)
        if strangers:
            warnings.append(
                f"{escape(path)} names {len(strangers)} tensors that its shards do not hold, "
                f"the first is {escape(strangers[0])}."
            )
    if missing:
        shards = sorted({shard for names in missing.values() for shard in names})
        raise CheckpointError(
            "; ".join(
                f"{escape(path)} names shards that are not there: {escape(', '.join(sorted(names)))}"
                for path, names in missing.items()
            )
            + ".",
            hint="Complete the checkpoint, or remove the index.",
            paths=shards,
        )
    return frozenset(named)


def _weight_map(path: str, location: Path) -> dict[str, str]:
    try:
        size = location.stat().st_size
        if size > _MAX_SIZE:
            raise _bad(path, f"it has {size} bytes, {_MAX_SIZE} at most")
        table = json.loads(location.read_bytes())
    except OSError as error:
        raise DiskError(f"{path} cannot be read: {error.strerror}.", path=path) from error
    except (ValueError, RecursionError):
        raise _bad(path, "it is not JSON") from None
    weight_map = table.get("weight_map") if isinstance(table, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise _bad(path, "it has no `weight_map` from tensor names to shards")
    return weight_map


def _bad(path: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{escape(path)} is not an index: {reason}.",
        hint="Save the checkpoint again.",
        path=path,
        paths=[path],
    )
