"""What runs in a worker process: messages in from stdin, answers out to stdout, in order.

The first message is the setup `(piece_length, v1)`. Then come `("hash", [job, ...])`, answered by a list of
`(job, digests, problem)`, and `("prove", [(key, path, offset, length, tree_length), ...])`, answered by a list of
`(key, digest, problem)`. A problem is None, a text (the file changed) or `(errno, text)`. Both ends run the
same interpreter, so a message is its length and a marshalled tuple.
"""

from __future__ import annotations

import marshal
import os
import struct
import sys
from collections.abc import Iterator
from typing import IO, Any

from weightshare.content.digests import ChangedError, Hasher, piece_hash
from weightshare.content.schedule import Job

Answer = tuple[tuple[Any, ...], tuple[Any, ...] | None, str | tuple[int | None, str] | None]

_LENGTH = struct.Struct("<I")


def serve() -> None:
    """Work until stdin closes."""
    incoming = messages(sys.stdin.buffer)
    hasher: Hasher | None = None
    try:
        for message in incoming:
            if hasher is None:
                piece_length, v1 = message
                hasher = Hasher(piece_length, v1=v1)
            elif message[0] == "hash":
                write(sys.stdout.buffer, run_jobs(hasher, message[1]))
            else:
                write(sys.stdout.buffer, [_prove(*piece) for piece in message[1]])
    except OSError:
        os._exit(0)  # the parent is gone; an ordinary exit would try to flush and complain


def run_jobs(hasher: Hasher, jobs: list[tuple[Any, ...]]) -> list[Answer]:
    """Do some jobs; a file that cannot be read is an answer, not an error."""
    answers: list[Answer] = []
    for job in jobs:
        try:
            answers.append((tuple(job), tuple(hasher.run(Job(*job))), None))
        except ChangedError as error:
            answers.append((tuple(job), None, str(error)))
        except OSError as error:
            answers.append((tuple(job), None, (error.errno, error.strerror or str(error))))
    return answers


def messages(pipe: IO[bytes]) -> Iterator[Any]:
    """The messages that come through a pipe, until it closes."""
    while len(head := pipe.read(_LENGTH.size)) == _LENGTH.size:
        (length,) = _LENGTH.unpack(head)
        body = pipe.read(length)
        if len(body) < length:
            return
        yield marshal.loads(body)  # noqa: S302 - from our own child or parent


def write(pipe: IO[bytes], message: Any) -> None:
    """Send one message."""
    body = marshal.dumps(message)
    pipe.write(_LENGTH.pack(len(body)) + body)
    pipe.flush()


def _prove(key: int, path: str, offset: int, length: int, tree: int) -> tuple[Any, ...]:
    try:
        return key, piece_hash(path, offset, length, tree), None
    except OSError as error:
        return key, None, (error.errno, error.strerror or str(error))
