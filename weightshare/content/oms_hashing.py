"""A folder against an OpenSSF Model Signing statement: every byte hashed again, every difference named.

The digests are whole-file or shard digests, SHA-256 or BLAKE2b, so nothing of the Merkle work is done here; hashlib
lets go of the interpreter's lock, so threads are enough. Files are found by walking the folder without following
links, and what is not found so does not count: no listed path is ever followed through a link.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.content.verifier import FileReport
from weightshare.content.workers import usable_cores
from weightshare.errors import DiskError
from weightshare.progress import Observer, Phase, Progress, ignore
from weightshare.trust.oms import VerifiedModel
from weightshare.trust.oms_statement import Resource, Serialization
from weightshare.units import MIB

BUFFER = MIB
"""Bytes read at a time, by each thread."""

_REPORT_EVERY = 0.2


@dataclass(frozen=True, slots=True)
class OmsReport:
    """What came of holding a folder against a statement.

    Attributes:
        files: a report for each listed file, in order, then one for each that nobody signed. `bad_pieces` are
            indices of shards.
        bytes: what was hashed.
        unlisted_empty: empty files that shards cannot list, so that nothing says whether they belong there.
    """

    files: tuple[FileReport, ...]
    bytes: int
    unlisted_empty: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """What stands at a path: its size in bytes, or why it is no file that may be hashed."""

    size: int
    problem: str = ""


def check_model(
    folder: Path,
    model: VerifiedModel,
    *,
    beside: Iterable[str] = (),
    workers: int | None = None,
    observe: Observer = ignore,
) -> OmsReport:
    """Compare a folder with what was signed.

    Args:
        folder: where the files should be.
        model: what was signed.
        beside: paths that may lie there unlisted, beside those that the statement leaves out: the signature itself.
        workers: threads; by default one per usable core.
        observe: told how far it is.

    Raises:
        DiskError: the folder cannot be listed.
    """
    statement = model.statement
    listed: dict[str, list[Resource]] = {path: [] for path in statement.paths}
    for resource in statement.resources:
        listed[resource.path].append(resource)
    found = _walk(folder, statement.serialization, frozenset(listed))
    digests = _hash_all(folder, listed, found, statement.serialization, workers or usable_cores(), observe)
    reports = [_report(path, listed[path], found.get(path), digests) for path in listed]
    left_out = frozenset(beside)
    extra = sorted(path for path in found if path not in listed and path not in left_out)
    empty: list[str] = []
    for path in extra:
        if (
            statement.serialization.shard_size is not None
            and not found[path].problem
            and not found[path].size
        ):
            empty.append(path)
        else:
            reports.append(FileReport(path, False, "extra", found=found[path].problem))
    done = sum(found[path].size for path in listed if path in found)
    return OmsReport(tuple(reports), done, tuple(empty))


def _walk(folder: Path, serialization: Serialization, listed: frozenset[str]) -> dict[str, _Found]:
    """Everything in the folder that is no folder, but for what is left out and not listed."""
    found: dict[str, _Found] = {}
    pending = [(str(folder), "")]
    try:
        while pending:
            place, prefix = pending.pop()
            with os.scandir(place) as entries:
                for entry in entries:
                    path = prefix + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        # A listed file counts even below what is left out.
                        below = f"{path}/"
                        if not serialization.ignores(path) or any(name.startswith(below) for name in listed):
                            pending.append((entry.path, below))
                    elif path in listed or not serialization.ignores(path):
                        found[path] = _look(entry, links=serialization.allow_symlinks)
    except OSError as error:
        raise DiskError(
            f"{error.filename} cannot be read: {error.strerror}.", path=str(error.filename)
        ) from error
    return found


def _look(entry: os.DirEntry[str], *, links: bool) -> _Found:
    if entry.is_symlink() and not links:
        return _Found(0, "a symbolic link")
    try:
        status = entry.stat()
    except OSError:
        return _Found(0, "a link that leads nowhere")
    if stat.S_ISDIR(status.st_mode):
        return _Found(0, "a link to a folder")
    return _Found(status.st_size) if stat.S_ISREG(status.st_mode) else _Found(0, "a device, pipe or socket")


class _Stop(Exception):  # noqa: N818  not an error: somebody else failed, or the user stopped it
    """The work is not wanted any more."""


@dataclass(slots=True)
class _Pace:
    """What the threads share: how far they are, and whether to go on."""

    done: int = 0
    stopped: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count: int) -> None:
        with self.lock:
            self.done += count
        if self.stopped:
            raise _Stop


def _hash_all(
    folder: Path,
    listed: Mapping[str, Sequence[Resource]],
    found: Mapping[str, _Found],
    serialization: Serialization,
    workers: int,
    observe: Observer,
) -> dict[str, bytes | OSError]:
    """The digest of each resource whose bytes are there, or why it could not be read, by its name."""
    jobs = [
        (resource, folder / path)
        for path, resources in listed.items()
        if path in found and not found[path].problem
        for resource in resources
        if resource.end is None or resource.end <= found[path].size
    ]
    total = sum((resource.end or found[resource.path].size) - resource.start for resource, _ in jobs)
    pace = _Pace()
    results: dict[str, bytes | OSError] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="oms") as pool:
        try:
            futures = {
                pool.submit(_digest, path, resource, serialization, pace): resource for resource, path in jobs
            }
            _watch(futures, pace, total, observe)
        except BaseException:
            pace.stopped = True
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for future, resource in futures.items():
        results[resource.name] = future.result()
    return results


def _watch(futures: Iterable[Future[bytes | OSError]], pace: _Pace, total: int, observe: Observer) -> None:
    began, pending = time.monotonic(), set(futures)
    observe(Progress(Phase.VERIFYING, 0, total))
    while pending:
        finished, pending = wait(pending, _REPORT_EVERY, FIRST_EXCEPTION)
        for future in finished:
            future.result()
        passed = max(time.monotonic() - began, 1e-3)
        observe(Progress(Phase.VERIFYING, pace.done, total, pace.done / passed))


def _digest(path: Path, resource: Resource, serialization: Serialization, pace: _Pace) -> bytes | OSError:
    """The digest of a file or a shard; of a file that is shorter than its shard, of what there is."""
    hasher = hashlib.new(serialization.hash_type)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    if not serialization.allow_symlinks:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    buffer = memoryview(bytearray(BUFFER))
    try:
        with open(os.open(path, flags), "rb", buffering=0) as file:  # noqa: PTH123  flags of our own
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                return OSError(errno.EINVAL, "no regular file")
            file.seek(resource.start)
            left = None if resource.end is None else resource.end - resource.start
            while left != 0:
                count = file.readinto(buffer[: BUFFER if left is None else min(BUFFER, left)])
                if not count:
                    break
                hasher.update(buffer[:count])
                left = None if left is None else left - count
                pace.add(count)
            after = os.fstat(file.fileno())
    except OSError as error:
        return error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return OSError(errno.EBUSY, "it changed while it was read")
    return hasher.digest()


def _report(
    path: str, resources: Sequence[Resource], found: _Found | None, digests: Mapping[str, bytes | OSError]
) -> FileReport:
    shards = resources[0].end is not None
    size = max(resource.end or 0 for resource in resources)
    if found is None:
        return FileReport(path, False, "missing", expected=f"{size} bytes" if shards else "")
    if found.problem:
        return FileReport(path, False, "not a regular file", found=found.problem)
    bad: list[int] = []
    for index, resource in enumerate(sorted(resources, key=lambda resource: resource.start)):
        digest = digests.get(resource.name)
        if isinstance(digest, OSError):
            return FileReport(path, False, "unreadable", found=digest.strerror or str(digest))
        if digest != resource.digest:
            bad.append(index)
    if shards and found.size != size:
        return FileReport(path, False, "wrong size", tuple(bad), f"{size} bytes", f"{found.size} bytes")
    if not bad:
        return FileReport(path, True)
    if shards:
        return FileReport(path, False, "corrupt", tuple(bad))
    digest = digests[path]
    return FileReport(
        path,
        False,
        "corrupt",
        expected=resources[0].digest.hex(),
        found=digest.hex() if isinstance(digest, bytes) else "",
    )
