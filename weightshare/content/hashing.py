"""Every digest of every file of a checkpoint, each byte read once, by all cores.

`hash_files` makes the whole-file SHA-256 that the manifest signs, the BitTorrent v2 piece layers and roots (BEP
52) and the v1 SHA-1 pieces of a hybrid in one pass. What bounds it is the CPU: per core and byte one SHA-256 for
the leaf, one for the whole file, and one SHA-1. `schedule` keeps the cores busy to the end, `workers` are the
processes, `digests` is what they do. Memory does not grow with the size of the files.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

from weightshare.content.digests import Hasher, piece_hash, tree_length
from weightshare.content.gathering import CHANGED_HINT, FileHashes, Gathering, Meter
from weightshare.content.prover import Prover
from weightshare.content.schedule import Job, Schedule
from weightshare.content.worker import Answer, run_jobs
from weightshare.content.workers import Workers, can_start, usable_cores
from weightshare.errors import CheckpointError, DiskError
from weightshare.progress import Observer, Phase, ignore
from weightshare.units import BLOCK, MIB

__all__ = ["FileHashes", "Prover", "hash_each", "hash_files", "piece_hash", "tree_length"]

SEGMENT = 8 * MIB
"""Least bytes of one job; a piece if that is longer."""

IN_PROCESS = 64 * MIB
"""Below this much work, starting processes takes longer than it saves."""

_DEPTH = 2  # jobs a worker has at hand, so that it never waits for an answer


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
            raise CheckpointError(f"{path}: it is gone.", hint=CHANGED_HINT, path=path) from outcome
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
) -> Gathering:
    """Hash all files; with `stop`, the first failure ends the work."""
    if piece_length < BLOCK or piece_length & (piece_length - 1):
        raise ValueError(f"a piece length of {piece_length} is no power of two of at least {BLOCK}")
    work = Gathering(
        files, piece_length, hybrid, v1_twin, Meter(observe, phase, sum(size for _, size in files))
    )
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
