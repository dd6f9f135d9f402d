"""What the Hub calls a file's bytes: the SHA-256 of one in LFS, the git blob id of any other.

The cache of huggingface_hub names a blob by the ETag with which the Hub serves it, so whoever fills the cache without
asking the Hub has to know which files it keeps in LFS. In this order: its listing of the commit, if huggingface_hub has
left one in the cache; the size, since it takes nothing over 10 MiB into git; the `.gitattributes` of the commit; or
what the Hub writes there when it makes a repository. A wrong guess costs a second download one day, if huggingface_hub
looks for the blob under its other name. It spoils nothing: snapshots lead to the right bytes, and `hf cache verify`
goes by them.

Patterns are git's (gitattributes(5)): the last line that matches and says something of `filter` wins.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import translate
from functools import partial
from pathlib import Path

from weightshare.hub.listing import Listing
from weightshare.units import MIB

ATTRIBUTES = ".gitattributes"
MOST_IN_GIT = 10 * MIB
"""Bytes of the largest file that the Hub takes without LFS (Hub docs, "Getting started with repositories")."""

_HUB_DEFAULTS = """
*.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.lfs.* *.mlmodel *.model *.msgpack *.npy *.npz *.onnx *.ot
*.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* *.tar.* *.tar *.tflite *.tgz *.wasm *.xz
*.zip *.zst *tfevents*
"""
_MOST_LINES = 20_000
_LONGEST_LINE = 2048  # git's own limit on a line
_CHUNK = 1 * MIB
_LINE = re.compile(r'("(?:[^"\\]|\\.)*"|\S+)\s+(.*)')


@dataclass(frozen=True, slots=True)
class Etag:
    """A file's name among the blobs of a cache.

    Attributes:
        name: 64 hex digits of a SHA-256, or 40 of a git blob id.
        why: what told the one from the other, for people.
    """

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: str
    large: bool
    matches: Callable[[str], bool]


class Etags:
    """Names the blobs of one commit.

    Args:
        attributes: its `.gitattributes`, None if it has none.
        listing: the Hub's own list of its files by path, as far as it is known.
    """

    def __init__(self, attributes: bytes | None, listing: Listing | None = None) -> None:
        self._own = attributes is not None
        self._rules = _read(attributes) if attributes is not None else _defaults()
        self._listing = listing or {}

    def of(self, path: str, size: int, sha256: bytes, location: Path) -> Etag:
        """The name of one file's blob.

        Args:
            path: in the repository.
            size: bytes.
            sha256: of the file.
            location: where it can be read; it is not, if it is in LFS.

        Raises:
            OSError: it cannot be read.
        """
        large, why = self.large(path, size)
        return Etag(sha256.hex() if large else git_blob_id(location), why)

    def large(self, path: str, size: int) -> tuple[bool, str]:
        """Whether the Hub keeps a file in LFS, and what says so."""
        if path in self._listing:
            return self._listing[path].sha256 is not None, "the Hub's listing of the commit says so"
        if size > MOST_IN_GIT:
            return True, "it is over 10 MiB"
        where = ATTRIBUTES if self._own else "the Hub's defaults"
        for rule in reversed(self._rules):
            if rule.matches(path):
                return rule.large, f"{where}: {rule.pattern}"
        return False, f"{where} do not name it" if not self._own else f"{where} does not name it"


def git_blob_id(location: Path) -> str:
    """The SHA-1 by which git names a file's bytes.

    Raises:
        OSError: it cannot be read.
    """
    with location.open("rb") as file:
        digest = hashlib.sha1(b"blob %d\0" % location.stat().st_size, usedforsecurity=False)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _defaults() -> list[_Rule]:
    return [_Rule(pattern, True, _matcher(pattern)) for pattern in _HUB_DEFAULTS.split()]


def _read(attributes: bytes) -> list[_Rule]:
    rules = []
    for line in attributes.decode("utf-8", "replace").splitlines()[:_MOST_LINES]:
        found = _LINE.fullmatch(line.strip()) if len(line) <= _LONGEST_LINE else None
        if found is None or line.lstrip().startswith(("#", "[attr]")):
            continue
        pattern, words = found.group(1), found.group(2).split()
        if pattern.startswith('"'):
            pattern = re.sub(r"\\(.)", r"\1", pattern[1:-1])
        said = [word for word in words if word.lstrip("-!").partition("=")[0] == "filter"]
        if said and not pattern.startswith("!"):  # git forbids negative patterns here
            rules.append(_Rule(pattern, said[-1] == "filter=lfs", _matcher(pattern)))
    return rules


def _matcher(pattern: str) -> Callable[[str], bool]:
    """What tells whether a path matches one pattern; in time linear in the path, whoever wrote the pattern."""
    if "/" not in pattern:
        return partial(_last_part, _part(pattern))
    names = pattern.removeprefix("/").split("/")
    names = [name for name, after in zip(names, [*names[1:], ""], strict=True) if not name == after == "**"]
    parts = [None if name == "**" else _part(name) for name in names]
    return partial(_all_parts, parts)


def _last_part(part: re.Pattern[str], path: str) -> bool:
    return part.match(path.rpartition("/")[2]) is not None


def _all_parts(parts: list[re.Pattern[str] | None], path: str) -> bool:
    """Whether the parts of a path are those of a pattern, where None stands for any number of them."""
    reached = {0}
    for name in path.split("/"):
        ahead = _over_stars(parts, reached)
        reached = {
            at if part is None else at + 1
            for at in ahead
            if at < len(parts) and ((part := parts[at]) is None or part.match(name))
        }
    last = len(parts) - 1
    # `folder/**` is everything in the folder, and not the folder.
    return len(parts) in reached or (parts[last] is None and last in reached and len(path.split("/")) > last)


def _over_stars(parts: list[re.Pattern[str] | None], reached: set[int]) -> set[int]:
    return reached | {at + 1 for at in reached if at < len(parts) and parts[at] is None}


def _part(pattern: str) -> re.Pattern[str]:
    """One part of a pattern; Python's translation of a glob is by atomic groups, and cannot be made to run long."""
    glob = pattern.replace("[[:space:]]", "[ \t]")
    glob = re.sub(r"\\(.)", lambda found: f"[{found.group(1)}]", glob).replace("[^", "[!")
    return re.compile(translate(glob))
