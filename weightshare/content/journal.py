"""The journal of a fetch: which pieces were on the disk, and with which bytes, so that a killed fetch can go on.

For v2-only torrents the engine alone cannot tell after a kill: its resume data is seconds old, and the hashes of v2
pieces are not in the info dictionary but learnt from peers, file by file. Here every piece gets a record as soon as it
has been read back from the disk. Records are hints, as all of this is: a piece counts again if the disk still holds the
same bytes, and a file when its root is the signed one.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_RECORD = struct.Struct(">I32s")


class Journal:
    """A file to which piece hashes are appended, as a context.

    Args:
        path: the file; made with the first record.

    Attributes:
        known: the hash of each piece, as last recorded.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self.known: dict[int, bytes] = {}
        with suppress(FileNotFoundError):
            data = path.read_bytes()
            whole = data[: len(data) - len(data) % _RECORD.size]
            self.known.update(_RECORD.iter_unpack(whole))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def note(self, piece: int, digest: bytes) -> None:
        """Record a piece. A disk that refuses costs no more than the piece, after a kill."""
        if self.known.get(piece) == digest:
            return
        self.known[piece] = digest
        with suppress(OSError):
            if self._handle is None:
                self._handle = os.open(
                    self._path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644
                )
            end = os.lseek(self._handle, 0, os.SEEK_END)
            # Over the torn record of a process that was killed, or of a full disk.
            os.lseek(self._handle, end - end % _RECORD.size, os.SEEK_SET)
            os.write(self._handle, _RECORD.pack(piece, digest))

    def forget(self) -> None:
        """Begin anew: the files it speaks of are no longer staged."""
        self.known.clear()
        self.__exit__(None, None, None)
        self._path.unlink(missing_ok=True)
