"""Which paths a release may hold: those that mean the same file on every system, inside its own folder.

Rules are refused, never repaired: a repaired name is another name than the one that was signed. Every rule
holds on every system, so that what Linux publishes, Windows and macOS can store.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from weightshare.errors import UnsafePathError
from weightshare.manifest.text import quoted, unsafe_character
from weightshare.units import MAX_PART, MAX_PATH, MAX_PATH_DEPTH

_FORBIDDEN = re.compile(r'[\\:*?"<>|]')
_PLAIN = re.compile(r"[A-Za-z0-9._-]*[A-Za-z0-9_-]")
_DEVICE = "a part is a Windows device name"
_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"}
    | {f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"}
)


def check_path(path: str) -> None:
    """Check one relative, `/`-separated path.

    Raises:
        UnsafePathError: it breaks a rule; its facts are `path` and `reason`.
    """
    reason = _path_problem(path)
    if reason is not None:
        raise _unsafe(path, reason)


def check_part(part: str) -> None:
    """Check one name: a path of a single part, such as a torrent's `name`.

    Raises:
        UnsafePathError: it breaks a rule, or holds a `/`.
    """
    reason = _part_problem(part)
    if reason is not None:
        raise _unsafe(part, reason)


def check_paths(paths: Iterable[str]) -> None:
    """Check each path, and that no two collide where letter case or Unicode form does not count.

    Raises:
        UnsafePathError: a path breaks a rule, is there twice, or is both a file and a folder of another.
    """
    files: dict[str, str] = {}
    folders: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    for path in paths:
        folder, _, name = path.rpartition("/")
        # A folder that was seen had its parts, its depth and its spelling looked at with an earlier path.
        if folder in seen:
            reason = f"longer than {MAX_PATH} bytes" if _longer(path, MAX_PATH) else _part_problem(name)
            if reason is not None:
                raise _unsafe(path, reason)
        else:
            check_path(path)
        key = fold(path)
        if key in files:
            raise _unsafe(path, f"the same name as {quoted(files[key])} on systems that ignore case")
        files[key] = path
        if folder in seen:
            continue
        if folder:  # the root is none: `/x` lies in it no less than `x` does
            seen.add(folder)
        while folder:
            known = folders.setdefault(fold(folder), (folder, path))
            if known[0] != folder:
                raise _unsafe(path, f"its folder is that of {quoted(known[1])} on systems that ignore case")
            if known[1] != path:
                break
            folder = folder.rpartition("/")[0]
    for key in files.keys() & folders.keys():
        raise _unsafe(files[key], f"a file, and the folder of {quoted(folders[key][1])}")


def fold(path: str) -> str:
    """The form under which two paths are the same file on a system that ignores case and Unicode form."""
    if path.isascii():  # the same, sooner
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _unsafe(path: str, reason: str) -> UnsafePathError:
    return UnsafePathError(
        f"Unsafe path {quoted(path)}: {reason}.",
        hint="Rename the file and publish again; such a path is never stored.",
        path=path,
        reason=reason,
    )


def _longer(text: str, limit: int) -> bool:
    # Characters first: UTF-8 never has fewer bytes, and a huge text is not encoded in vain.
    return len(text) > limit or (not text.isascii() and len(text.encode("utf-8", "surrogatepass")) > limit)


def _path_problem(path: str) -> str | None:
    if not path:
        return "it is empty"
    if _longer(path, MAX_PATH):
        return f"longer than {MAX_PATH} bytes"
    if path.startswith("/"):
        return "it is absolute"
    parts = path.split("/")
    if len(parts) > MAX_PATH_DEPTH:
        return f"{len(parts)} parts deep, {MAX_PATH_DEPTH} at most"
    for part in parts:
        reason = _part_problem(part)
        if reason is not None:
            return reason
    return None


def _part_problem(part: str) -> str | None:
    if len(part) <= MAX_PART and _PLAIN.fullmatch(
        part
    ):  # most are; the rules below find nothing else in them
        return _DEVICE if _is_device(part) else None
    if not part:
        return "a part is empty"
    if part in (".", ".."):
        return f"a part is `{part}`"
    if _longer(part, MAX_PART):
        return f"a part is longer than {MAX_PART} bytes"
    unsafe = unsafe_character(part)
    if unsafe is not None:
        return f"it holds the control character U+{ord(unsafe):04X}"
    forbidden = _FORBIDDEN.search(part)
    if forbidden is not None:
        return f"it holds `{forbidden[0]}`"
    if "/" in part:
        return "a part holds `/`"
    if part[-1] in ". ":
        return "a part ends in a dot or a space"
    if not unicodedata.is_normalized("NFC", part):
        return "it is not in Unicode form NFC"
    return _DEVICE if _is_device(part) else None


def _is_device(part: str) -> bool:
    return part.partition(".")[0].rstrip(" ").upper() in _DEVICES
