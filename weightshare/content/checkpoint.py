"""What may be published: a folder of model files is read, and refused if it holds what must not leave it.

Which files belong to it, and which links are followed, is told in `walk`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from weightshare.content import safetensors_index
from weightshare.content.safetensors_header import Header, read_header
from weightshare.content.walk import SourceFile, listing, walk
from weightshare.errors import (
    CheckpointError,
    DiskError,
    PickleError,
    SafetensorsError,
    UnsafeNameError,
    UnsafePathError,
    UsageError,
)
from weightshare.manifest.kinds import is_code, is_pickle
from weightshare.manifest.model import MANIFEST_NAME, Weights
from weightshare.manifest.paths import check_path, fold
from weightshare.units import MAX_FILES, MAX_JSON_INTEGER

_USUAL_DOTFILES = frozenset({".gitattributes", ".gitignore"})


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that may be published.

    Attributes:
        root: the folder.
        files: sorted by the UTF-8 bytes of their paths.
        warnings: what is sound but should be known.
        weights: what the safetensors shards hold; None without any.
    """

    root: Path
    files: tuple[SourceFile, ...]
    warnings: tuple[str, ...] = ()
    weights: Weights | None = None


def scan(root: Path, *, allow_pickle: bool = False) -> Checkpoint:
    """Look at a folder and everything in it; tensor data is not read.

    Raises:
        UsageError: there is no such folder.
        LinkError: links that leave the folder, lead nowhere or to a folder.
        RefusedContentError: pipes, sockets, devices.
        UnsafeNameError: names that another system could not store, or would store as the same file.
        PickleError: files that run code when loaded, without `allow_pickle`.
        SafetensorsError: shards whose headers do not hold.
        CheckpointError: no files, too many, or an index that names shards that are not there.
        DiskError: something cannot be read.

    The first kind that occurs is raised; its message and its fact `paths` name every file of that kind.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UsageError(f"{root} {what}.", hint="Name the folder that holds the checkpoint.", path=str(root))
    files = walk(root)
    _check_amount(root, files)
    _check_names([file.path for file in files])
    warnings = _check_kinds(files, allow_pickle=allow_pickle)
    headers = _read_headers(files)
    warnings += [warning for header in headers.values() for warning in header.warnings]
    shards = safetensors_index.check({file.path: file.location for file in files}, headers, warnings)
    return Checkpoint(root, files, tuple(warnings), _weights(headers, shards))


def _check_amount(root: Path, files: tuple[SourceFile, ...]) -> None:
    if not files:
        raise CheckpointError(f"{root} holds no files to publish.", path=str(root), paths=[])
    if len(files) > MAX_FILES:
        raise CheckpointError(
            f"{root} holds {len(files)} files, {MAX_FILES} at most.",
            hint="Publish it in parts, or pack the small files.",
            paths=[],
        )
    large = [file.path for file in files if file.size > MAX_JSON_INTEGER]
    if large:
        raise CheckpointError(f"Files over {MAX_JSON_INTEGER} bytes: {listing(large)}", paths=large)


def _check_names(paths: list[str]) -> None:
    bad: dict[str, str] = {}
    places: dict[str, set[str]] = {fold(MANIFEST_NAME): {MANIFEST_NAME}}
    for path in paths:
        try:
            check_path(path)
        except UnsafePathError as error:
            bad[path] = str(error.facts["reason"])
        places.setdefault(fold(path), set()).add(path)
        for end in (i for i, character in enumerate(path) if character == "/"):
            places.setdefault(fold(path[:end]), set()).add(path[: end + 1])
    for path in paths:
        # Two folders may differ in case, since their files still have places of their own; anything else may
        # not.
        rivals = places[fold(path)] - {path}
        for end in (i for i, character in enumerate(path) if character == "/"):
            rivals |= {rival for rival in places[fold(path[:end])] if not rival.endswith("/")}
        if rivals:
            bad.setdefault(
                path, f"clashes with {min(rivals)!r} where letter case and Unicode form do not count"
            )
    if bad:
        raise UnsafeNameError(
            "Names that another system could not store as they are: "
            + listing(f"{path} ({reason})" for path, reason in bad.items()),
            hint="Rename the files.",
            paths=sorted(bad),
        )


def _check_kinds(files: tuple[SourceFile, ...], *, allow_pickle: bool) -> list[str]:
    warnings = []
    pickles = [file.path for file in files if is_pickle(file.path)]
    if pickles and not allow_pickle:
        raise PickleError(
            "Pickle files run code when they are loaded: " + listing(pickles),
            hint="Convert them to safetensors and remove them, or publish them with --allow-pickle.",
            paths=pickles,
        )
    if pickles:
        warnings.append("Pickle files, which run code when they are loaded: " + listing(pickles))
    code = [file.path for file in files if is_code(file.path)]
    if code:
        warnings.append("Program files, which are carried and never run: " + listing(code))
    hidden = [
        file.path
        for file in files
        if any(part.startswith(".") and part not in _USUAL_DOTFILES for part in file.path.split("/"))
    ]
    if hidden:
        warnings.append("Hidden files are published too: " + listing(hidden))
    return warnings


def _read_headers(files: tuple[SourceFile, ...]) -> dict[str, Header]:
    headers: dict[str, Header] = {}
    errors: list[SafetensorsError] = []
    for file in files:
        if not file.path.lower().endswith(".safetensors"):
            continue
        try:
            headers[file.path] = read_header(file.location, file.path)
        except SafetensorsError as error:
            errors.append(error)
        except OSError as error:
            raise DiskError(f"{file.path} cannot be read: {error.strerror}.", path=file.path) from error
    if errors:
        raise _joined(errors)
    return headers


def _joined(errors: list[SafetensorsError]) -> SafetensorsError:
    first = errors[0]
    facts = {**first.facts, "paths": [error.facts["path"] for error in errors]}
    return SafetensorsError(" ".join(error.message for error in errors), hint=first.hint, **facts)


def _weights(headers: Mapping[str, Header], indexed: frozenset[str]) -> Weights | None:
    """Facts about the tensors; of the shards that an index names if there is one, else of all.

    Some publishers put the same weights into a folder twice, sharded and in one file.
    """
    if not headers:
        return None
    tensors = [
        tensor
        for path, header in headers.items()
        if not indexed or path in indexed
        for tensor in header.tensors
    ]
    items = sum(_items(tensor.shape) for tensor in tensors)
    return Weights("safetensors", items, tuple(sorted({tensor.dtype for tensor in tensors})))


def _items(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count
