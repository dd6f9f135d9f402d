"""Where the bytes of a run go that a server gives: into whole pieces in memory, or straight to a staged file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from weightshare.errors import DiskError, NoSpaceError, StoreError
from weightshare.swarm.supply import Run

Take = Callable[[memoryview], None]
Put = Callable[[int, bytearray], None]
Receive = Callable[[Run, Put], AbstractContextManager[Take]]


@contextmanager
def in_memory(run: Run, put: Put) -> Iterator[Take]:
    """Gather the bytes of a run into whole pieces."""
    piece, left = run.first, run.length
    data = bytearray(min(run.piece_length, left))
    view, filled = memoryview(data), 0

    def take(chunk: memoryview) -> None:
        nonlocal piece, left, data, view, filled
        at = 0
        while at < len(chunk):
            size = min(len(chunk) - at, len(view) - filled)
            view[filled : filled + size] = chunk[at : at + size]
            filled += size
            at += size
            if filled == len(view):
                view.release()  # the engine's side may add padding to it
                put(piece, data)
                piece, left = piece + 1, left - filled
                data = bytearray(min(run.piece_length, left))
                view, filled = memoryview(data), 0

    yield take


def into_files(folder: Path) -> Receive:
    """Write the bytes of runs where they belong below a folder, and hand on pieces without them."""

    @contextmanager
    def receive(run: Run, put: Put) -> Iterator[Take]:
        path = folder / run.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as error:
            raise disk_refused(path, error) from error
        done, told = 0, run.first

        def take(chunk: memoryview) -> None:
            nonlocal done, told
            try:
                while chunk:
                    size = os.pwrite(handle, chunk, run.offset + done)
                    done, chunk = done + size, chunk[size:]
            except OSError as error:
                raise disk_refused(path, error) from error
            whole = run.pieces.stop if done == run.length else run.first + done // run.piece_length
            for piece in range(told, whole):
                put(piece, bytearray())
            told = whole

        try:
            yield take
        finally:
            os.close(handle)

    return receive


def disk_refused(path: Path, error: OSError) -> StoreError:
    """What to tell the user of a staged file that cannot be written."""
    hint = "Mend that; what is there is kept, and the same command resumes."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpaceError(f"The disk is full: {path} could not be written.", hint=hint, path=str(path))
    return DiskError(f"{path} cannot be written: {error.strerror or error}.", hint=hint, path=str(path))
