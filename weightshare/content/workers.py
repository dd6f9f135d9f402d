"""Worker processes that hash: started fresh, fed and heard through pipes, killed without ceremony.

Python's own pools would import the caller's main module in every worker (the command line with its libraries,
or a script that has loaded torch) and need helper processes of their own. These start the bare interpreter on
`worker.py`: about 25 ms and 18 MB each, and nothing imported that hashing does not need. A worker holds
nothing of value; it ends when its pipe closes, so it never outlives its parent.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from weightshare.content import worker as protocol
from weightshare.errors import WorkerError

MAX_WORKERS = 20
"""More would mostly wait for the disk; at 18 MB each, all together stay below 400 MB."""

_ROOT = str(Path(__file__).resolve().parents[2])
_COMMAND = "import sys; sys.path.append(sys.argv[1]); from weightshare.content import worker; worker.serve()"


def usable_cores() -> int:
    """Cores this process may use, at most `MAX_WORKERS`."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, MAX_WORKERS)


def can_start() -> bool:
    """Whether there is an interpreter to start: not so inside a frozen application."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


class Workers:
    """Some worker processes, as a context: entering starts them, leaving kills them, whatever they are at."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []
        self._heard: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        try:
            for worker in range(self.count):
                self._start(worker)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids, by worker."""
        return tuple(process.pid for process in self._processes)

    def grow(self) -> int:
        """Start one more; its number."""
        self.count += 1
        self._start(self.count - 1)
        return self.count - 1

    def send(self, worker: int, message: tuple[Any, ...]) -> None:
        """Give a worker something to do; it answers in order.

        Raises:
            WorkerError: it is gone.
        """
        pipe = self._processes[worker].stdin
        assert pipe is not None  # noqa: S101
        try:
            protocol.write(pipe, message)
        except OSError:
            raise self._died(worker) from None

    def hear(self, timeout: float = 0.0) -> tuple[int, Any] | None:
        """The next answer and who gave it, or None if none came in `timeout` seconds.

        Raises:
            WorkerError: a worker is gone.
        """
        try:
            worker, answer = self._heard.get(timeout > 0, timeout)
        except queue.Empty:
            return None
        if answer is None:
            raise self._died(worker)
        return worker, answer

    def close(self) -> None:
        """Kill all workers and wait until they are gone."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # a message it never took
                        pipe.close()
        self._processes, self._threads = [], []

    def _start(self, worker: int) -> None:
        # A group of their own: Ctrl-C reaches the parent alone, which then ends them.
        group: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", "-c", _COMMAND, _ROOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **group,
        )
        self._processes.append(process)
        assert process.stdout is not None  # noqa: S101
        thread = threading.Thread(
            target=self._listen, args=(worker, process.stdout), name=f"hash-{worker}", daemon=True
        )
        thread.start()
        self._threads.append(thread)

    def _listen(self, worker: int, pipe: IO[bytes]) -> None:
        for answer in protocol.messages(pipe):
            self._heard.put((worker, answer))
        self._heard.put((worker, None))

    def _died(self, worker: int) -> WorkerError:
        status = self._processes[worker].wait()
        how = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return WorkerError(
            f"A hashing process was {how} before it was done.",
            hint="Perhaps memory ran out, or somebody ended it. Run the command again.",
            status=status,
        )
