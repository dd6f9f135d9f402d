"""Checks of this machine: what is installed, what the store lies on, what memory and GPUs there are."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import weightshare
from weightshare.api.doctoring.checks import Asked, Check, fail, ok, skip, warn
from weightshare.api.doctoring.reach import reach
from weightshare.content.bringing import Way, bring
from weightshare.content.home import Home
from weightshare.errors import StoreError, WeightshareError
from weightshare.load.cuda_driver import driver
from weightshare.swarm.engine_probe import engine_version
from weightshare.units import GIB, format_size
from weightshare.version import __version__

_LITTLE_SPACE = 20 * GIB
_LITTLE_MEMORY = 2 * GIB


def checks(asked: Asked) -> Iterator[Check]:
    """What this machine has and can do; what waits for others comes last."""
    yield ok(
        "weightshare",
        f"{__version__}, libtorrent {engine_version()}, Python {platform.python_version()}, {platform.system()}",
    )
    yield from _extras()
    yield _clock()
    yield from _store(asked.home)
    yield _hub_cache()
    yield _memory()
    yield _gpu()
    yield from reach(asked)


def _extras() -> Iterator[Check]:
    """Each extra of ours, by whether what it names is installed; the versions of what is."""
    try:
        mine = importlib.metadata.distribution("weightshare")
    except importlib.metadata.PackageNotFoundError:
        yield skip("extras", "this copy is run from its source, so what belongs to which extra is not known")
        return
    wants: dict[str, list[str]] = {}
    for line in mine.requires or ():
        found = re.fullmatch(r"([A-Za-z0-9_.-]+).*;\s*extra\s*==\s*['\"]([a-z0-9-]+)['\"]", line)
        if found and found[1] != "weightshare" and found[2] != "dev":
            wants.setdefault(found[2], []).append(found[1])
    common = wants.get("run", [])
    for extra, listed in sorted(wants.items()):
        packages = [name for name in listed if extra == "run" or name not in common]
        have = {name: version for name in packages if (version := _version(name))}
        lacks = [name for name in packages if name not in have]
        versions = ", ".join(f"{name} {version}" for name, version in have.items())
        if not lacks:
            yield ok("extra", f"[{extra}]: {versions}")
        elif extra == "run":
            advice = "pip install 'weightshare[run]'"
            yield warn("extra", f"[run]: lacks {', '.join(lacks)}; nothing can be loaded or run", advice)
        else:
            yield skip("extra", f"[{extra}] is not installed (lacks {', '.join(lacks)})")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _clock() -> Check:
    """Whether the clock is at least not behind this program: it dates what is signed, and certificates."""
    made = Path(weightshare.__file__).stat().st_mtime
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    if time.time() < made - 86400:
        return fail(
            "clock",
            f"{now}: before this program was installed",
            "Set it; certificates and the dates of releases go by it.",
            code=1,
        )
    return ok("clock", f"{now}; not before this program was installed")


def _store(home: Home) -> Iterator[Check]:
    """The disk that fetched releases go to."""
    place = _existing(home.path)
    try:
        disk = shutil.disk_usage(place)
    except OSError as error:
        yield fail("store", f"{home.path}: {error.strerror}", code=StoreError.exit_code)
        return
    free = f"{format_size(disk.free)} free of {format_size(disk.total)}"
    where = f"{home.path}, on {_file_system(place)}"
    if disk.free < _LITTLE_SPACE:
        yield warn("store", f"{where}: {free}", "Name a folder on a larger disk, to fetch or with --home.")
    else:
        yield ok("store", f"{where}: {free}", free=disk.free)
    try:
        with home.scratch() as scratch:
            (scratch / "a").write_bytes(bytes(4096))
            way = bring(scratch / "a", scratch / "b", may_link=True)
    except (WeightshareError, OSError) as error:
        yield fail(
            "store", f"cannot be written: {error}", "Check its permissions.", code=StoreError.exit_code
        )
        return
    if way is Way.REFLINK:
        yield ok("copies", "by reflink: bytes that two releases share take space once", way=str(way))
    elif way is Way.LINK:
        yield ok("copies", "by hard link; this file system knows no reflinks", way=str(way))
    else:
        yield warn("copies", "this file system knows neither reflinks nor hard links", way=str(way))


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _file_system(path: Path) -> str:
    """The type of the file system that holds a folder, by Linux's list of mounts."""
    try:
        mounts = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return "a disk"
    real = str(path.resolve())
    best, kind = "", "a disk"
    for line in mounts:
        words = line.split()
        if len(words) < 3:
            continue
        point = words[1].replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, words[2]
    return kind


def _hub_cache() -> Check:
    """The cache of the Hugging Face libraries, where models may lie already."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    home = os.environ.get("HF_HOME") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "huggingface")
    )
    cache = Path(named or Path(home, "hub")).expanduser()
    if not cache.is_dir():
        return skip("HF cache", f"none at {cache}")
    models = [entry for entry in cache.iterdir() if entry.name.startswith("models--")]
    return ok("HF cache", f"{len(models):,} models in {cache}", models=len(models))


def _memory() -> Check:
    try:
        text = Path("/proc/meminfo").read_text("ascii")
    except OSError:
        return skip("memory", "this system does not say how much is free")
    sizes = {name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    free, whole = sizes.get("MemAvailable", 0), sizes.get("MemTotal", 0)
    finding = f"{format_size(free)} available of {format_size(whole)}"
    if free < _LITTLE_MEMORY:
        return warn("memory", finding, "Close what you do not need; only small models fit.", available=free)
    return ok("memory", finding, available=free)


def _gpu() -> Check:
    """GPUs by their driver, and whether the torch that is installed can use them."""
    found = driver()
    torch = _version("torch")
    if found is None:
        return skip("GPU", "no CUDA driver; models run on the processor")
    if not found.gpus:
        return warn("GPU", f"a CUDA driver ({found.cuda}), and no GPU: {found.problem or 'none is there'}")
    names = ", ".join(f"{gpu.name} with {format_size(gpu.memory)}" for gpu in found.gpus)
    finding = f"{names}; the driver runs CUDA {found.cuda}"
    if not torch:
        return warn("GPU", f"{finding}; torch is not installed", "pip install 'weightshare[cuda]'")
    if "+cpu" in torch:
        return warn(
            "GPU", f"{finding}; torch {torch} cannot use it", "Install a torch that is built for CUDA."
        )
    return ok("GPU", f"{finding}, torch is {torch}", gpus=len(found.gpus))
