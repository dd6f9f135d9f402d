"""Work that threads do, in the order it was given, and what comes of it as it is ready."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Made = TypeVar("Made")


def made_in_threads(work: Callable[[Job], Made], jobs: Sequence[Job], threads: int) -> Iterator[Made]:
    """What `work` makes of every job, begun in their order, as it is ready.

    A failure, or a caller that stops listening, ends the remaining work; no thread runs on behind this.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="weightshare-load")
    made: queue.SimpleQueue[tuple[Made] | BaseException] = queue.SimpleQueue()

    def one(job: Job) -> None:
        try:
            made.put((work(job),))
        except BaseException as error:
            made.put(error)

    try:
        for job in jobs:
            pool.submit(one, job)
        for _ in jobs:
            result = made.get()
            if isinstance(result, BaseException):
                raise result
            yield result[0]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
