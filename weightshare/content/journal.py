"""The journal of a fetch: which pieces were on the disk, and with which bytes, so that the next run can go on at once.

It is all that is kept of a transfer. A piece gets a record of 36 bytes as soon as it has been read back from the disk,
and a staged file gets one that says which file it was: after a kill it must still be the same file in the same boot of
this machine, whose page cache holds what was written; after an orderly stop also of the same size and times. The blocks
of pieces that are not whole are kept in a file beside it. All of it is hints, as everything here is: a file counts when
its root over bytes read in this run is the signed one.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

_RECORD = struct.Struct(">I32s")
_HEAD = struct.Struct(">IH")
_FILE, _SEAL = 0x40000000, 0x80000000  # added to a file's position; pieces are far below
_NUMBER = _FILE - 1
_GONE = bytes(32)
_SLACK = 1 << 16

Blocks = dict[int, list[bool]]
"""By piece: which of its blocks of 16 KiB are on the disk."""


class Journal:
    """What is known of the staged files, as a context. A disk that refuses costs no more than time, after a kill.

    Args:
        path: the file; made with the first record.

    Attributes:
        known: the hash of each piece, as last recorded.
        blocks: of pieces that were not whole, as last kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blocks_path = path.with_name("blocks")
        self._handle: int | None = None
        self._gaps = False  # something could not be written down
        self._files: dict[int, tuple[int, bytes]] = {}
        self.known: dict[int, bytes] = {}
        data = _read(path)
        for number, digest in _RECORD.iter_unpack(data[: len(data) - len(data) % _RECORD.size]):
            self._learn(number, digest)
        self.blocks: Blocks = _unpack(_read(self._blocks_path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def note(self, piece: int, digest: bytes) -> None:
        """Record the hash of a piece that was read back from its staged file."""
        if self.known.get(piece) != digest:
            self._append(piece, digest)

    def drop(self, piece: int) -> None:
        """A piece is not on the disk after all."""
        if piece in self.known:
            self._append(piece, _GONE)

    def keep_blocks(self, blocks: Mapping[int, Sequence[bool]]) -> None:
        """Replace what is known of pieces that are not whole."""
        self.blocks = {piece: list(bits) for piece, bits in blocks.items()}
        temporary = self._blocks_path.with_suffix(".new")
        try:
            # Not flushed to the disk: after a power cut it would not be believed.
            temporary.write_bytes(_pack(self.blocks))
            temporary.replace(self._blocks_path)
        except OSError:
            self._gaps = True

    def vouch(self, position: int, found: os.stat_result) -> None:
        """All that is recorded of a file was written or read in this boot, to this very file."""
        self._say(_FILE, position, _identity(found))

    def seal(self, position: int, found: os.stat_result) -> None:
        """Nobody writes to the file any more, and all is recorded: if it looks different next time, it was not us."""
        if not self._gaps:
            self._say(_SEAL, position, _state(found))

    def believes(self, position: int, found: os.stat_result) -> bool:
        """Whether the file is, by all that can be seen, as the journal has it; never so after a reboot."""
        kind, digest = self._files.get(position, (0, b""))
        return bool(_boot()) and digest == (_state(found) if kind == _SEAL else _identity(found))

    def sealed(self, position: int) -> bool:
        """Whether the last run that had this file came to an orderly stop."""
        return self._files.get(position, (0, b""))[0] == _SEAL

    def forget(self) -> None:
        """Begin anew: the files it speaks of are no longer staged."""
        self.known.clear()
        self._files.clear()
        self.blocks.clear()
        self.__exit__(None, None, None)
        self._path.unlink(missing_ok=True)
        self._blocks_path.unlink(missing_ok=True)

    # ---- inside

    def _learn(self, number: int, digest: bytes) -> None:
        kind, position = number & ~_NUMBER, number & _NUMBER
        if kind:
            self._files[position] = kind, digest
        elif digest == _GONE:
            self.known.pop(position, None)
        else:
            self.known[position] = digest

    def _say(self, kind: int, position: int, digest: bytes) -> None:
        if self._files.get(position) != (kind, digest):
            self._append(kind | position, digest)

    def _append(self, number: int, digest: bytes) -> None:
        self._learn(number, digest)
        try:
            if self._handle is None:
                self._shorten()
                self._handle = os.open(
                    self._path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644
                )
            end = os.lseek(self._handle, 0, os.SEEK_END)
            # Over the torn record of a process that was killed, or of a full disk.
            os.lseek(self._handle, end - end % _RECORD.size, os.SEEK_SET)
            self._gaps |= os.write(self._handle, _RECORD.pack(number, digest)) < _RECORD.size
        except OSError:
            self._gaps = True

    def _shorten(self) -> None:
        """Write it anew if most of it is out of date, after many runs."""
        records = {
            **self.known,
            **{kind | position: digest for position, (kind, digest) in self._files.items()},
        }
        with suppress(FileNotFoundError):
            if self._path.stat().st_size > 2 * _RECORD.size * len(records) + _SLACK:
                temporary = self._path.with_suffix(".new")
                temporary.write_bytes(b"".join(_RECORD.pack(*record) for record in records.items()))
                temporary.replace(self._path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


@cache
def _boot() -> bytes:
    """What tells this boot of the machine from others; empty where the system does not say."""
    return _read(Path("/proc/sys/kernel/random/boot_id")).strip()


def _identity(found: os.stat_result) -> bytes:
    return hashlib.sha256(b"%s %d %d" % (_boot(), found.st_dev, found.st_ino)).digest()


def _state(found: os.stat_result) -> bytes:
    facts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return hashlib.sha256(b"%s %d %d %d %d %d" % (_boot(), *facts)).digest()


def _pack(blocks: Blocks) -> bytes:
    parts = []
    for piece, bits in blocks.items():
        number = sum(1 << place for place, bit in enumerate(bits) if bit)
        parts.append(_HEAD.pack(piece, len(bits)) + number.to_bytes((len(bits) + 7) // 8, "little"))
    return b"".join(parts)


def _unpack(data: bytes) -> Blocks:
    blocks: Blocks = {}
    at = 0
    while at + _HEAD.size <= len(data):
        piece, count = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        length = (count + 7) // 8
        number = int.from_bytes(data[at : at + length], "little")
        if at + length <= len(data):
            blocks[piece] = [bool(number >> place & 1) for place in range(count)]
        at += length
    return blocks
