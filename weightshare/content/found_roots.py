"""The Merkle roots of files that other programs keep on this disk, and the memory of them.

What was hashed is remembered with what the file system said of the file then, as receipts by absolute path: a file that
nobody touched since is not hashed again. It is a memory and says where to look; whoever takes or serves such a file
proves it as any other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from weightshare.content.hashing import hash_each
from weightshare.content.receipts import Receipt, load_receipts, save_receipts
from weightshare.errors import CheckpointError, DiskError
from weightshare.progress import Observer, ignore
from weightshare.units import GIB, MIB

_PIECE = MIB  # the root does not depend on it


@dataclass(frozen=True, slots=True)
class Rooted:
    """Candidates with their roots.

    Attributes:
        receipts: by absolute path, as they are now.
        hashed: how many were hashed just now; the others were remembered.
        bytes: size of those.
        notes: which could not be hashed.
    """

    receipts: dict[Path, Receipt]
    hashed: int = 0
    bytes: int = 0
    notes: tuple[str, ...] = ()


def root_of_each(
    candidates: Mapping[Path, os.stat_result],
    remembered: Mapping[str, Receipt],
    observe: Observer = ignore,
    *,
    learn: Callable[[Mapping[Path, Receipt]], None] = lambda _: None,
    at_once: int = 8 * GIB,
) -> Rooted:
    """Find out the Merkle roots of files, hashing only what is not remembered as it is now.

    Args:
        candidates: the files, with their status when they were met.
        remembered: as of `Memory.load`.
        observe: told how hashing goes.
        learn: given the receipts of each lot once it is hashed, so that an interruption costs one lot.
        at_once: bytes after which a lot ends.
    """
    receipts, fresh = sort_out(candidates, remembered)
    notes: list[str] = []
    done = before = 0
    total = sum(candidates[path].st_size for path in fresh)
    for lot in _lots(fresh, candidates, at_once):
        sizes = [(path, candidates[path].st_size) for path in lot]
        outcomes = hash_each(sizes, _PIECE, hybrid=False, observe=_shifted(observe, before, total))
        proven: dict[Path, Receipt] = {}
        for (path, size), outcome in zip(sizes, outcomes, strict=True):
            before += size
            if isinstance(outcome, CheckpointError):
                notes.append(outcome.message)
            elif isinstance(outcome, OSError):
                notes.append(f"{path}: {outcome.strerror or outcome}")
            else:
                proven[path] = Receipt.of(path, outcome.pieces_root, found=candidates[path])
        for path in [path for path, receipt in proven.items() if not receipt.still_holds(path)]:
            notes.append(f"{path}: it changed while it was read")
            del proven[path]
        done += len(proven)
        receipts |= proven
        learn(proven)
    size = sum(candidates[path].st_size for path in fresh if path in receipts)
    return Rooted(receipts, done, size, tuple(notes))


def sort_out(
    candidates: Mapping[Path, os.stat_result], remembered: Mapping[str, Receipt]
) -> tuple[dict[Path, Receipt], list[Path]]:
    """The receipts of candidates that are remembered as they are now, and the candidates that are not."""
    receipts: dict[Path, Receipt] = {}
    fresh: list[Path] = []
    for path, found in candidates.items():
        known = remembered.get(str(path))
        if known is not None and known.still_holds(found):
            receipts[path] = known
        else:
            fresh.append(path)
    return receipts, fresh


def _lots(
    paths: Sequence[Path], candidates: Mapping[Path, os.stat_result], at_once: int
) -> Iterator[list[Path]]:
    lot: list[Path] = []
    size = 0
    for path in paths:
        lot.append(path)
        size += candidates[path].st_size
        if size >= at_once:
            yield lot
            lot, size = [], 0
    if lot:
        yield lot


def _shifted(observe: Observer, before: int, total: int) -> Observer:
    """Tell of a lot as a part of the whole."""
    return lambda progress: observe(replace(progress, done=before + progress.done, total=total))


class Memory:
    """The file of what was found: receipts by absolute path. Losing it costs hashing again.

    Args:
        path: where it lies.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, Receipt]:
        """What is remembered, whether or not it still holds.

        Raises:
            StoreError: the file is there and cannot be read.
        """
        return load_receipts(self._path)

    def holding(self) -> dict[Path, Receipt]:
        """What is remembered of files that nobody seems to have touched since.

        Raises:
            StoreError: the file is there and cannot be read.
        """
        return {Path(path): one for path, one in self.load().items() if one.still_holds(Path(path))}

    def learn(self, receipts: Mapping[Path, Receipt]) -> None:
        """Add what was found, and forget what does not hold any more.

        Raises:
            DiskError: it cannot be written.
        """
        before = self.load()
        kept = {path: one for path, one in before.items() if one.still_holds(Path(path))}
        kept |= {str(path): receipt for path, receipt in receipts.items()}
        if kept == before:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            save_receipts(self._path, kept)
        except OSError as error:
            raise DiskError(
                f"{self._path} cannot be written: {error.strerror or error}.",
                hint="Check the disk, or name another place with --home.",
                path=str(self._path),
            ) from error


def by_root(receipts: Mapping[Path, Receipt]) -> dict[str, Sequence[Path]]:
    """Files by pieces root in hex, each list in the order in which they were met."""
    found: dict[str, list[Path]] = {}
    for path, receipt in receipts.items():
        if receipt.root is not None:
            found.setdefault(receipt.root, []).append(path)
    return dict(found)
