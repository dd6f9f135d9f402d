"""The plan alone: every byte gets both kinds of work exactly once, whoever asks in whatever order."""

from __future__ import annotations

import random
from collections import deque

import pytest

from weightshare.content.schedule import Job, Schedule


def run(sizes: list[int], segment: int, workers: int, seed: int) -> list[tuple[int, Job]]:
    """Let workers of random speed do it all; returns who did what."""
    chance = random.Random(seed)
    schedule = Schedule([(str(i), size) for i, size in enumerate(sizes)], segment, workers=workers)
    queues: list[deque[Job]] = [deque() for _ in range(workers)]
    done: list[tuple[int, Job]] = []
    while True:
        for worker, waiting in enumerate(queues):
            while len(waiting) < 2 and (jobs := schedule.take(worker)):
                waiting.extend(jobs)
        busy = [worker for worker, waiting in enumerate(queues) if waiting]
        if not busy:
            return done
        worker = chance.choice(busy)
        job = queues[worker].popleft()
        schedule.finished(job)
        done.append((worker, job))


@pytest.mark.parametrize("workers", [1, 2, 5, 16])
@pytest.mark.parametrize(
    "sizes", [[], [0], [1], [10], [1000], [1000, 1000, 1000], [7] * 600, [5, 1003, 0, 99, 40, 41, 500]]
)
@pytest.mark.parametrize("seed", range(5))
def test_every_byte_is_done_once(sizes: list[int], workers: int, seed: int) -> None:
    done = run(sizes, 40, workers, seed)
    for kind in ("whole", "pieces"):
        for file, size in enumerate(sizes):
            spans = sorted((j.offset, j.length) for _, j in done if j.file == file and getattr(j, kind))
            position = 0
            for offset, length in spans:
                assert offset == position
                position += length
            assert position == size
    for file in range(len(sizes)):
        chain = [(worker, job.offset) for worker, job in done if job.file == file and job.whole]
        assert len({worker for worker, _ in chain}) <= 1  # a chain cannot change hands
        assert chain == sorted(chain)  # nor go back


def test_idle_workers_help_with_one_large_file() -> None:
    done = run([40_000], 40, 2, 1)
    helped = [job for worker, job in done if not job.whole]
    assert len(helped) > 200
    assert {worker for worker, job in done if job.whole} == {0}


def test_helpers_stay_close_to_the_owner() -> None:
    schedule = Schedule([("a", 100_000)], 10, workers=4)
    assert schedule.take(0)[0].whole
    taken = 0
    while schedule.take(1):
        taken += 1
    assert taken == 9  # ten segments from the one that is not done yet
    schedule.finished(Job(0, "a", 100_000, 0, 10, True, True))
    assert schedule.take(1)[0].offset == 100
    assert not schedule.take(1)


def test_small_files_travel_together_and_padding_counts() -> None:
    files = [(str(i), 10) for i in range(100)]
    assert len(Schedule(files, 200, workers=1).take(0)) == 20
    assert len(Schedule(files, 200, workers=1, padding=90).take(0)) == 2


def test_a_dropped_file_frees_its_owner() -> None:
    schedule = Schedule([("a", 100), ("b", 90)], 10, workers=1)
    assert schedule.take(0)[0].path == "a"
    schedule.drop(0)
    assert schedule.take(0)[0].path == "b"
