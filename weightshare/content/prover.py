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
_AT_ONCE = 2 * MIB  # in one message: for small pieces messages cost as much as hashing


class Prover:
    """Hashes pieces in the background; a context, whose processes start when there is work for them.

    Not for more than one thread. `drain` is what moves the work along, so call it often.
    """

    def __init__(self, piece_length: int, *, workers: int | None = None) -> None:
        """Prove pieces of `piece_length` bytes with so many processes at the most, by default one per usable core."""
        self._piece_length = piece_length
        self._count = workers or usable_cores()
        self._depth = max(4, min(_MOST, _DEPTH // piece_length))
        self._workers: Workers | None = None
        self._busy: list[int] = []  # pieces at hand, by process
        self._waiting: deque[tuple[int, str, int, int, int]] = deque()
        self._keys: dict[int, int] = {}
        self._next = 0
        self._unsent = 0  # bytes of what waits

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
        self._unsent = 0
        self._busy = []

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
        self._unsent += length
        if self._unsent >= _AT_ONCE:
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
        self._feed()
        while self._workers is not None and self._keys:
            heard = self._workers.hear(0.0 if done else timeout)
            if heard is None:
                break
            worker, answers = heard
            self._busy[worker] -= len(answers)
            self._feed()
            for number, digest, problem in answers:
                outcome = digest if problem is None else OSError(problem[0] or errno.EIO, problem[1])
                done.append((self._keys.pop(number), outcome))
        return done

    def _feed(self) -> None:
        if not can_start():
            return
        if self._workers is None and self._waiting:
            self._workers = Workers(0)
            self._workers.__enter__()
        while self._waiting and self._workers is not None:
            worker = min(range(len(self._busy)), key=self._busy.__getitem__, default=None)
            if worker is None or self._busy[worker] >= self._depth:
                # A second process only for more than the first can do: a crowd on slow links needs one each.
                if len(self._busy) == self._count:
                    return
                worker = self._workers.grow()
                self._workers.send(worker, (self._piece_length, False))
                self._busy.append(0)
            pieces: list[tuple[int, str, int, int, int]] = []
            size = 0
            while self._waiting and size < _AT_ONCE and self._busy[worker] + len(pieces) < self._depth:
                pieces.append(self._waiting.popleft())
                size += pieces[-1][3]
            self._unsent -= size
            self._workers.send(worker, ("prove", pieces))
            self._busy[worker] += len(pieces)

    def _prove_here(
        self, number: int, path: str, offset: int, length: int, tree: int
    ) -> tuple[int, bytes | OSError]:
        key = self._keys.pop(number)
        try:
            return key, piece_hash(path, offset, length, tree)
        except OSError as error:
            return key, error
