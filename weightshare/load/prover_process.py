"""The program of a proving process: hashes pieces of files whose descriptors it inherits, through a mapping.

It runs by its path under `python -I -S`: neither the working folder, which may be a downloaded checkpoint,
nor the environment adds to what it imports, and the caller's `__main__` is not run again, as
`multiprocessing` would. It lives as long as its standard input is open.

Protocol, little-endian: a request is `REQUEST` (descriptor, piece length, width, offset, length), its answer
is `ANSWER` (error number, count) and `count` 32-byte hashes. A file cut short under the mapping ends this
process with SIGBUS, and not the one that asked.
"""

from __future__ import annotations

import mmap
import signal
import struct
import sys

REQUEST = struct.Struct("<5Q")
ANSWER = struct.Struct("<2I")


def main(root: str) -> None:
    """Answer requests until there are no more. `root` is the folder that the package lies in."""
    sys.path.append(root)  # last: nothing beside the package can stand in for the standard library
    from weightshare.load.piece_hashes import piece_hashes

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the caller's to handle
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    mappings: dict[int, mmap.mmap] = {}
    while len(request := requests.read(REQUEST.size)) == REQUEST.size:
        fd, piece_length, width, offset, length = REQUEST.unpack(request)
        try:
            if fd not in mappings:
                mappings[fd] = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
            read_ahead(mappings[fd], offset, length)
            with memoryview(mappings[fd]) as view, view[offset : offset + length] as data:
                if len(data) < length:
                    raise EOFError("the file was cut short")  # ends this process; the caller looks why
                hashes = piece_hashes(data, piece_length, width)
        except (OSError, ValueError) as error:
            answers.write(ANSWER.pack(getattr(error, "errno", None) or 5, 0))
        else:
            answers.write(ANSWER.pack(0, len(hashes)) + b"".join(hashes))
        answers.flush()


def read_ahead(mapping: mmap.mmap, offset: int, length: int) -> None:
    """Ask the kernel to read a range in one go: faults alone read a cold disk at under half its speed."""
    if hasattr(mmap, "MADV_WILLNEED"):
        start = offset - offset % mmap.PAGESIZE
        mapping.madvise(mmap.MADV_WILLNEED, start, min(length + offset - start, len(mapping) - start))


if __name__ == "__main__":
    main(sys.argv[1])
