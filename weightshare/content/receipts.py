"""Receipts: which file was proven to have which root, and how to tell that it is still that file.

A receipt binds a Merkle root to what the file system says of the file: device, inode, size, modification time
and status-change time. Any write, truncation, replacement or touch changes one of them. It is a memory, not a
proof: whoever can set the clock or write below the file system can forge one, so nothing that must be certain
rests on receipts alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import Self

from weightshare.errors import StoreError
from weightshare.files import write_atomically


@dataclass(frozen=True, slots=True)
class Receipt:
    """A file as it was when its root was proven; `root` is hex, None for an empty file."""

    dev: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    root: str | None

    @classmethod
    def of(cls, path: Path, root: bytes | None, *, found: os.stat_result | None = None) -> Self:
        """A receipt for a file whose bytes have just been proven.

        Args:
            path: the file; a symbolic link is followed.
            root: its `pieces root`.
            found: `fstat` of the descriptor that was hashed, where there is one: then no file that was put in
                its place since can slip in.

        Raises:
            OSError: the file is gone.
        """
        found = found or path.stat()
        return cls(
            found.st_dev,
            found.st_ino,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            None if root is None else root.hex(),
        )

    def void(self) -> Receipt:
        """The same, and no file matches it any more: what it was of turned out to be something else."""
        return replace(self, size=-1)

    def still_holds(self, file: Path | os.stat_result) -> bool:
        """Whether the file is, by all that its status shows, unchanged; a missing file is not."""
        if isinstance(file, Path):
            try:
                file = file.stat()
            except OSError:
                return False
        now = (file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns)
        then = (self.dev, self.inode, self.size, self.mtime_ns, self.ctime_ns)
        return S_ISREG(file.st_mode) and now == then


def void_receipts(place: Path, bad: Collection[str]) -> None:
    """Make the receipts of some files worthless: what they are of turned out to be something else.

    Args:
        place: the file of receipts; none is no reason to stop.
        bad: release paths.

    Raises:
        StoreError: it cannot be read, or written.
    """
    kept = load_receipts(place)
    if kept:
        save_receipts(place, {path: one.void() if path in bad else one for path, one in kept.items()})


def load_receipts(path: Path) -> dict[str, Receipt]:
    """The receipts in a file, by release path; none if there is no such file, or it is damaged.

    Losing receipts costs a hash of the files again, so damage is no reason to stop.

    Raises:
        StoreError: the file is there and cannot be read.
    """
    try:
        table = json.loads(path.read_bytes())
        return {name: _receipt(fields) for name, fields in table.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def save_receipts(path: Path, receipts: Mapping[str, Receipt]) -> None:
    """Replace the file of receipts in one step; its folder must exist.

    Raises:
        OSError: the disk refused; the old file is untouched.
    """
    table = {name: _fields(receipt) for name, receipt in sorted(receipts.items())}
    write_atomically(path, json.dumps(table, indent=1).encode() + b"\n")


def _fields(receipt: Receipt) -> dict[str, object]:
    # A release may have 10,000 files: `dataclasses.asdict`, which copies deeply, would take a second for them.
    return {name: getattr(receipt, name) for name in Receipt.__slots__}


def _receipt(fields: Mapping[str, object]) -> Receipt:
    receipt = Receipt(**fields)  # type: ignore[arg-type]
    numbers = (receipt.dev, receipt.inode, receipt.size, receipt.mtime_ns, receipt.ctime_ns)
    if not all(type(number) is int for number in numbers):
        raise ValueError("a receipt holds whole numbers")
    if receipt.root is not None and len(bytes.fromhex(receipt.root)) != 32:
        raise ValueError("a root has 32 bytes")
    return receipt
