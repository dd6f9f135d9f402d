"""The files of a checkpoint folder: which belong to it, and which links may be followed.

Left out of a release, silently, because they are not part of the model:

- `weightshare.json` at the root: the signed manifest itself, made anew
- `.weightshare*`: our own working files
- `.git`: history, and with it everything that was ever deleted
- `.cache/huggingface` at the root: the Hub client's notes in a downloaded folder
- `.DS_Store`, `__pycache__`: what systems and Python leave behind

Everything else is published or the whole folder is refused. Symbolic links are followed inside the folder;
those of a Hugging Face Hub cache, where `models--X--Y/snapshots/<commit>/file` points into
`models--X--Y/blobs`, may also point there, and from there on into the store that the cache's repositories share,
`blobs/<2 hex>/<64 hex>` (huggingface_hub 2). Any other link could publish a file that nobody meant to show.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.errors import DiskError, LinkError, RefusedContentError
from weightshare.manifest.kinds import media_type
from weightshare.manifest.model import MANIFEST_NAME
from weightshare.manifest.text import escape

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, modification and status-change time (ns)."""

_IGNORED = frozenset({".git", ".DS_Store", "__pycache__"})
_HUB_NOTES = ".cache/huggingface"
_SHARED = re.compile(r"[0-9a-f]{64}")
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


def walk(root: Path) -> tuple[SourceFile, ...]:
    """The files of a folder, sorted by the UTF-8 bytes of their paths.

    Raises:
        LinkError: links that leave the folder, lead nowhere or to a folder.
        RefusedContentError: pipes, sockets, devices.
        DiskError: something cannot be read.
    """
    state = _Walk(root.resolve())
    try:
        state.run()
    except OSError as error:
        raise DiskError(
            f"{error.filename} cannot be read: {error.strerror}.", path=str(error.filename)
        ) from error
    state.refuse()
    return tuple(sorted(state.files, key=lambda file: file.path.encode("utf-8", "surrogateescape")))


def source_file(path: str, location: Path) -> SourceFile:
    """A file as it is now.

    Args:
        path: in the release.
        location: where it lies; not a link.

    Raises:
        OSError: it cannot be looked at.
    """
    status = location.lstat()
    return SourceFile(path, location, status.st_size, media_type(path), _stamp(status))


def listing(texts: Iterable[str]) -> str:
    """Names for a message: in order, safe to print, the first hundred of them."""
    shown = [escape(text) for text in sorted(texts)]
    more = f", and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more + "."


def hub_blobs(real: Path) -> Path | None:
    """The blob folder of the Hub cache that a folder lies in, if it is a snapshot or a part of one."""
    for folder in (real, *real.parents):
        repository = folder.parent.parent
        if folder.parent.name == "snapshots" and repository.name.startswith("models--"):
            return repository / "blobs"
    return None


def is_hub_blob(real: Path, link: Path, target: Path) -> bool:
    """Whether a link in a snapshot leads to its own repository's blobs, or by way of them into the shared store.

    Args:
        real: the folder that holds the link, with no link in its own path.
        link: the link.
        target: what it leads to in the end.

    Raises:
        OSError: the link cannot be read.
    """
    blobs = hub_blobs(real)
    if blobs is None:
        return False
    if target.parent == blobs:
        return True
    shared = target.parent.parent == blobs.parent.parent / "blobs" and target.parent.name == target.name[:2]
    if not shared or not _SHARED.fullmatch(target.name) or not link.is_symlink():
        return False
    # No link of huggingface_hub leads straight into the store, where files of other repositories lie too.
    first = link.parent / os.readlink(link)  # noqa: PTH115
    return first.parent.resolve() == blobs


@dataclass(slots=True)
class _Walk:
    """A walk over the folder: what is there, and what must not be."""

    real: Path
    files: list[SourceFile] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    special: list[str] = field(default_factory=list)

    def run(self) -> None:
        pending = [(self.real, "")]
        while pending:
            folder, prefix = pending.pop()
            with os.scandir(folder) as entries:
                for entry in entries:
                    path = prefix + entry.name
                    if _ignored(path, entry.name) and not _blocks_manifest(path, entry):
                        continue
                    if entry.is_symlink() or _is_junction(entry):
                        self._link(path, Path(entry.path))
                    elif entry.is_dir(follow_symlinks=False):
                        pending.append((Path(entry.path), f"{path}/"))
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
        elif is_hub_blob(self.real, link, target):
            self._file(path, target)
        else:
            self.links[path] = f"leaves the folder, to {str(target)!r}"

    def _file(self, path: str, location: Path) -> None:
        status = location.lstat()
        if not stat.S_ISREG(status.st_mode):
            self.special.append(path)
            return
        self.files.append(source_file(path, location))

    def refuse(self) -> None:
        if self.links:
            raise LinkError(
                "Symbolic links that are not followed: "
                + listing(f"{p} {why}" for p, why in self.links.items()),
                hint="Put copies of the files in their place, or remove the links.",
                paths=sorted(self.links),
            )
        if self.special:
            raise RefusedContentError(
                "Not regular files (pipes, sockets or devices): " + listing(self.special),
                hint="Remove them from the folder.",
                paths=sorted(self.special),
            )


def _ignored(path: str, name: str) -> bool:
    return name in _IGNORED or name.startswith(".weightshare") or path in (MANIFEST_NAME, _HUB_NOTES)


def _blocks_manifest(path: str, entry: os.DirEntry[str]) -> bool:
    """Whether a folder stands where the manifest must go."""
    return path == MANIFEST_NAME and entry.is_dir()


def _is_junction(entry: os.DirEntry[str]) -> bool:
    """Whether a Windows folder link stands there (known to Python 3.12 and later)."""
    is_junction = getattr(entry, "is_junction", None)
    return bool(is_junction and is_junction())


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
