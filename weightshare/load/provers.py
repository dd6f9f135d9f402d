"""Hashing mapped shards on all cores, in processes of our own where that pays.

2.0 GB in memory, two cores: two processes prove 2.0 GB/s, two threads 1.4. hashlib lets go of the interpreter
lock for each 16 KiB leaf, some 9 µs of work, and threads spend much of their time getting it back; the gap
grows with the cores.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, cast

from weightshare.content.workers import can_start
from weightshare.errors import CorruptError, DiskError, LoadError
from weightshare.load.opened import REPAIR, OpenFile
from weightshare.load.piece_hashes import piece_hashes
from weightshare.load.proof import Stretch
from weightshare.load.prover_process import ANSWER, REQUEST
from weightshare.units import MIB

IN_PROCESS = 64 * MIB
"""Below this many bytes, processes take longer to start than they save."""

_SCRIPT = Path(__file__).resolve().with_name("prover_process.py")

Result = tuple[Stretch, list[bytes]]


def in_threads(
    work: Callable[[Stretch], list[bytes]], stretches: Sequence[Stretch], workers: int
) -> Iterator[Result]:
    """Run `work` on every stretch in a few threads; results come as they are ready.

    A failure, or a caller that stops listening, ends the remaining work.
    """
    if workers == 1 or len(stretches) == 1:
        for stretch in stretches:
            yield stretch, work(stretch)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="weightshare-load")
    results: queue.SimpleQueue[Result | BaseException] = queue.SimpleQueue()

    def one(stretch: Stretch) -> None:
        try:
            results.put((stretch, work(stretch)))
        except BaseException as error:
            results.put(error)

    try:
        for stretch in stretches:
            pool.submit(one, stretch)
        for _ in stretches:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Provers:
    """Proving processes that inherit the shards' descriptors, so that they map the very files we mapped."""

    def __init__(self, files: Sequence[OpenFile], piece_length: int, workers: int) -> None:
        self._files = files
        self._piece_length = piece_length
        self._workers = workers
        self._idle: queue.LifoQueue[subprocess.Popen[bytes]] = queue.LifoQueue()
        self._all: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    @staticmethod
    def possible() -> bool:
        """Whether this system hands descriptors to a Python that we can start."""
        return os.name == "posix" and can_start() and _SCRIPT.is_file()

    def __enter__(self) -> Provers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            process.kill()
        for process in self._all:
            with process:
                process.wait()

    def run(self, stretches: Sequence[Stretch]) -> Iterator[Result]:
        """The piece hashes of every stretch, as they are ready.

        Raises:
            CorruptError: a file was cut short while it was proven.
            DiskError: the disk reports a fault.
        """
        yield from in_threads(self._ask, stretches, min(self._workers, max(1, len(stretches))))

    def _take(self) -> subprocess.Popen[bytes]:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own script
                [sys.executable, "-I", "-S", str(_SCRIPT), str(_SCRIPT.parents[2])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[file.fd for file in self._files],
            )
            with self._lock:
                self._all.append(process)
            return process

    def _ask(self, stretch: Stretch) -> list[bytes]:
        file = self._files[stretch.shard]
        process = self._take()
        stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        try:
            stdin.write(
                REQUEST.pack(file.fd, self._piece_length, stretch.width, stretch.offset, stretch.length)
            )
            stdin.flush()
            answer = stdout.read(ANSWER.size)
            if len(answer) < ANSWER.size:
                raise BrokenPipeError
        except BrokenPipeError:
            raise _ended(file, process.wait()) from None
        fault, count = ANSWER.unpack(answer)
        hashes = stdout.read(32 * count)
        self._idle.put(process)
        if fault:
            raise DiskError(
                f"{file.path}: cannot be read: {os.strerror(fault)}.",
                hint="The disk reports a fault. Check it, then repair the release.",
                path=str(file.location),
            )
        return [hashes[i : i + 32] for i in range(0, len(hashes), 32)]


def hash_mapped(view: memoryview, piece_length: int) -> Callable[[Stretch], list[bytes]]:
    """The same work in this process, for one shard mapped at `view`."""

    def work(stretch: Stretch) -> list[bytes]:
        with view[stretch.offset : stretch.offset + stretch.length] as data:
            return piece_hashes(data, piece_length, stretch.width)

    return work


def _ended(file: OpenFile, status: int) -> CorruptError | LoadError:
    if change := file.changed():
        return CorruptError(
            f"{file.path}: changed while it was proven: {change}.",
            hint=REPAIR,
            path=file.path,
            pieces=[],
            expected=file.entry.size,
            found=change,
        )
    return LoadError(
        f"{file.path}: a proving process ended with status {status}.",
        hint="It may have been out of memory. Try again, or with `--private`.",
        path=file.path,
    )
