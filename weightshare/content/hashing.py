"""Every digest of every file of a checkpoint, each byte read once, by all cores.

`hash_files` makes the whole-file SHA-256 that the manifest signs, the BitTorrent v2 piece layers and roots (BEP
52) and the v1 SHA-1 pieces of a hybrid in one pass. What bounds it is the CPU: per core and byte one SHA-256 for
the leaf, one for the whole file, and one SHA-1. `schedule` keeps the cores busy to the end, `workers` are the
processes, `digests` is what they do. Memory does not grow with the size of the files.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.content.digests import Digests, Hasher, Stamp, piece_hash, tree_length
from weightshare.content.prover import Prover
from weightshare.content.schedule import Job, Schedule
from weightshare.content.worker import Answer, run_jobs
from weightshare.content.workers import Workers, can_start, usable_cores
from weightshare.errors import CheckpointError, DiskError
from weightshare.manifest import merkle
from weightshare.progress import Observer, Phase, Progress, ignore
from weightshare.units import BLOCK, MIB

__all__ = ["FileHashes", "Prover", "hash_each", "hash_files", "piece_hash", "tree_length"]

SEGMENT = 8 * MIB
"""Least bytes of one job; a piece if that is longer."""

IN_PROCESS = 64 * MIB
"""Below this much work, starting processes takes longer than it saves."""

_DEPTH = 2  # jobs a worker has at hand, so that it never waits for an answer
_REPORT_EVERY = 0.2
_HINT = "Wait until nothing writes to the folder any more, then run the command again."


@dataclass(frozen=True, slots=True)
class FileHashes:
    """The digests of one file.

    Attributes:
        size: bytes.
        sha256: of the whole file.
        pieces_root: BitTorrent v2 root, None for an empty file.
        piece_layer: concatenated 32-byte piece hashes; empty if the file is no longer than a piece.
        v1_pieces: concatenated 20-byte SHA-1 of the file's pieces, the last one filled with zeros; empty
            unless hybrid.
        v1_last_unpadded: SHA-1 of the last piece without the zeros, as it counts for the last file of a
            torrent.
        v1_twin: concatenated SHA-1 of those pieces of a plain v1 torrent that lie wholly in this file; the
            others run across files: see `content.v1_twin`.
    """

    size: int
    sha256: bytes
    pieces_root: bytes | None
    piece_layer: bytes = b""
    v1_pieces: bytes = b""
    v1_last_unpadded: bytes = b""
    v1_twin: bytes = b""


def hash_files(
    files: Sequence[tuple[Path, int]],
    piece_length: int,
    *,
    hybrid: bool,
    workers: int | None = None,
    observe: Observer = ignore,
    v1_twin: bool = False,
) -> list[FileHashes]:
    """Hash some files.

    Args:
        files: path and size in bytes of each.
        piece_length: bytes, a power of two of at least 16 KiB.
        hybrid: make v1 pieces too.
        workers: processes; by default one per usable core, and none for little work.
        observe: told how far it is.
        v1_twin: also make the pieces of a plain v1 torrent of the files in this order.

    Returns:
        The digests, in the order of `files`.

    Raises:
        CheckpointError: a file is missing, has another size than given, or changed while it was read.
        DiskError: a file cannot be read.
        WorkerError: a worker process died.
    """
    work = _work(files, piece_length, hybrid, workers, observe, v1_twin, Phase.HASHING, stop=True)
    for outcome in work.failed.values():
        if isinstance(outcome, CheckpointError):
            raise outcome
        path = str(outcome.filename)
        if isinstance(outcome, FileNotFoundError):
            raise CheckpointError(f"{path}: it is gone.", hint=_HINT, path=path) from outcome
        raise DiskError(f"{path}: cannot be read: {outcome.strerror}.", path=path) from outcome
    return [work.outcome(index) for index in range(len(files))]


def hash_each(
    files: Sequence[tuple[Path, int]],
    piece_length: int,
    *,
    hybrid: bool,
    workers: int | None = None,
    observe: Observer = ignore,
    v1_twin: bool = False,
    phase: Phase = Phase.HASHING,
) -> list[FileHashes | CheckpointError | OSError]:
    """Like `hash_files`, but a file that changed or cannot be read is an outcome beside the others."""
    work = _work(files, piece_length, hybrid, workers, observe, v1_twin, phase, stop=False)
    return [work.failed.get(index) or work.outcome(index) for index in range(len(files))]


def _work(
    files: Sequence[tuple[Path, int]],
    piece_length: int,
    hybrid: bool,
    workers: int | None,
    observe: Observer,
    v1_twin: bool,
    phase: Phase,
    *,
    stop: bool,
) -> _Work:
    """Hash all files; with `stop`, the first failure ends the work."""
    if piece_length < BLOCK or piece_length & (piece_length - 1):
        raise ValueError(f"a piece length of {piece_length} is no power of two of at least {BLOCK}")
    work = _Work(files, piece_length, hybrid, v1_twin, _Meter(observe, phase, sum(size for _, size in files)))
    cost = sum(size + (-size % piece_length if hybrid else 0) for _, size in files)
    if workers is None:
        workers = usable_cores() if cost >= IN_PROCESS else 1
    if workers > 1 and not can_start():
        workers = 1
    schedule = Schedule(
        [(str(path), size) for path, size in files],
        max(SEGMENT, piece_length),
        workers=workers,
        padding=piece_length // 2 if hybrid else 0,
        twins=work.twins,
    )
    run = _in_processes if workers > 1 else _in_process
    with closing(run(schedule, piece_length, hybrid, workers)) as answers:
        for answer in answers:
            file = work.take(answer)
            if file is not None:
                if stop:
                    break
                schedule.drop(file)
    work.meter.end()
    return work


def _in_process(schedule: Schedule, piece_length: int, v1: bool, _: int) -> Generator[Answer, None, None]:
    hasher = Hasher(piece_length, v1=v1)
    try:
        while jobs := schedule.take(0):
            for job in jobs:
                yield from run_jobs(hasher, [job])
                schedule.finished(job)
    finally:
        hasher.close()


def _in_processes(
    schedule: Schedule, piece_length: int, v1: bool, count: int
) -> Generator[Answer, None, None]:
    busy = [0] * count
    with Workers(count) as workers:
        for worker in range(count):
            workers.send(worker, (piece_length, v1))
        while True:
            # Every worker gets its first job before any gets its second: files are spread before they are
            # shared.
            for depth in range(1, _DEPTH + 1):
                for worker in range(count):
                    if busy[worker] < depth and (jobs := schedule.take(worker)):
                        workers.send(worker, ("hash", [tuple(job) for job in jobs]))
                        busy[worker] += 1
            if not any(busy):
                return
            # A short wait, because on Windows a longer one would keep Ctrl-C waiting.
            heard = workers.hear(0.2)
            if heard is None:
                continue
            worker, answers = heard
            busy[worker] -= 1
            for answer in answers:
                schedule.finished(Job(*answer[0]))
            yield from answers


class _Work:
    """Puts together what comes of the jobs."""

    def __init__(
        self, files: Sequence[tuple[Path, int]], piece_length: int, hybrid: bool, twin: bool, meter: _Meter
    ) -> None:
        self._files = files
        self._piece_length = piece_length
        self.meter = meter
        self._parts = [_Parts() for _ in files]
        self.failed: dict[int, CheckpointError | OSError] = {}
        self.twins: list[int] = []
        self._twin_from_v1: set[int] = set()
        if twin:
            start = 0
            for index, (_, size) in enumerate(files):
                first = -start % piece_length
                start += size
                if first == 0 and hybrid:  # both torrents cut this file at the same places
                    self._twin_from_v1.add(index)
                    first = -1
                self.twins.append(first if first < size else -1)
        for index, (path, size) in enumerate(files):
            if size == 0:
                self._check_empty(index, path)

    def take(self, answer: Answer) -> int | None:
        """Take in an answer; returns the file's index if it cannot be hashed."""
        job = Job(*answer[0])
        found, problem = answer[1], answer[2]
        if job.file in self.failed:
            return None
        if found is None:
            path = self._files[job.file][0]
            if isinstance(problem, tuple):
                self.failed[job.file] = OSError(problem[0], problem[1], str(path))
            else:
                self.failed[job.file] = _changed(path, str(problem))
            return job.file
        digests = Digests(*found)
        parts = self._parts[job.file]
        if parts.stamp not in (None, digests.stamp):
            self.failed[job.file] = _changed(self._files[job.file][0], "it was written to while it was read")
            return job.file
        parts.stamp = digests.stamp
        if job.pieces:
            parts.layer[job.offset] = digests.layer
            parts.v1[job.offset] = digests.v1
            parts.v1_last_unpadded = digests.v1_last_unpadded or parts.v1_last_unpadded
        if job.whole:
            parts.twin.append(digests.twin)
            parts.sha256 = digests.sha256
        self.meter.add(job)
        return None

    def outcome(self, index: int) -> FileHashes:
        """The digests of a file that is done."""
        size, parts = self._files[index][1], self._parts[index]
        if size == 0:
            return FileHashes(0, hashlib.sha256().digest(), None)
        layer = b"".join(parts.layer[offset] for offset in sorted(parts.layer))
        v1 = b"".join(parts.v1[offset] for offset in sorted(parts.v1))
        twin = b"".join(parts.twin)
        if index in self._twin_from_v1:
            twin = v1[: size // self._piece_length * 20]
        if size <= self._piece_length:
            root, layer = layer, b""
        else:
            root = merkle.file_root(merkle.split_layer(layer), self._piece_length)
        return FileHashes(size, parts.sha256, root, layer, v1, parts.v1_last_unpadded, twin)

    def _check_empty(self, index: int, path: Path) -> None:
        try:
            found = path.stat().st_size
        except OSError as error:
            self.failed[index] = error
            return
        if found:
            self.failed[index] = _changed(path, f"it has {found} bytes, expected 0")


@dataclass(slots=True)
class _Parts:
    """What is known of one file so far: hashes by the offset of their segment."""

    layer: dict[int, bytes] = field(default_factory=dict)
    v1: dict[int, bytes] = field(default_factory=dict)
    v1_last_unpadded: bytes = b""
    twin: list[bytes] = field(default_factory=list)
    sha256: bytes = b""
    stamp: Stamp | None = None


class _Meter:
    """Turns finished jobs into progress. Pieces and whole-file digest count half a byte each."""

    def __init__(self, observe: Observer, phase: Phase, total: int) -> None:
        self._observe = observe
        self._phase = phase
        self._total = total
        self._halves = 0
        self._rate = 0.0
        self._last = time.monotonic()
        self._last_done = 0
        observe(Progress(phase, 0, total))

    def add(self, job: Job) -> None:
        self._halves += job.length * (job.whole + job.pieces)
        now = time.monotonic()
        passed = now - self._last
        if passed < _REPORT_EVERY:
            return
        done = self._halves // 2
        rate = (done - self._last_done) / passed
        self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate
        self._last, self._last_done = now, done
        self._observe(Progress(self._phase, done, self._total, self._rate))

    def end(self) -> None:
        self._observe(Progress(self._phase, self._halves // 2, self._total, self._rate))


def _changed(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path}: the file changed: {reason}.", hint=_HINT, path=str(path))
