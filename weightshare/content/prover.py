"""Proofs of single pieces from disk, made by worker processes while the caller does other things."""

from __future__ import annotations

import errno
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from weightshare.content.digests import piece_hash
from weightshare.content.workers import Workers, can_start, usable_cores
from weightshare.units import MIB

# What a worker has at hand, so that it need not wait for the next `drain`.
_DEPTH = 16 * MIB
_MOST = 64  # small pieces


class Prover:
    """Hashes pieces in the background; a context, whose processes start with the first piece.

    Not for more than one thread. `drain` is what moves the work along, so call it often.
    """

    def __init__(self, piece_length: int, *, workers: int | None = None) -> None:
        """Prove pieces of `piece_length` bytes with so many processes, by default one per usable core."""
        self._piece_length = piece_length
        self._count = workers or usable_cores()
        self._depth = max(4, min(_MOST, _DEPTH // piece_length))
        self._workers: Workers | None = None
        self._busy: list[int] = [0] * self._count
        self._waiting: deque[tuple[int, str, int, int, int]] = deque()
        self._keys: dict[int, int] = {}
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is pending and end the processes."""
        if self._workers is not None:
            self._workers.close()
        self._workers = None
        self._waiting.clear()
        self._keys.clear()
        self._busy = [0] * self._count

    def hungry(self) -> bool:
        """Whether workers could do with more; where there is plenty, what is urgent then need not wait long."""
        return len(self._keys) < self._count * self._depth

    @property
    def pending(self) -> int:
        """Pieces submitted and not yet drained."""
        return len(self._keys)

    def submit(self, key: int, path: Path, offset: int, length: int, tree_length: int | None = None) -> None:
        """Hash a piece of a file.

        Args:
            key: comes back with the hash.
            path: the file.
            offset: where the piece begins, in bytes.
            length: its bytes in the file.
            tree_length: what its tree is padded to, if that is not the piece length (`digests.tree_length`).

        Raises:
            WorkerError: a worker process died.
        """
        self._keys[self._next] = key
        self._waiting.append((self._next, str(path), offset, length, tree_length or self._piece_length))
        self._next += 1
        self._feed()

    def drain(self, timeout: float = 0.0) -> list[tuple[int, bytes | OSError]]:
        """The pieces that are done: key, and hash or what stood in the way of reading it.

        Args:
            timeout: seconds to wait for the first one if none is done yet.

        Raises:
            WorkerError: a worker process died.
        """
        done: list[tuple[int, bytes | OSError]] = []
        if not can_start():
            while self._waiting:
                done.append(self._prove_here(*self._waiting.popleft()))
            return done
        while self._workers is not None and self._keys:
            heard = self._workers.hear(0.0 if done else timeout)
            if heard is None:
                break
            worker, (number, digest, problem) = heard
            self._busy[worker] -= 1
            self._feed()
            outcome = digest if problem is None else OSError(problem[0] or errno.EIO, problem[1])
            done.append((self._keys.pop(number), outcome))
        return done

    def _feed(self) -> None:
        if not can_start():
            return
        if self._workers is None and self._waiting:
            self._workers = Workers(self._count)
            self._workers.__enter__()
            for worker in range(self._count):
                self._workers.send(worker, (self._piece_length, False))
        while self._waiting and self._workers is not None:
            worker = min(range(self._count), key=self._busy.__getitem__)
            if self._busy[worker] >= self._depth:
                return
            self._workers.send(worker, ("prove", *self._waiting.popleft()))
            self._busy[worker] += 1

    def _prove_here(
        self, number: int, path: str, offset: int, length: int, tree: int
    ) -> tuple[int, bytes | OSError]:
        key = self._keys.pop(number)
        try:
            return key, piece_hash(path, offset, length, tree)
        except OSError as error:
            return key, error
