"""A small disk of a round's own: it can be filled up, and its folders can be made read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from weightshare.units import KIB, MIB


def missing() -> str:
    """Why there can be no small disks, empty if there can."""
    if not sys.platform.startswith("linux"):
        return "small disks are mounted on Linux alone"
    if os.geteuid() != 0:
        return "mounting a small disk wants root"
    if not shutil.which("mount") or not shutil.which("umount"):
        return "mount is not installed"
    return ""


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A tmpfs of `size` bytes at `folder`, gone afterwards."""
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "weightshare-chaos", str(folder))
    try:
        yield
    finally:
        thaw(folder)
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False, timeout=20)


def fill(disk: Path) -> Path:
    """Put a file on a disk that leaves no room, whoever else is writing there; returns it, to be removed."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        for step in (MIB, 64 * KIB, 4 * KIB):
            while shutil.disk_usage(disk).free >= step:
                # Somebody else may have been faster: then look again.
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), step)
    return ballast


def freeze(disk: Path, folder: Path) -> str:
    """Make a folder read-only, even for root; returns how, empty if it could not be done.

    The whole disk if nobody has a file on it open for writing; else the folders, in which nothing can then be made,
    renamed or removed. (A bind mount would not do: a process in a network namespace has mounts of its own.)
    """
    if _try("mount", "-o", "remount,ro", str(disk)):
        return "the disk"
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())] if folder.exists() else []
    frozen = [path for path in folders if _try("chattr", "+i", str(path))]
    return "the folders" if frozen else ""


def thaw(disk: Path) -> None:
    """Undo `freeze`."""
    _try("mount", "-o", "remount,rw", str(disk))
    _try("chattr", "-R", "-f", "-i", str(disk))


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")


def _try(*words: str) -> bool:
    with suppress(FileNotFoundError):
        return subprocess.run(words, capture_output=True, check=False, timeout=20).returncode == 0
    return False
