"""Who hashes what next: a pure plan that keeps every core busy until the end.

Two kinds of work lie over the bytes of a file. The SHA-256 of the whole file is a chain: its state cannot
leave the process that began it, so one worker *owns* the file. Leaves and SHA-1 pieces are independent. A
file is cut into segments; its owner walks them in order and does both kinds in one read, as long as nobody
was faster. A worker that finds no file left to own *helps*: it claims the leaves and pieces of segments just
ahead of some owner, which then only has to carry its chain over them. The distance is bounded, so that the
second read of such a segment comes from the page cache and the disk is read once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_BATCH = 256  # small files that travel in one message


class Job(NamedTuple):
    """Bytes to read and what to make of them; travels to a worker as a plain tuple.

    Attributes:
        file: index of the file.
        path: where it lies.
        size: bytes of the whole file.
        offset: where to begin, a multiple of the piece length.
        length: bytes to read.
        whole: carry the whole-file SHA-256 (and the twin's pieces) over them.
        pieces: make leaves, and v1 pieces if those are wanted.
        twin: offset of the first piece of a v1 twin that begins in this file, -1 where there is none to make.
    """

    file: int
    path: str
    size: int
    offset: int
    length: int
    whole: bool
    pieces: bool
    twin: int = -1


@dataclass(slots=True)
class _Open:
    """A file that has an owner: how far its chain is assigned and done, its pieces claimed."""

    file: int
    chain: int = 0
    chained: int = 0
    claimed: int = 0


class Schedule:
    """Hands out the jobs of some files; largest files first, so that the end is even."""

    def __init__(
        self,
        files: Sequence[tuple[str, int]],
        segment: int,
        *,
        workers: int,
        padding: int = 0,
        twins: Sequence[int] = (),
    ) -> None:
        """Plan the work.

        Args:
            files: path and size of each; empty files are left out.
            segment: bytes of a job, a multiple of the piece length.
            workers: how many will ask; bounds how far helpers run ahead.
            padding: bytes that each file costs beyond its own (the zeros that fill its last v1 piece).
            twins: `Job.twin` of each file.
        """
        self._files = files
        self._segment = segment
        self._padding = padding
        self._twins = twins
        self._window = (2 * workers + 2) * segment
        order = sorted((i for i, (_, size) in enumerate(files) if size), key=lambda i: -files[i][1])
        self._large = deque(i for i in order if files[i][1] > segment)
        self._small = deque(i for i in order if files[i][1] <= segment)
        self._open: dict[int, _Open] = {}
        self._owned: dict[int, _Open] = {}

    def take(self, worker: int) -> list[Job]:
        """The next jobs of a worker, which must do them in order; empty if there is nothing for it now."""
        state = self._owned.get(worker)
        if state is None and self._large:
            state = _Open(self._large.popleft())
            self._owned[worker] = self._open[state.file] = state
        if state is not None:
            return [self._advance(worker, state)]
        return self._batch() or self._help()

    def finished(self, job: Job) -> None:
        """Take note of a job that is done."""
        state = self._open.get(job.file)
        if state is not None and job.whole:
            state.chained = job.offset + job.length
            if state.chained >= job.size:
                del self._open[job.file]

    def drop(self, file: int) -> None:
        """Give up a file that cannot be read."""
        self._open.pop(file, None)
        self._owned = {worker: state for worker, state in self._owned.items() if state.file != file}

    def _job(self, file: int, offset: int, length: int, *, whole: bool, pieces: bool) -> Job:
        path, size = self._files[file]
        twin = self._twins[file] if self._twins else -1
        return Job(file, path, size, offset, length, whole, pieces, twin)

    def _advance(self, worker: int, state: _Open) -> Job:
        size = self._files[state.file][1]
        offset = state.chain
        length = min(self._segment, size - offset)
        pieces = state.claimed <= offset
        state.chain = offset + length
        state.claimed = max(state.claimed, state.chain)
        if state.chain >= size:
            del self._owned[worker]
        return self._job(state.file, offset, length, whole=True, pieces=pieces)

    def _batch(self) -> list[Job]:
        jobs: list[Job] = []
        weight = 0
        while self._small and len(jobs) < _BATCH:
            size = self._files[self._small[0]][1]
            weight += size + self._padding
            if jobs and weight > self._segment:
                break
            jobs.append(self._job(self._small.popleft(), 0, size, whole=True, pieces=True))
        return jobs

    def _help(self) -> list[Job]:
        best: _Open | None = None
        most = 0
        for state in self._open.values():
            left = self._files[state.file][1] - state.claimed
            if left > most and state.claimed - state.chained < self._window:
                best, most = state, left
        if best is None:
            return []
        offset = best.claimed
        length = min(self._segment, most)
        best.claimed += length
        return [self._job(best.file, offset, length, whole=False, pieces=True)]
