"""How much memory there is for a copy of the weights, before anything is copied."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from weightshare.units import MIB

_MARGIN = 512 * MIB
"""For what comes beside the weights: the program, its libraries, and the first words of an answer."""

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def has_room(size: int) -> bool:
    """Whether a copy of `size` bytes fits in memory beside all else; true where the system does not say."""
    free = available()
    return free is None or free >= size + _MARGIN


def available() -> int | None:
    """Bytes that this process can still have without swapping, by the system and by the limits of its cgroup (v2).

    None where the system does not say; macOS and Windows do not, in a file.
    """
    found = [each for each in (_of_system(), _of_cgroup()) if each is not None]
    return min(found, default=None)


def _of_system() -> int | None:
    with suppress(OSError):
        match = re.search(r"^MemAvailable:\s*(\d+) kB", (_PROC / "meminfo").read_text(), re.MULTILINE)
        return int(match[1]) * 1024 if match else None
    return None


def _of_cgroup() -> int | None:
    """What is left of this process's own limit; files in memory can be dropped, so they are not counted as taken."""
    with suppress(OSError, ValueError):
        match = re.search(r"^0::/(.*)$", (_PROC / "self" / "cgroup").read_text(), re.MULTILINE)
        folder = _CGROUPS / match[1] if match else _CGROUPS
        limit = (folder / "memory.max").read_text().strip()
        if limit == "max":
            return None
        taken = int((folder / "memory.current").read_text())
        cached = re.search(r"^inactive_file (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
        return max(0, int(limit) - taken + (int(cached[1]) if cached else 0))
    return None
