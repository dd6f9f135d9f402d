"""Hashing shards on all cores, in processes of our own where that pays.

hashlib lets go of the interpreter lock for each 16 KiB leaf, some 10 µs of work, and threads spend much of their time
getting it back; the gap to processes grows with the cores. Each process always has a further request at hand, so
that it never waits for its caller, and the caller asks for bytes of the disk some way ahead of all of them.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from weightshare.content.workers import can_start
from weightshare.errors import CorruptError, DiskError, LoadError
from weightshare.load.opened import REPAIR, OpenFile
from weightshare.load.piece_hashes import piece_hashes
from weightshare.load.proof import Stretch
from weightshare.load.prover_process import ANSWER, NO_SLOT, REQUEST
from weightshare.load.reading_ahead import ReadAhead
from weightshare.load.slots import Slots
from weightshare.load.threads import made_in_threads
from weightshare.units import MIB

IN_PROCESS = 64 * MIB
"""Below this many bytes, processes take longer to start than they save."""

DEPTH = 2
"""Requests that a process has at hand: the one it works on, and the next."""

_SCRIPT = Path(__file__).resolve().with_name("prover_process.py")

Result = tuple[Stretch, list[bytes]]
Copy = Callable[[Stretch, int], None]
"""Takes a stretch's bytes out of the slot that lies so many bytes into the shared memory."""


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

    def one(stretch: Stretch) -> Result:
        return stretch, work(stretch)

    yield from made_in_threads(one, stretches, workers)


class Provers:
    """Proving processes that inherit the shards' descriptors, so that they read the very files we opened.

    They start when this is made, and are at work some 40 ms later: make it early, and do other things meanwhile.
    """

    def __init__(
        self, files: Sequence[OpenFile], piece_length: int, workers: int, *, slots: Slots | None = None
    ) -> None:
        """Start `workers` processes.

        Args:
            files: the shards.
            piece_length: bytes.
            workers: how many.
            slots: memory to read into, `DEPTH` slots for each; by default the files' mappings are hashed.
        """
        self._files = files
        self._piece_length = piece_length
        self._slots = slots
        self._all: list[subprocess.Popen[bytes]] = []
        slots_fd = -1 if slots is None else slots.fd
        inherited = [file.fd for file in files] + ([slots_fd] if slots is not None else [])
        try:
            for _ in range(workers):
                self._all.append(
                    subprocess.Popen(  # noqa: S603 - our own interpreter and our own script
                        [
                            *(sys.executable, "-I", "-S", str(_SCRIPT)),
                            *(str(_SCRIPT.parents[2]), str(slots_fd)),
                        ],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL,
                        pass_fds=inherited,
                        process_group=0,
                    )
                )
        except BaseException:
            self.close()
            raise

    @staticmethod
    def possible() -> bool:
        """Whether this system hands descriptors to a Python that we can start."""
        return os.name == "posix" and can_start() and _SCRIPT.is_file()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes' ids."""
        return tuple(process.pid for process in self._all)

    def close(self) -> None:
        """End the processes."""
        for process in self._all:
            process.kill()
        for process in self._all:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # a request that it never took
                        pipe.close()
        self._all = []

    def run(self, stretches: Sequence[Stretch], copy: Copy | None = None) -> Iterator[Result]:
        """The piece hashes of every stretch, as they are ready; a stretch has been copied by then.

        Args:
            stretches: what to hash, in the order in which it should be read.
            copy: called, by several threads, with each stretch that has been hashed in a slot.

        Raises:
            CorruptError: a file was cut short while it was proven.
            DiskError: the disk reports a fault.
        """
        todo = deque(stretches)
        ahead = ReadAhead(self._files, stretches)
        results: queue.SimpleQueue[Result | BaseException] = queue.SimpleQueue()
        threads = [
            threading.Thread(
                target=self._serve,
                args=(number, todo, ahead, results, copy),
                name=f"weightshare-load-{number}",
            )
            for number in range(min(len(self._all), len(stretches)))
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in stretches:
                result = results.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            todo.clear()
            for thread in threads:
                thread.join()

    def _serve(
        self,
        number: int,
        todo: deque[Stretch],
        ahead: ReadAhead,
        results: queue.SimpleQueue[Result | BaseException],
        copy: Copy | None,
    ) -> None:
        """Keep one process busy until there is nothing left to do."""
        process = self._all[number]
        asked: deque[tuple[Stretch, int]] = deque()
        free = deque(self._slots.of(number) if self._slots is not None else [NO_SLOT] * DEPTH)
        try:
            while True:
                while free and todo:
                    try:
                        stretch = todo.popleft()
                    except IndexError:  # another thread was faster
                        break
                    asked.append((stretch, free.popleft()))
                    self._ask(process, *asked[-1])
                    ahead.taken(stretch.length)
                if not asked:
                    return
                stretch, slot = asked.popleft()
                hashes = self._hear(process, stretch)
                if copy is not None:
                    copy(stretch, slot)
                free.append(slot)
                results.put((stretch, hashes))
        except BaseException as error:
            results.put(error)

    def _ask(self, process: subprocess.Popen[bytes], stretch: Stretch, slot: int) -> None:
        file = self._files[stretch.shard]
        stdin = cast("IO[bytes]", process.stdin)
        try:
            stdin.write(
                REQUEST.pack(file.fd, self._piece_length, stretch.width, stretch.offset, stretch.length, slot)
            )
            stdin.flush()
        except BrokenPipeError:
            raise self._ended(process, file) from None

    def _hear(self, process: subprocess.Popen[bytes], stretch: Stretch) -> list[bytes]:
        file = self._files[stretch.shard]
        stdout = cast("IO[bytes]", process.stdout)
        answer = stdout.read(ANSWER.size)
        if len(answer) < ANSWER.size:
            raise self._ended(process, file)
        fault, count = ANSWER.unpack(answer)
        hashes = stdout.read(32 * count)
        if fault:
            raise DiskError(
                f"{file.path}: cannot be read: {os.strerror(fault)}.",
                hint="The disk reports a fault. Check it, then repair the release.",
                path=str(file.location),
            )
        return [hashes[i : i + 32] for i in range(0, len(hashes), 32)]

    def _ended(self, process: subprocess.Popen[bytes], file: OpenFile) -> CorruptError | LoadError:
        """Why a process ended: `file` is the one it was asked about, and another may be the one that was cut short."""
        status = process.wait()
        for each in (file, *self._files):
            if change := each.changed():
                return cut_short(each, change)
        return LoadError(
            f"{file.path}: a proving process ended with status {status}.",
            hint="It may have been out of memory. Try again, or with `--private`.",
            path=file.path,
        )


def hash_mapped(view: memoryview, piece_length: int) -> Callable[[Stretch], list[bytes]]:
    """The same work in this process, for one shard mapped at `view`."""

    def work(stretch: Stretch) -> list[bytes]:
        with view[stretch.offset : stretch.offset + stretch.length] as data:
            return piece_hashes(data, piece_length, stretch.width)

    return work


def cut_short(file: OpenFile, change: str) -> CorruptError:
    """The error for a file that changed while it was proven; `change` says how."""
    return CorruptError(
        f"{file.path}: changed while it was proven: {change}.",
        hint=REPAIR,
        path=file.path,
        pieces=[],
        tensors=[],
        expected=file.entry.size,
        found=change,
    )
