"""What may be published: a folder of model files is read, and refused if it holds what must not leave it.

Left out of a release, silently, because they are not part of the model:

- `weightshare.json` at the root: the signed manifest itself, made anew
- `.weightshare*`: our own working files
- `.git`: history, and with it everything that was ever deleted
- `.cache/huggingface` at the root: the Hub client's notes in a downloaded folder
- `.DS_Store`, `__pycache__`: what systems and Python leave behind

Everything else is published or the whole folder is refused. Symbolic links are followed inside the folder;
those of a Hugging Face Hub cache, where `models--X--Y/snapshots/<commit>/file` points into
`models--X--Y/blobs`, may also point there. Any other link could publish a file that nobody meant to show.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.content import safetensors_index
from weightshare.content.safetensors_header import Header, read_header
from weightshare.errors import (
    CheckpointError,
    DiskError,
    LinkError,
    PickleError,
    RefusedContentError,
    SafetensorsError,
    UnsafeNameError,
    UnsafePathError,
    UsageError,
)
from weightshare.manifest.kinds import is_code, is_pickle, media_type
from weightshare.manifest.model import MANIFEST_NAME, Weights
from weightshare.manifest.paths import check_path, fold
from weightshare.manifest.text import escape
from weightshare.units import MAX_FILES, MAX_JSON_INTEGER, MAX_PATH_DEPTH

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, modification and status-change time (ns)."""

_IGNORED = frozenset({".git", ".DS_Store", "__pycache__"})
_HUB_NOTES = ".cache/huggingface"
_USUAL_DOTFILES = frozenset({".gitattributes", ".gitignore"})
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to publish.

    Attributes:
        path: in the release: relative, `/`-separated.
        location: where its bytes lie, links followed.
        size: bytes.
        media_type: RFC 6838 type.
        stamp: its status when it was looked at.
    """

    path: str
    location: Path
    size: int
    media_type: str
    stamp: Stamp

    def unchanged(self) -> bool:
        """Whether the file's status is what it was."""
        try:
            return _stamp(self.location.stat()) == self.stamp
        except OSError:
            return False


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
    found = _Found(root, root.resolve())
    try:
        found.walk()
    except OSError as error:
        raise DiskError(
            f"{error.filename} cannot be read: {error.strerror}.", path=str(error.filename)
        ) from error
    found.refuse()
    files = tuple(sorted(found.files, key=lambda file: file.path.encode("utf-8", "surrogateescape")))
    _check_amount(root, files)
    _check_names([file.path for file in files])
    warnings = _check_kinds(files, allow_pickle=allow_pickle)
    headers = _read_headers(files)
    warnings += [warning for header in headers.values() for warning in header.warnings]
    shards = safetensors_index.check({file.path: file.location for file in files}, headers, warnings)
    return Checkpoint(root, files, tuple(warnings), _weights(headers, shards))


@dataclass(slots=True)
class _Found:
    """A walk over the folder: what is there, and what must not be."""

    root: Path
    real: Path
    files: list[SourceFile] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    special: list[str] = field(default_factory=list)

    def walk(self) -> None:
        pending = [(self.real, "", 0)]
        while pending:
            folder, prefix, depth = pending.pop()
            if depth > MAX_PATH_DEPTH:
                raise UnsafeNameError(
                    f"{escape(prefix)} lies more than {MAX_PATH_DEPTH} folders deep.", paths=[prefix]
                )
            with os.scandir(folder) as entries:
                for entry in entries:
                    path = prefix + entry.name
                    if _ignored(path, entry.name):
                        continue
                    if entry.is_symlink() or _is_junction(entry):
                        self._link(path, Path(entry.path))
                    elif entry.is_dir(follow_symlinks=False):
                        pending.append((Path(entry.path), f"{path}/", depth + 1))
                    else:
                        self._file(path, Path(entry.path))

    def _link(self, path: str, link: Path) -> None:
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a loop, before Python 3.13
            self.links[path] = f"leads nowhere, to {os.readlink(link)!r}"  # noqa: PTH115
            return
        if target.is_dir():
            self.links[path] = "leads to a folder"
        elif target.is_relative_to(self.real):
            inside = target.relative_to(self.real).as_posix()
            parts = inside.split("/")
            if any(_ignored("/".join(parts[: i + 1]), part) for i, part in enumerate(parts)):
                self.links[path] = f"leads to {inside!r}, which is not published"
            else:
                self._file(path, target)
        elif target.parent == hub_blobs(self.real):
            self._file(path, target)
        else:
            self.links[path] = f"leaves the folder, to {str(target)!r}"

    def _file(self, path: str, location: Path) -> None:
        status = location.lstat()
        if not stat.S_ISREG(status.st_mode):
            self.special.append(path)
            return
        self.files.append(SourceFile(path, location, status.st_size, media_type(path), _stamp(status)))

    def refuse(self) -> None:
        if self.links:
            raise LinkError(
                "Symbolic links that are not followed: "
                + _listing(f"{p} {why}" for p, why in self.links.items()),
                hint="Put copies of the files in their place, or remove the links.",
                paths=sorted(self.links),
            )
        if self.special:
            raise RefusedContentError(
                "Not regular files (pipes, sockets or devices): " + _listing(self.special),
                hint="Remove them from the folder.",
                paths=sorted(self.special),
            )


def _ignored(path: str, name: str) -> bool:
    return name in _IGNORED or name.startswith(".weightshare") or path in (MANIFEST_NAME, _HUB_NOTES)


def _is_junction(entry: os.DirEntry[str]) -> bool:
    """Whether a Windows folder link stands there (known to Python 3.12 and later)."""
    is_junction = getattr(entry, "is_junction", None)
    return bool(is_junction and is_junction())


def hub_blobs(real: Path) -> Path | None:
    """The blob folder of the Hub cache that a folder lies in, if it is a snapshot or a part of one."""
    for folder in (real, *real.parents):
        repository = folder.parent.parent
        if folder.parent.name == "snapshots" and repository.name.startswith("models--"):
            return repository / "blobs"
    return None


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


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
        raise CheckpointError(f"Files over {MAX_JSON_INTEGER} bytes: {_listing(large)}", paths=large)


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
        # Folders may differ in case, since their files still have places of their own; files may not.
        if rivals := sorted(places[fold(path)] - {path}):
            bad.setdefault(
                path, f"the same as {rivals[0]!r} where letter case or Unicode form does not count"
            )
    if bad:
        raise UnsafeNameError(
            "Names that another system could not store as they are: "
            + _listing(f"{path} ({reason})" for path, reason in bad.items()),
            hint="Rename the files.",
            paths=sorted(bad),
        )


def _check_kinds(files: tuple[SourceFile, ...], *, allow_pickle: bool) -> list[str]:
    warnings = []
    pickles = [file.path for file in files if is_pickle(file.path)]
    if pickles and not allow_pickle:
        raise PickleError(
            "Pickle files run code when they are loaded: " + _listing(pickles),
            hint="Convert them to safetensors and remove them, or publish them with --allow-pickle.",
            paths=pickles,
        )
    if pickles:
        warnings.append("Pickle files, which run code when they are loaded: " + _listing(pickles))
    code = [file.path for file in files if is_code(file.path)]
    if code:
        warnings.append("Program files, which are carried and never run: " + _listing(code))
    hidden = [
        file.path
        for file in files
        if any(part.startswith(".") and part not in _USUAL_DOTFILES for part in file.path.split("/"))
    ]
    if hidden:
        warnings.append("Hidden files are published too: " + _listing(hidden))
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


def _listing(texts: Iterable[str]) -> str:
    shown = [escape(text) for text in sorted(texts)]
    more = f", and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more + "."
