"""The program of a proving process: hashes pieces of files whose descriptors it inherits.

It runs by its path under `python -I -S`: neither the working folder, which may be a downloaded checkpoint,
nor the environment adds to what it imports, and the caller's `__main__` is not run again, as
`multiprocessing` would. It lives as long as its standard input is open, in a process group of its own, so that
a terminal's Ctrl-C is the caller's to handle.

Protocol, little-endian: a request is `REQUEST` (descriptor, piece length, width, offset, length, slot), its answer
is `ANSWER` (error number, count) and `count` 32-byte hashes. Several requests may wait; they are answered in order.

Without a slot (`NO_SLOT`) the pieces are hashed through a mapping of the file. A file cut short under the
mapping ends this process with SIGBUS, and not the one that asked. With one, the pieces are read into memory shared
with the caller, that many bytes into it, and hashed there; the caller copies them from there.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys

REQUEST = struct.Struct("<6Q")
ANSWER = struct.Struct("<2I")
NO_SLOT = 2**64 - 1

PORTION = 256 * 1024
"""Bytes read before they are hashed: few enough to be in the processor's cache still."""


def main(root: str, slots_fd: int) -> None:
    """Answer requests until there are no more.

    Args:
        root: the folder that the package lies in.
        slots_fd: a descriptor of the shared memory, below 0 if there is none.
    """
    sys.path.append(root)  # last: nothing beside the package can stand in for the standard library
    from weightshare.load.piece_hashes import piece_hashes, pieces_above
    from weightshare.manifest.merkle import leaves_of

    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    slots = memoryview(mmap.mmap(slots_fd, 0)) if slots_fd >= 0 else memoryview(b"")
    mappings: dict[int, memoryview] = {}

    def through_mapping(fd: int, piece_length: int, width: int, offset: int, length: int) -> list[bytes]:
        if fd not in mappings:
            mappings[fd] = memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))
        data = mappings[fd][offset : offset + length]
        if len(data) < length:
            raise EOFError("the file was cut short")  # ends this process; the caller looks why
        return piece_hashes(data, piece_length, width)

    def through_slot(
        fd: int, piece_length: int, width: int, offset: int, length: int, slot: int
    ) -> list[bytes]:
        leaves: list[bytes] = []
        for begin in range(0, length, PORTION):
            part = slots[slot + begin : slot + min(begin + PORTION, length)]
            read_into(part, fd, offset + begin)
            leaves += leaves_of(part)
        return pieces_above(leaves, piece_length, width)

    while len(request := requests.read(REQUEST.size)) == REQUEST.size:
        fd, piece_length, width, offset, length, slot = REQUEST.unpack(request)
        try:
            if slot == NO_SLOT:
                hashes = through_mapping(fd, piece_length, width, offset, length)
            else:
                hashes = through_slot(fd, piece_length, width, offset, length, slot)
        except (OSError, ValueError) as error:
            answers.write(ANSWER.pack(getattr(error, "errno", None) or 5, 0))
        else:
            answers.write(ANSWER.pack(0, len(hashes)) + b"".join(hashes))
        answers.flush()


def read_into(part: memoryview, fd: int, offset: int) -> None:
    """Fill `part` from a file.

    Raises:
        EOFError: the file is too short.
        OSError: it cannot be read.
    """
    done = 0
    while done < len(part):
        count = os.preadv(fd, [part[done:]], offset + done)
        if not count:
            raise EOFError("the file was cut short")
        done += count


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
