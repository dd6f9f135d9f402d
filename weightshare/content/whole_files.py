"""Staged files that are proven: flushed to the disk in the background, and looked at until they have their names."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from weightshare.content.naming import refused
from weightshare.content.receipts import Receipt
from weightshare.files import sync_file


class WholeFiles:
    """The proven files of one fetch, by their place in the file tree."""

    def __init__(self) -> None:
        self._files: dict[int, tuple[Path, Receipt]] = {}
        self._syncs: dict[int, tuple[Path, Future[None]]] = {}
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="fsync")

    def add(self, position: int, path: Path, receipt: Receipt) -> None:
        """This file is proven as it looked then; begin to flush it."""
        self._files[position] = path, receipt
        self._syncs[position] = path, self._syncer.submit(sync_file, path)

    def drop(self, position: int) -> None:
        """This file is to be proven anew."""
        self._files.pop(position, None)

    def changed(self) -> list[int]:
        """The files that do not look any more as they did."""
        return [at for at, (path, receipt) in self._files.items() if not receipt.still_holds(path)]

    @property
    def flushing(self) -> bool:
        """Whether some are not on the disk yet."""
        return not all(sync.done() for _, sync in self._syncs.values())

    def wait(self) -> None:
        """Return once all are on the disk.

        Raises:
            DiskError: the disk refused one.
        """
        for path, sync in self._syncs.values():
            try:
                sync.result()
            except OSError as error:
                raise refused(path, error) from error

    def close(self, *, wait: bool) -> None:
        """Begin to flush no more; wait for what was begun, if asked to."""
        self._syncer.shutdown(wait=wait, cancel_futures=True)
